//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// node is a cluster of one node in a folder.
type node struct {
	dir      string // for all that it writes; short, for the paths of sockets are
	programs string // the folder with etcd, kubelet and the others
}

// The networks of the node. All but the first exist within its network namespace
// only; services is what kubeadm and kind have too.
const (
	hostIP      = "10.217.0.1" // this machine's end of the link to the node
	nodeIP      = "10.217.0.2"
	linkPrefix  = "/30"
	podCIDR     = "10.244.0.0/24"
	serviceCIDR = "10.96.0.0/16"
	serviceIP   = "10.96.0.1" // of the Service kubernetes
	link        = "wxtnode0"  // this machine's end; at most 15 characters
	nodeName    = "node"
)

func (n node) path(parts ...string) string {
	return filepath.Join(append([]string{n.dir}, parts...)...)
}

func (n node) kubeconfig(who string) string { return n.path(who + ".kubeconfig") }
func (n node) socket() string               { return n.path("containerd.sock") }
func (n node) logFile(program string) string {
	return n.path("logs", program+".log")
}

// pid is that of the first process of the node, whose end is the end of all; 0
// if the node is not up.
func (n node) pid() (int, error) {
	text, err := os.ReadFile(n.path("pid"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	pid, started, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	number, err := strconv.Atoi(pid)
	if err != nil {
		return 0, fmt.Errorf("%s holds no process number: %w", n.path("pid"), err)
	}
	if now, err := startTime(number); err != nil || now != started {
		return 0, nil //nolint:nilerr // it has ended, and another process may have the number
	}
	return number, nil
}

// startTime tells a process from a later one with the same number: field 22 of
// proc_pid_stat(5).
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is the name in parentheses, and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return "", syscall.ESRCH
	}
	return fields[19], nil
}
