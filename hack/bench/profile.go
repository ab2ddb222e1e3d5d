package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// profileFolder tells a manager that was built with the tag profile where to write
// its profiles, see cmd/manager/profile.go.
const profileFolder = "WECHATTOKEN_PROFILE"

// buildProfiled builds the manager that can be profiled, and measures that one.
func (b *bench) buildProfiled(ctx context.Context) error {
	p := b.progress("building the manager with the tag profile", 0)
	defer p.end()
	b.bin = filepath.Clean(b.options.bin) + "-profile"
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "profile", "-o", b.bin+"/", "../cmd/manager")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	return errors.Join(os.MkdirAll(b.profile, 0o755), os.Setenv(profileFolder, b.dir))
}

// written is where the manager writes a profile of a kind, "cpu" or "heap".
func (b *bench) written(m *manager, kind string) string {
	return filepath.Join(b.dir, fmt.Sprintf("%s-%d.pprof", kind, m.PID()))
}

// profilePatience is how long a manager may take to begin or end a profile.
const profilePatience = 30 * time.Second

// beginProfile begins a CPU profile of a manager, if profiles are wanted. The
// signal ends a program that does not catch it yet.
func (b *bench) beginProfile(m *manager) error {
	if b.profile == "" {
		return nil
	}
	for begun := time.Now(); time.Since(begun) < profilePatience; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(b.written(m, "cpu")); err == nil {
			return nil
		}
		if catches(m.PID(), syscall.SIGUSR1) {
			m.Signal(syscall.SIGUSR1)
		}
	}
	return fmt.Errorf("the manager began no profile in %s", profilePatience)
}

// catches reports whether a process has a handler for a signal.
func catches(pid int, s syscall.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && bits&(1<<(s-1)) != 0
		}
	}
	return false
}

// endProfile ends it, and puts it and a heap profile where they are wanted.
func (b *bench) endProfile(m *manager, scenario string, n int) error {
	if b.profile == "" {
		return nil
	}
	m.Signal(syscall.SIGUSR2)
	for begun := time.Now(); time.Since(begun) < profilePatience; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(b.written(m, "heap")); err == nil { // it comes last, and whole
			var errs []error
			for _, kind := range []string{"cpu", "heap"} {
				errs = append(errs, b.move(b.written(m, kind), fmt.Sprintf("%s-%d.%s.pprof", scenario, n, kind)))
			}
			return errors.Join(errs...)
		}
	}
	return fmt.Errorf("the manager ended no profile in %s", profilePatience)
}

// move puts a file into the folder for profiles, which may be on another disk.
func (b *bench) move(from, name string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(b.profile, name), content, 0o644), os.Remove(from))
}
