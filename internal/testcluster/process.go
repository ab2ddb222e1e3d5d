package testcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// FindPrograms says which of the named programs is not in the folder bin.
func FindPrograms(bin string, names ...string) error {
	for _, name := range names {
		path := filepath.Join(bin, name)
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("there is no %s: `make build` builds it", path)
		}
	}
	return nil
}

// Process is a program, running.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// StartProcess starts the program at path for the cluster of a kubeconfig. It does
// not end with this process: Kill it in the end. Ctrl-C at the terminal does not
// reach it.
func StartProcess(path, kubeconfig string, stdout, stderr io.Writer, args ...string) (*Process, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // it was killed, or its log tells
	}()
	return p, nil
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// ExitCode is that of a process that has ended; -1 if a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Signal sends a signal. One that has ended does not mind.
func (p *Process) Signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // it has ended
}

// Kill ends the process at once, as kill -9 does, and waits until it is gone. No
// process at all is gone already.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// ErrEnded says that a process ended before it was ready.
var ErrEnded = errors.New("it ended")

// Ready reports whether the readiness endpoint of the process, a URL, is good.
func (p *Process) Ready(ctx context.Context, url string) (bool, error) {
	select {
	case <-p.ended:
		return false, ErrEnded
	default:
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, nil //nolint:nilerr // it does not listen yet
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}
