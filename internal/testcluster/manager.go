package testcluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An Output is what a process has written to stdout and stderr so far.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// A Program is one of cmd, as a process.
type Program struct {
	*Process
	Output *Output
	// Health is the address of /healthz and /readyz.
	Health string

	tb testing.TB
}

// StartManager starts the operator's program for a WeChat at url. Flags given replace
// those that are usual here: no leader election, no metrics. It ends with the test at
// the latest.
func (c *Cluster) StartManager(tb testing.TB, program, url string, flags ...string) *Program {
	tb.Helper()
	return c.startProgram(tb, program, append([]string{
		"--wechat-url=" + url,
		"--allow-plain-http",
		"--leader-elect=false",
		"--check-interval=0s", // so that what is counted does not depend on how long it takes
		"--metrics-bind-address=0",
	}, flags...))
}

func (c *Cluster) startProgram(tb testing.TB, path string, flags []string) *Program {
	tb.Helper()
	health, err := FreeAddress()
	if err != nil {
		tb.Fatal(err)
	}
	m := &Program{Output: &Output{}, Health: health, tb: tb}
	if m.Process, err = StartProcess(path, c.Kubeconfig, m.Output, m.Output, append([]string{"--health-probe-bind-address=" + health}, flags...)...); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		m.Kill()
		if tb.Failed() {
			said := m.Output.String()
			tb.Logf("what %s with pid %d wrote last:\n%s", path, m.PID(), said[max(0, len(said)-2000):])
		}
	})
	return m
}

// Terminate ends the process as Kubernetes does, and returns its exit code.
func (m *Program) Terminate() int {
	m.tb.Helper()
	m.Signal(syscall.SIGTERM)
	return m.AwaitEnd()
}

// AwaitEnd waits for the end of the process, and returns its exit code.
func (m *Program) AwaitEnd() int {
	m.tb.Helper()
	select {
	case <-m.Ended():
		return m.ExitCode()
	case <-time.After(Patience):
		m.tb.Fatalf("the process did not end within %s", Patience)
		return -1
	}
}

// AwaitReady waits until /readyz is good.
func (m *Program) AwaitReady() {
	m.tb.Helper()
	Eventually(m.tb, "/readyz is good", func() error {
		select {
		case <-m.Ended():
			m.tb.Fatalf("the program ended with exit code %d", m.ExitCode())
		default:
		}
		return m.Probe("/readyz")
	})
}

// Probe asks a health endpoint; nil means that all is well.
func (m *Program) Probe(path string) error {
	resp, err := http.Get("http://" + m.Health + path)
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
