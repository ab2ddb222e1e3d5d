package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"wechattoken.io/operator/internal/testcluster"
)

// process is a process of one of the two managers.
type process struct {
	*testcluster.Process

	number  int // from 1
	metrics string
	paused  atomic.Bool
}

// addressOf is from where a process calls WeChat, in the journal of the fake.
func addressOf(process int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(process >> 8), byte(process)})
}

// manage keeps a manager running until it retires: it is started anew whenever it ends,
// as the kubelet does.
func (w *world) manage(c *cluster, manager int) {
	for {
		p, log, err := w.startProcess(c, manager)
		if err != nil {
			w.journal.findf("a manager does not start: %v", err)
		}
		if p == nil {
			return
		}
		w.listen(c, p, log)
		w.journal.notef("", "process %d is gone", p.number)
		c.leading.CompareAndSwap(p, nil)
		time.Sleep(time.Second)
	}
}

// startProcess starts a process of a manager, with its log; none once all are to retire.
func (w *world) startProcess(c *cluster, manager int) (*process, io.Reader, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.retired {
		return nil, nil, nil
	}
	w.processes++
	p := &process{number: w.processes}
	metrics, err1 := testcluster.FreeAddress()
	url, err2 := w.serve(func(rw http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = netip.AddrPortFrom(addressOf(p.number), 1).String()
		w.fake.ServeHTTP(rw, r)
	})
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	p.metrics = "https://" + metrics + "/metrics"
	log, out := io.Pipe()
	var err error
	p.Process, err = testcluster.StartProcess("../bin/manager", c.plane.Kubeconfig, out, out,
		"--wechat-url="+url, "--allow-plain-http", "--stable-window="+window(w.journal.life).String(),
		"--leader-election-namespace="+namespaces[0], "--metrics-bind-address="+metrics, "--health-probe-bind-address=0")
	if err != nil {
		return nil, nil, err
	}
	c.running[manager] = p
	go func() { <-p.Ended(); out.Close() }()
	return p, log, nil
}

// listen reads the log of a process to its end.
func (w *world) listen(c *cluster, p *process, log io.Reader) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		fmt.Fprintf(w.log, "process %d: %s\n", p.number, lines.Text())
		w.inspect(fmt.Sprintf("the log of process %d", p.number), lines.Bytes())
		if strings.Contains(lines.Text(), "Successfully acquired lease") {
			c.leading.Store(p)
			w.journal.notef("", "process %d leads in cluster %d", p.number, c.number)
			w.journal.write(func() { w.journal.takeovers = append(w.journal.takeovers, takeover{time.Now(), c.number, p.number}) })
		}
	}
}

// pick is the process that leads, or the other one. Without a leader it is any.
func (w *world) pick(c *cluster, leader bool) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := c.leading.Load(); l != nil && (c.running[0] == l) != leader {
		return c.running[1]
	}
	return c.running[0]
}

// grace is how long a process may take to end, as a pod has it.
const grace = 30 * time.Second

// end ends a process with a signal.
func end(p *process, s syscall.Signal) error {
	p.Signal(s)
	select {
	case <-p.Ended():
		return nil
	case <-time.After(grace):
		p.Kill()
		return fmt.Errorf("process %d does not end within %s of %s", p.number, grace, s)
	}
}

// pause stops a process for a while, as a machine that sleeps does.
func (p *process) pause(ctx context.Context, d time.Duration) {
	p.paused.Store(true)
	p.Signal(syscall.SIGSTOP)
	sleep(ctx, d)
	p.Signal(syscall.SIGCONT)
	p.paused.Store(false)
}

// retire ends the managers for good, as Kubernetes does.
func (w *world) retire() {
	w.mu.Lock()
	w.retired = true
	w.mu.Unlock()
	for _, c := range w.clusters {
		if c == nil {
			continue
		}
		for _, p := range c.running {
			if p == nil {
				continue
			}
			if err := end(p, syscall.SIGTERM); err != nil || p.ExitCode() != 0 {
				w.journal.findf("process %d ended with exit code %d on SIGTERM, %v", p.number, p.ExitCode(), err)
			}
		}
	}
	w.managers.Wait()
}
