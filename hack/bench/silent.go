package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Silent connections, and for how long they come in.
const (
	silentConnections = 10_000
	silentSources     = 10 // loopback addresses that they come from
	silentFor         = 20 * time.Second
)

// silence opens n connections to the server at address and says nothing on them.
// With greet it does as much as anybody may: a TLS handshake. It returns how many
// were let in; end closes all. The server may refuse them or let them wait.
func silence(ctx context.Context, n int, address string, greet bool, p *progress) (let int, end func(), err error) {
	deadline := time.Now().Add(silentFor)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	open := make([]net.Conn, n)
	var opening sync.WaitGroup
	var done, starved atomic.Int64
	for i := range n {
		opening.Go(func() {
			conn, err := from(2+i%silentSources).DialContext(ctx, "tcp", address)
			if errors.Is(err, syscall.EMFILE) {
				starved.Add(1)
			}
			if err != nil {
				return
			}
			open[i] = conn
			if greet {
				_ = conn.SetDeadline(deadline) // a context would close it
				hello := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}
				if tls.Client(conn, hello).Handshake() != nil {
					return
				}
			}
			done.Add(1)
			p.Add(1)
		})
	}
	opening.Wait()
	end = func() {
		for _, conn := range open {
			if conn != nil {
				conn.Close()
			}
		}
	}
	if starved.Load() > 0 {
		err = fmt.Errorf("%d of %d connections: %w; `ulimit -n 20000` lets them be opened", starved.Load(), n, syscall.EMFILE)
	}
	return int(done.Load()), end, err
}

// from dials from the loopback address 127.0.0.last.
func from(last int) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(last))}}
}

// elsewhere asks as a kubelet or Prometheus does: from an address of its own, with
// a connection for each request, and no longer than a probe may take by default.
var elsewhere = &http.Client{
	Timeout: time.Second,
	Transport: &http.Transport{
		DialContext: from(200).DialContext, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	},
}

// probes is how often both ports are asked while there are silent connections.
const probes = 5

// silent measures silent connections to a port of a manager that has just started.
func (w *world) silent(ctx context.Context, r *result, port string, at func(*manager) string) error {
	m, calm, err := w.settled(ctx)
	if err != nil {
		return err
	}
	target, err := url.Parse(at(m))
	if err != nil {
		return err
	}
	forgetPeak(m.PID())
	p := w.bench.progress("tenants, silent connections to the "+port+" port", silentConnections)
	let, end, err := silence(ctx, silentConnections, target.Host, target.Scheme == "https", p)
	p.end()
	defer end()
	if err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	_, peak, err := memory(m.PID())
	if err != nil {
		return err
	}
	unanswered := 0
	for range probes {
		for _, url := range []string{m.health + "/readyz", m.metrics} {
			if _, err := get(ctx, elsewhere, url, w.bearer); err != nil {
				unanswered++
			}
		}
	}
	what := fmt.Sprintf("%d silent connections to the %s port: ", silentConnections, port)
	r.judge(what+"resident memory more, at its peak", peak-calm.ResidentMB, 15, "MB")
	r.add("… resident memory without them", calm.ResidentMB, "MB")
	r.add("… connections that were let in", float64(let), "")
	r.judge(what+"probes and scrapes without an answer", float64(unanswered), 0, "")
	m.retire()
	return nil
}
