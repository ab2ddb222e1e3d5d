package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Time in the demo: 180 times faster than at WeChat.
const (
	life    = 40 * time.Second
	window  = 10 * time.Second
	overlap = 10 * time.Second
)

// world is everything that runs beside the demo itself.
type world struct {
	*narrator

	bin   string
	dir   string // logs
	plane *testcluster.Cluster

	weChat    *testcluster.Process
	weChatURL string

	manager   *testcluster.Process
	healthURL string
}

func (w *world) startControlPlane() error {
	var err error
	if w.dir, err = os.MkdirTemp("", "wechattoken-demo-"); err != nil {
		return err
	}
	w.plane, err = testcluster.Start()
	if err != nil {
		return fmt.Errorf("%w\n`make demo` builds what is missing", err)
	}
	return nil
}

func (w *world) log(name string) string { return filepath.Join(w.dir, name+".log") }

// start starts a program of ours, with its output added to its log.
func (w *world) start(name string, stdout io.Writer, args ...string) (*testcluster.Process, error) {
	log, err := os.OpenFile(w.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if stdout == nil {
		stdout = log
	}
	return testcluster.StartProcess(filepath.Join(w.bin, name), w.plane.Kubeconfig, stdout, log, args...)
}

func (w *world) startWeChat() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	w.weChat, err = w.start("fake-wechat", write,
		"--listen=127.0.0.1:0", "--open-accounts",
		"--life="+life.String(), "--window="+window.String(), "--overlap="+overlap.String())
	write.Close()
	if err != nil {
		return err
	}
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		return fmt.Errorf("fake-wechat did not start; see %s", w.log("fake-wechat"))
	}
	w.weChatURL = strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	return nil
}

// managerFlags are all that the manager needs in the demo.
func (w *world) managerFlags() []string {
	return []string{
		"--wechat-url=" + w.weChatURL, "--allow-plain-http", "--stable-window=" + window.String(),
		"--leader-elect=false", "--metrics-bind-address=0",
		"--health-probe-bind-address=" + strings.TrimPrefix(w.healthURL, "http://"),
	}
}

// startManager starts the manager and waits until it is ready.
func (w *world) startManager(ctx context.Context) error {
	if w.healthURL == "" {
		address, err := testcluster.FreeAddress()
		if err != nil {
			return err
		}
		w.healthURL = "http://" + address
	}
	var err error
	if w.manager, err = w.start("manager", nil, w.managerFlags()...); err != nil {
		return err
	}
	return w.until(ctx, "the manager is ready", func() (bool, error) { return w.manager.Ready(ctx, w.healthURL+"/readyz") })
}

// until waits for something that takes a moment.
func (w *world) until(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("waited a minute until %s; the logs are in %s", what, w.dir))
	defer cancel()
	for {
		ok, err := holds()
		if err != nil {
			return fmt.Errorf("until %s: %w; the logs are in %s", what, err, w.dir)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// shell runs a line as a person at a terminal would, with kubectl at hand.
func (w *world) shell(ctx context.Context, line string) (string, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	kubectl := filepath.Dir(w.plane.Kubectl().Path)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.plane.Kubeconfig, "PATH="+kubectl+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// show runs a line and shows it with what it prints.
func (w *world) show(ctx context.Context, line string) error {
	w.command(line)
	out, err := w.shell(ctx, line)
	w.output(out)
	if err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	return nil
}

// stats is what WeChat has counted.
func (w *world) stats() (wechattest.Counts, error) {
	var stats struct {
		Total wechattest.Counts `json:"total"`
	}
	resp, err := http.Get(w.weChatURL + "/fake/stats")
	if err != nil {
		return stats.Total, err
	}
	defer resp.Body.Close()
	return stats.Total, json.NewDecoder(resp.Body).Decode(&stats)
}

// end ends everything that was started. The logs stay if they may tell why
// something went wrong.
func (w *world) end(keepLogs bool) error {
	w.manager.Kill()
	w.weChat.Kill()
	var errs []error
	if w.plane != nil {
		errs = append(errs, w.plane.Stop())
	}
	if keepLogs && w.dir != "" {
		w.sayf("The logs are in %s.", w.dir)
		return errors.Join(errs...)
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}
