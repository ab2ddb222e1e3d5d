package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// figures are what a manager has used.
type figures struct {
	CPUSeconds  float64 `json:"cpuSeconds"`
	ResidentMB  float64 `json:"residentMB"` // in the end, when all was quiet
	PeakMB      float64 `json:"peakMB"`
	HeapMB      float64 `json:"heapMB"` // in use by Go in the end, garbage and all
	Requests    counts  `json:"requests"`
	WeChatCalls int     `json:"weChatCalls"`
	EtcdPuts    int     `json:"etcdPuts"`
	EtcdMB      float64 `json:"etcdMB"` // size of the database
}

// meter measures from its begin to its end. There is one manager at work.
type meter struct {
	world    *world
	manager  *manager
	cpu      time.Duration
	requests counts
	own      counts
	calls    int
	puts     float64
}

// begin begins to measure what m uses.
func (w *world) begin(ctx context.Context, m *manager) (*meter, error) {
	t, err := w.beginBefore(ctx)
	if err != nil {
		return nil, err
	}
	return t, t.takes(m)
}

// beginBefore begins to measure what a manager uses that is yet to be started.
func (w *world) beginBefore(ctx context.Context) (*meter, error) {
	t := &meter{world: w, own: w.counted.soFar(), calls: w.calls()}
	var err error
	if t.requests, err = w.requests(ctx); err != nil {
		return nil, err
	}
	t.puts, _, err = w.etcd(ctx)
	return t, err
}

// takes makes m the manager that is measured.
func (t *meter) takes(m *manager) error {
	t.manager = m
	forgetPeak(m.PID())
	var err error
	t.cpu, err = cpu(m.PID())
	return errors.Join(err, t.world.bench.beginProfile(m))
}

// A manager is quiet when it has hardly used a processor for a while. One that
// never is, is measured nevertheless.
const (
	quietFor  = 2 * time.Second
	quietStep = 250 * time.Millisecond
	quietCPU  = 20 * time.Millisecond // in a step
	quietWait = time.Minute
)

// quiet waits until m has nothing more to do.
func (w *world) quiet(ctx context.Context, m *manager) error {
	before, err := cpu(m.PID())
	if err != nil {
		return err
	}
	for begun, since := time.Now(), time.Now(); time.Since(since) < quietFor && time.Since(begun) < quietWait; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(quietStep):
		}
		now, err := cpu(m.PID())
		if err != nil {
			return err
		}
		if now-before > quietCPU {
			since = time.Now()
		}
		before = now
	}
	return w.check()
}

// end waits until all is quiet, and tells what was used.
func (t *meter) end(ctx context.Context) (*figures, error) {
	if err := t.world.quiet(ctx, t.manager); err != nil {
		return nil, err
	}
	f := &figures{WeChatCalls: t.world.calls() - t.calls}
	used, err := cpu(t.manager.PID())
	if err != nil {
		return nil, err
	}
	f.CPUSeconds = (used - t.cpu).Seconds()
	if f.ResidentMB, f.PeakMB, err = memory(t.manager.PID()); err != nil {
		return nil, err
	}
	now, err := t.world.requests(ctx)
	if err != nil {
		return nil, err
	}
	own := t.world.counted.soFar().less(t.own)
	f.Requests = now.less(t.requests, own)
	puts, size, err := t.world.etcd(ctx)
	if err != nil {
		return nil, err
	}
	f.EtcdPuts, f.EtcdMB = int(puts-t.puts), size/1e6
	metrics, err := t.world.scrape(ctx, t.manager)
	if err != nil {
		return nil, err
	}
	f.HeapMB = value(metrics, "go_memstats_heap_inuse_bytes") / 1e6
	return f, nil
}

// settled starts a manager and tells what it has used once it is quiet.
func (w *world) settled(ctx context.Context) (*manager, *figures, error) {
	p := w.bench.progress("the manager starts", 0)
	defer p.end()
	t, err := w.beginBefore(ctx)
	if err != nil {
		return nil, nil, err
	}
	m, err := w.launch()
	if err != nil {
		return nil, nil, err
	}
	if err := t.takes(m); err != nil {
		return nil, nil, err
	}
	if err := w.until(ctx, "the manager is ready", func() (bool, error) { return m.Ready(ctx, m.health+"/readyz") }); err != nil {
		return nil, nil, err
	}
	f, err := t.end(ctx)
	return m, f, err
}

// value is a metric without labels.
func value(metrics, name string) float64 {
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(metrics)
	if found == nil {
		return 0
	}
	v, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return 0
	}
	return v
}

// etcd tells how many writes etcd has had, and how large its database is in bytes.
func (w *world) etcd(ctx context.Context) (puts, size float64, err error) {
	metrics, err := get(ctx, insecure, w.plane.EtcdURL+"/metrics", "")
	if err != nil {
		return 0, 0, fmt.Errorf("read the metrics of etcd: %w", err)
	}
	return value(metrics, "etcd_mvcc_put_total"), value(metrics, "etcd_mvcc_db_total_size_in_bytes"), nil
}

// newBearer returns the token of a service account that may read metrics.
func (w *world) newBearer(ctx context.Context) (string, error) {
	const namespace, name = "default", "bench"
	meta := metav1.ObjectMeta{Name: name}
	for _, obj := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}},
		&rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		},
	} {
		if err := w.cluster.Create(ctx, obj); err != nil {
			return "", err
		}
	}
	token, err := w.clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return token.Status.Token, nil
}

// scrape reads the metrics of a manager, once it lets us.
func (w *world) scrape(ctx context.Context, m *manager) (metrics string, err error) {
	err = w.until(ctx, "the manager shows its metrics", func() (bool, error) {
		var refused error
		metrics, refused = get(ctx, insecure, m.metrics, w.bearer)
		return refused == nil, nil
	})
	return metrics, err
}

// The certificate of a manager is made at its start and signed by nobody.
var insecure = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

func get(ctx context.Context, by *http.Client, url, bearer string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := by.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(body), err
}
