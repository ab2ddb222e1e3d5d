//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/hack/e2e/report"
)

// diary is what all consumers of a namespace have printed, those included that
// have ended since.
type diary struct {
	mu    sync.Mutex
	lines map[string][]report.Line // by pod
	apps  map[string]string        // the label app of each pod
}

// follow keeps a diary of the consumers of a namespace until the test ends.
func (c *cluster) follow(t *testing.T, namespace string) *diary {
	t.Helper()
	d := &diary{lines: map[string][]report.Line{}, apps: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		readers.Wait()
	})
	readers.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
			pods, err := c.clients.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				continue
			}
			for _, p := range pods.Items {
				if p.Labels["app"] != "" && hasStarted(&p) && d.begin(p.Name, p.Labels["app"]) {
					readers.Go(func() { c.read(ctx, namespace, p.Name, d) })
				}
			}
		}
	})
	return d
}

func hasStarted(p *corev1.Pod) bool {
	for _, s := range p.Status.ContainerStatuses {
		if s.State.Running != nil || s.State.Terminated != nil {
			return true
		}
	}
	return false
}

// begin reports whether a pod has no page yet, and gives it one.
func (d *diary) begin(pod, app string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, has := d.apps[pod]; has {
		return false
	}
	d.apps[pod] = app
	return true
}

// read follows the log of a pod to its end. The kubelet may end the connection
// when it is restarted; what was read is not read twice.
func (c *cluster) read(ctx context.Context, namespace, pod string, d *diary) {
	for ctx.Err() == nil {
		log, err := c.clients.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
		if err == nil {
			scanner := bufio.NewScanner(log)
			for n := 0; scanner.Scan(); n++ {
				var line report.Line
				if json.Unmarshal(scanner.Bytes(), &line) == nil {
					d.note(pod, n, line)
				}
			}
			log.Close()
		}
		if d.over(pod) || errors.Is(err, context.Canceled) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// note writes down the line with the number n, unless it stands there.
func (d *diary) note(pod string, n int, line report.Line) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n == len(d.lines[pod]) {
		d.lines[pod] = append(d.lines[pod], line)
	}
}

// over reports whether a pod has said that it ends.
func (d *diary) over(pod string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines[pod]
	return len(lines) > 0 && lines[len(lines)-1].Event == report.Ended
}

// of are the lines with an event of all pods of an app.
func (d *diary) of(app string, event report.Event) []report.Line {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []report.Line
	for pod, lines := range d.lines {
		for _, l := range lines {
			if d.apps[pod] == app && l.Event == event {
				all = append(all, l)
			}
		}
	}
	return all
}

// saw reports when an app first had a token, zero if it has not.
func (d *diary) saw(app, fingerprint string) time.Time {
	var first time.Time
	for _, l := range d.of(app, report.Token) {
		if l.Fingerprint == fingerprint && (first.IsZero() || l.At.Before(first)) {
			first = l.At
		}
	}
	return first
}
