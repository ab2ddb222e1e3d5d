package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// manager is the program, running.
type manager struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *output
	health string // address of the health endpoints
	ended  chan struct{}
}

// output is what a process has written to stdout and stderr so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start starts the manager on the cluster, for a WeChat at url. Flags given
// replace those that are usual here. It ends with the test at the latest.
func (n *namespace) start(url string, flags ...string) *manager {
	n.t.Helper()
	return startManager(n.t, n.Kubeconfig, url, flags...)
}

func startManager(t *testing.T, kubeconfig, url string, flags ...string) *manager {
	t.Helper()
	m := &manager{t: t, output: &output{}, health: freeAddress(t), ended: make(chan struct{})}
	usual := []string{
		"--kubeconfig=" + kubeconfig,
		"--wechat-url=" + url,
		"--allow-plain-http",
		"--leader-elect=false",
		"--metrics-bind-address=0",
		"--health-probe-bind-address=" + m.health,
	}
	m.cmd = exec.Command(program, append(usual, flags...)...)
	m.cmd.Stdout, m.cmd.Stderr = m.output, m.output
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(m.ended)
		_ = m.cmd.Wait() // ProcessState tells how it ended
	}()
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Logf("what the manager with pid %d wrote last:\n%s", m.cmd.Process.Pid, tail(m.output.String(), 2000))
		}
	})
	return m
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

// kill ends the process as a crash does, and waits until it is gone.
func (m *manager) kill() {
	_ = m.cmd.Process.Kill() // it may have ended by itself
	<-m.ended
}

func (m *manager) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.t.Fatalf("signal %s: %v", s, err)
	}
}

// terminate ends the process as Kubernetes does, and returns its exit code.
func (m *manager) terminate() int {
	m.t.Helper()
	m.signal(syscall.SIGTERM)
	return m.exitCode()
}

// exitCode waits for the end of the process.
func (m *manager) exitCode() int {
	m.t.Helper()
	select {
	case <-m.ended:
		return m.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		m.t.Fatalf("the process did not end within %s", patience)
		return -1
	}
}

// awaitReady waits until /readyz is good.
func (m *manager) awaitReady() {
	m.t.Helper()
	eventually(m.t, "/readyz is good", func() error {
		select {
		case <-m.ended:
			m.t.Fatalf("the manager ended: %v", m.cmd.ProcessState)
		default:
		}
		return m.probe("/readyz")
	})
}

// probe asks a health endpoint; nil means that all is well.
func (m *manager) probe(path string) error {
	resp, err := http.Get("http://" + m.health + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("%s: %s: %s", path, resp.Status, strings.TrimSpace(string(body))))
	}
	return err
}

// freeAddress is an address on loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// patience is how long a test waits for what must happen in the end. That is no
// promise of the program's: it is long, for machines that are shared.
const patience = 2 * time.Minute

// eventually waits until holds returns nil.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %s: %v", what, patience, err)
}
