//go:build integration

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"wechattoken.io/operator/internal/testcluster"
)

// The operator survives a time in which everything happens at least once.
func TestOperatorLivesThroughChaos(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "hack"), 0o700); err != nil { // in which the program runs
		t.Fatal(err)
	}
	if err := testcluster.BuildCommands(filepath.Join(dir, "bin"), "manager"); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "hack"))
	j, err := chaos(t.Context(), options{duration: 20 * time.Second, life: 40 * time.Second, tokens: 20, seed: 1}, t.Output())
	if err != nil {
		t.Error(err)
	}
	// A run in which nothing happens proves nothing.
	if accounts := len(j.histories()); len(j.takeovers) < 2 || len(j.tokens) <= accounts {
		t.Errorf("%d leaders, and %d tokens for %d accounts: nothing has happened", len(j.takeovers), len(j.tokens), accounts)
	}
}
