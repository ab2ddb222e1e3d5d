package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/procfs"

	"wechattoken.io/operator/internal/testcluster"
)

// used is what a manager has used.
type used struct {
	cpuSeconds         float64
	residentMB, peakMB float64 // in the end, when all was quiet; and at most
	heapMB             float64 // in use by Go in the end, garbage and all
	requests           counts
	calls              int // to WeChat, for a token
}

// meter measures from its begin to its end. There is one manager at work.
type meter struct {
	world    *world
	cpu      float64
	requests counts
	calls    int
}

// begin begins to measure what the manager uses. One that was killed is yet to be
// started.
func (w *world) begin() *meter {
	t := &meter{world: w, calls: w.calls(), requests: w.requestsOfManager()}
	select {
	case <-w.manager.Ended():
	default:
		t.cpu, _, _ = w.process()
		// VmHWM begins anew by this, see proc_pid_clear_refs(5). Where that may not be,
		// the peak is that since the start of the process.
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", w.manager.PID()), []byte("5"), 0)
		w.beginProfile()
	}
	return t
}

// calls is how often WeChat was asked for a token.
func (w *world) calls() int { return w.weChat.Counts("").Stable.Calls }

// process is what the kernel tells of the manager: its CPU seconds, and what it holds
// and has held at most, in MB of 1,000,000 bytes. Its own metrics know no peak, and to
// ask for them costs what is measured here.
func (w *world) process() (cpuSeconds, residentMB, peakMB float64) {
	p, err := procfs.NewProc(w.manager.PID())
	w.must(err)
	stat, err := p.Stat()
	w.must(err)
	status, err := p.NewStatus()
	w.must(err)
	return stat.CPUTime(), float64(status.VmRSS) / 1e6, float64(status.VmHWM) / 1e6
}

// A manager is quiet when it has hardly used a processor for a while. One that
// never is, is measured nevertheless.
const (
	quietFor  = 2 * time.Second
	quietStep = 250 * time.Millisecond
	quietCPU  = 0.02 // seconds in a step
	quietWait = time.Minute
)

// quiet waits until the manager has nothing more to do.
func (w *world) quiet() {
	before, _, _ := w.process()
	for begun, since := time.Now(), time.Now(); time.Since(since) < quietFor && time.Since(begun) < quietWait; {
		w.sleep(quietStep)
		now, _, _ := w.process()
		if now-before > quietCPU {
			since = time.Now()
		}
		before = now
	}
}

// sleep ends early when all ends.
func (w *world) sleep(d time.Duration) {
	select {
	case <-w.Context().Done():
		w.Fatal(w.Context().Err())
	case <-time.After(d):
	}
}

// end waits until all is quiet, and tells what was used.
func (t *meter) end(profile string) used {
	w := t.world
	w.quiet()
	var u used
	u.cpuSeconds, u.residentMB, u.peakMB = w.process()
	u.cpuSeconds -= t.cpu
	u.calls = w.calls() - t.calls
	u.requests = w.requestsOfManager().less(t.requests)
	u.heapMB = w.heapMB()
	w.endProfile(profile)
	return u
}

// The certificate of a manager is made at its start and signed by nobody.
var insecure = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// heapMB is what Go says of its heap, in the metrics of the manager.
func (w *world) heapMB() (mb float64) {
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, "https://"+w.manager.metrics+"/metrics", nil)
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+w.bearer)
	testcluster.Eventually(w.TB, "the manager shows its metrics", func() error {
		resp, err := insecure.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %w", resp.Status, err)
		}
		mb = families["go_memstats_heap_inuse_bytes"].GetMetric()[0].GetGauge().GetValue() / 1e6
		return nil
	})
	return mb
}
