//go:build integration

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"wechattoken.io/operator/internal/testcluster"
)

// The tests with the tag integration run the real programs, as processes, against a real
// API server and a fake WeChat. Each has a namespace of its own.

// The programs that all tests run.
var tokenServer, manager string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "token-server-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	tokenServer, manager = filepath.Join(dir, "token-server"), filepath.Join(dir, "manager")
	if err := testcluster.BuildCommands(dir, "token-server", "manager"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return testcluster.Main(m, 12)
}
