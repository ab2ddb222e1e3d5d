package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// The operator survives a minute in which everything happens at least once.
func TestOperatorLivesThroughChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes two minutes")
	}
	ctrl.SetLogger(logr.Discard()) // the libraries have nothing to say
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "manager"), "wechattoken.io/operator/cmd/manager")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the manager: %v\n%s", err, out)
	}
	out, err := chaos(t.Context(), options{duration: time.Minute, life: 40 * time.Second, tokens: 20, seed: 1, bin: bin}, t.Output())
	if err != nil {
		t.Error(err)
	}
	if out == nil {
		return
	}
	for _, failure := range out.failed() {
		t.Error(failure)
	}
	// A run in which nothing happens proves nothing.
	for _, e := range plan(1, paceOf(40*time.Second), time.Minute, fleet(20)) {
		if out.Events[e.Kind] == 0 {
			t.Errorf("%s did not happen", e.Kind)
		}
	}
	if least := 20 * 60 / 2; out.Consumer.Calls-out.Consumer.Dead < least {
		t.Errorf("the consumers used a live token %d times, want %d or more", out.Consumer.Calls-out.Consumer.Dead, least)
	}
	if out.Calls.Rotations <= out.Accounts {
		t.Errorf("%d tokens were made for %d accounts: none was replaced", out.Calls.Rotations, out.Accounts)
	}
}
