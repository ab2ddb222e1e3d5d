//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// restart kills a service as a crash does. The first process starts it again.
func (n node) restart(name string) error {
	pid, err := n.pid()
	if err != nil {
		return err
	}
	if pid == 0 {
		return errors.New("the node is not up: `make node` brings it up")
	}
	of, err := os.ReadFile(n.path("pids", name))
	if err != nil {
		return fmt.Errorf("there is no program %q: %w", name, err)
	}
	// The number is one of the node's namespace.
	return run(fmt.Sprintf("nsenter --target %d --pid --mount kill -KILL %s", pid, of))
}

// down ends the node and removes what it made. Where there is none it does
// nothing.
func (n node) down() error {
	pid, err := n.pid()
	if err != nil {
		return err
	}
	if pid != 0 {
		sayf("ending process %d, and with it the node", pid)
		// With the first process of their namespace the kernel ends all others.
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			if _, err := startTime(pid); err != nil {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("process %d does not end", pid)
			}
		}
	}
	if exec.Command("ip", "link", "show", link).Run() == nil { // it goes with the namespace, in a while
		_ = run("ip link delete " + link)
	}
	if err := n.removeCgroups(); err != nil {
		return err
	}
	made, err := os.ReadFile(n.path("made"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for dir := range strings.FieldsSeq(string(made)) {
		_ = os.Remove(dir) // somebody else may use it meanwhile
	}
	return os.RemoveAll(n.dir)
}

// removeCgroups removes the cgroups of the node's containers, in whatever
// hierarchies there are. They have no process any more.
func (n node) removeCgroups() error {
	containers, err := filepath.Glob(n.path("containerd-state", "io.containerd.runtime.v2.task", "k8s.io", "*"))
	if err != nil {
		return err
	}
	for _, c := range containers {
		var cgroups []string
		for _, pattern := range []string{"/sys/fs/cgroup/k8s.io/", "/sys/fs/cgroup/*/k8s.io/"} { // version 2, version 1
			found, err := filepath.Glob(pattern + filepath.Base(c))
			if err != nil {
				return err
			}
			cgroups = append(cgroups, found...)
		}
		for _, cgroup := range cgroups {
			if err := removeCgroup(cgroup); err != nil {
				return fmt.Errorf("remove the cgroup of a container: %w", err)
			}
			_ = os.Remove(filepath.Dir(cgroup)) // the last one takes what holds them all along
		}
	}
	return nil
}

// removeCgroup removes a cgroup whose processes are dead. The kernel may still be
// taking them out of it, and calls it busy meanwhile.
func removeCgroup(dir string) error {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := os.Remove(dir)
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}
