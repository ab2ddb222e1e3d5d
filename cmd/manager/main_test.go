//go:build integration

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"wechattoken.io/operator/internal/testcluster"
)

// The tests with the tag integration run the real program, as a process, against a
// real API server and a fake WeChat on loopback. Each has a namespace of its own, and
// managers that watch only that, so that all run side by side.

// program is the path of the manager that all tests run.
var program string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "manager-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "manager")
	if err := testcluster.BuildCommands(dir, "manager"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return testcluster.Main(m, 12)
}
