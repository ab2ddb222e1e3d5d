//go:build profile

package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
)

// With the build tag profile, which no image has, the manager profiles itself for
// hack/bench if the environment names a folder: the CPU between SIGUSR1 and
// SIGUSR2, and the heap at SIGUSR2. Nobody can ask for that over the network.
func init() { //nolint:gochecknoinits // main need not know
	dir := os.Getenv("WECHATTOKEN_PROFILE")
	if dir == "" {
		return
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		var stop func() error
		for s := range asked {
			var err error
			switch {
			case s == syscall.SIGUSR1 && stop == nil:
				stop, err = profileCPU(dir)
			case s == syscall.SIGUSR2 && stop != nil:
				err = stop()
				stop = nil
				if err == nil {
					err = profileHeap(dir)
				}
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "manager: profile:", err)
			}
		}
	}()
}

func profilePath(dir, kind string) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", kind, os.Getpid()))
}

// profileCPU profiles until stop is called.
func profileCPU(dir string) (stop func() error, err error) {
	f, err := os.Create(profilePath(dir, "cpu"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// profileHeap writes a profile that appears as a whole: of what is in use after a
// collection, and of all that was ever allocated.
func profileHeap(dir string) error {
	f, err := os.CreateTemp(dir, "heap-")
	if err != nil {
		return err
	}
	runtime.GC()
	if err := pprof.WriteHeapProfile(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), profilePath(dir, "heap")) //nolint:gosec // who sets the environment may choose the folder
}
