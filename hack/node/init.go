//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// initCommand makes this program the first process of the node: it mounts,
// starts the services and takes care of orphans. It reads the services from file
// descriptor 3.
const initCommand = "init"

// restartPause is how long to wait before a service that has ended is started
// again.
const restartPause = time.Second

// first is what the first process needs to know.
type first struct {
	Dir      string `json:"dir"`
	Programs string `json:"programs"`
}

func beInit() error {
	var f first
	in := os.NewFile(3, "services")
	// The network is ready when the writer has said so.
	if err := json.NewDecoder(in).Decode(&f); err != nil {
		return fmt.Errorf("nobody told what to start: %w", err)
	}
	in.Close()
	if err := mountAll(); err != nil {
		return err
	}
	// The node passes on what its pods send.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		return err
	}
	n := node{dir: f.Dir, programs: f.Programs}
	i := &initProcess{node: n, ours: map[int]bool{}}
	go i.reap()
	for _, s := range n.services() {
		go i.keep(s)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	return nil // and the kernel ends all others of the namespace
}

// private are the folders, besides its own, that the programs of the node write
// to whatever their configuration says. The node has others under these names.
var private = []string{"/run", "/var/log", "/var/lib/cni", "/var/lib/kubelet"}

// mountAll gives the node a /proc of its own, and mounts that the machine does
// not see. The kubelet's have to be shared with those of the containers.
func mountAll() error {
	for _, flags := range []uintptr{syscall.MS_REC | syscall.MS_SLAVE, syscall.MS_REC | syscall.MS_SHARED} {
		if err := syscall.Mount("", "/", "", flags, ""); err != nil {
			return fmt.Errorf("part the mounts from the machine's: %w", err)
		}
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, dir := range private {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("hide %s: %w", dir, err)
		}
		if err := syscall.Mount("", dir, "", syscall.MS_SHARED, ""); err != nil {
			return fmt.Errorf("share %s: %w", dir, err)
		}
	}
	return nil
}

type initProcess struct {
	node
	mu   sync.Mutex
	ours map[int]bool // processes that somebody waits for
}

// keep runs a service for ever.
func (i *initProcess) keep(s service) {
	for {
		err := i.run(s)
		fmt.Fprintf(os.Stderr, "%s %s ended: %v\n", time.Now().Format(time.RFC3339), s.name, err)
		time.Sleep(restartPause)
	}
}

func (i *initProcess) run(s service) error {
	log, err := os.OpenFile(i.logFile(s.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.args[0], s.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = i.dir
	// Before it is known as ours, reap must not see it.
	i.mu.Lock()
	err = cmd.Start()
	if err == nil {
		i.ours[cmd.Process.Pid] = true
	}
	i.mu.Unlock()
	if err != nil {
		return err
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	if err := os.WriteFile(filepath.Join(i.dir, "pids", s.name), []byte(pid), 0o600); err != nil {
		return err
	}
	err = cmd.Wait()
	i.mu.Lock()
	delete(i.ours, cmd.Process.Pid)
	i.mu.Unlock()
	return err
}

// reap takes the exit codes of processes whose parents have ended before them,
// such as the shims of containerd. Those of the services are waited for.
func (i *initProcess) reap() {
	for range time.Tick(time.Second) {
		files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
		for _, file := range files {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil || !isOrphan(file) {
				continue
			}
			i.mu.Lock()
			if !i.ours[pid] {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // nobody asks for it
			}
			i.mu.Unlock()
		}
	}
}

// isOrphan reports whether a process has ended and waits for this one: fields 3
// and 4 of proc_pid_stat(5).
func isOrphan(file string) bool {
	stat, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return len(fields) > 1 && fields[0] == "Z" && fields[1] == "1"
}
