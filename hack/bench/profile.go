package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"wechattoken.io/operator/internal/testcluster"
)

// profileFolder tells a manager that was built with the tag profile where to write
// its profiles, see cmd/manager/profile.go.
const profileFolder = "WECHATTOKEN_PROFILE"

// buildProfiled builds the manager that can be profiled, and measures that one.
func (b *bench) buildProfiled() error {
	b.managers = filepath.Clean(b.bin) + "-profile"
	build := exec.CommandContext(b.ctx, "go", "build", "-C", "..", "-trimpath", "-tags", "profile", "-o", "bin-profile/", "./cmd/manager")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	if err := os.MkdirAll(b.profile, 0o755); err != nil {
		return err
	}
	return os.Setenv(profileFolder, b.profile)
}

// written is where the manager writes a profile of a kind, "cpu" or "heap".
func (w *world) written(kind string) string {
	return filepath.Join(w.profile, fmt.Sprintf("%s-%d.pprof", kind, w.manager.PID()))
}

// beginProfile begins a CPU profile of the manager, if profiles are wanted. It has
// been ready once: before, the signal would end it.
func (w *world) beginProfile() { w.signalProfile(syscall.SIGUSR1, "cpu") }

// endProfile ends it, and names it and a heap profile after what was measured. That
// of the heap comes last, and whole.
func (w *world) endProfile(name string) {
	w.signalProfile(syscall.SIGUSR2, "heap")
	if w.profile == "" {
		return
	}
	for _, kind := range []string{"cpu", "heap"} {
		w.must(os.Rename(w.written(kind), filepath.Join(w.profile, fmt.Sprintf("%s-%d.%s.pprof", name, len(w.apps), kind))))
	}
}

func (w *world) signalProfile(s syscall.Signal, kind string) {
	if w.profile == "" {
		return
	}
	w.manager.Signal(s)
	testcluster.Eventually(w.TB, "there is a profile of the "+kind, func() error {
		_, err := os.Stat(w.written(kind))
		return err
	})
}
