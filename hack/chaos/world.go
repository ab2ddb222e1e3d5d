package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// world is everything that runs: the clusters, and one WeChat.
type world struct {
	journal  *journal
	log      *os.File // of the managers
	clusters [clusters]*cluster

	fake    *wechattest.Server
	strikes sync.Map   // address of a process to what happens at its next call for a token
	resets  sync.Mutex // of AppSecrets, one at a time

	managers sync.WaitGroup

	mu        sync.Mutex // guards what follows
	servers   []*http.Server
	processes int // of managers, ever
	retired   bool
}

// clusters is how many there are. They share WeChat, and some of its accounts, and know
// nothing of each other.
const clusters = 2

// cluster is an API server with two managers.
type cluster struct {
	client.WithWatch

	number  int
	plane   *testcluster.Cluster
	mu      sync.Mutex // one thing at a time is done to the API server
	leading atomic.Pointer[process]
	running [2]*process // of each manager, the last; the world's mu guards it
}

// latency makes calls long enough for two at once to be seen.
const latency = 50 * time.Millisecond

// start starts everything. What was started must be stopped also after an error.
func (w *world) start(ctx context.Context) error {
	if err := testcluster.FindPrograms("../bin", "manager"); err != nil {
		return err
	}
	var err error
	if w.log, err = os.CreateTemp("", "wechattoken-chaos-*.log"); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(scheme.Scheme); err != nil {
		return err
	}
	for i := range w.clusters {
		if w.clusters[i], err = startCluster(ctx, i); err != nil {
			return err
		}
	}
	w.fake = wechattest.New(wechattest.Config{
		Life: w.journal.life, Window: window(w.journal.life), Overlap: window(w.journal.life), Latency: latency,
		ClassicPerDay: -1, // compressed time has more rotations in a day than WeChat has calls
		Observe: func(c wechattest.Call) { // WeChat has carried it out, and nobody has heard the answer
			if strike, ok := w.strikes.Load(c.From); ok && c.Endpoint != wechattest.Business {
				strike.(func())()
			}
		},
	})
	for _, c := range w.clusters {
		for i := range c.running {
			w.managers.Go(func() { w.manage(c, i) })
		}
	}
	return nil
}

func startCluster(ctx context.Context, number int) (*cluster, error) {
	plane, err := testcluster.Start()
	if err != nil {
		return nil, err
	}
	c := &cluster{number: number, plane: plane}
	if c.WithWatch, err = client.NewWithWatch(plane.Config, client.Options{}); err != nil {
		return c, err
	}
	for _, name := range namespaces {
		if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return c, err
		}
	}
	return c, nil
}

// in is the cluster of a target.
func (w *world) in(t target) *cluster { return w.clusters[t.cluster] }

// sleep lets d pass, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// serve serves HTTP on loopback. Callers hold w.mu.
func (w *world) serve(h http.HandlerFunc) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	w.servers = append(w.servers, s)
	go s.Serve(l) //nolint:errcheck // it ends with Close
	return "http://" + l.Addr().String(), nil
}

// stop stops everything that was started, each process by its pid.
func (w *world) stop() error {
	w.retire()
	for _, s := range w.servers {
		_ = s.Close() // nobody is left who would mind
	}
	var errs []error
	for _, c := range w.clusters {
		if c != nil {
			_ = c.plane.SignalAPIServer(syscall.SIGKILL) // faster than Stop by itself, and it may be gone
			errs = append(errs, c.plane.Stop())
		}
	}
	return errors.Join(errs...)
}

// works reports whether there is a leader that runs.
func (c *cluster) works() bool {
	l := c.leading.Load()
	return l != nil && !l.paused.Load()
}

// watchOver notes when a cluster had no leader that runs, until ctx ends.
func (w *world) watchOver(ctx context.Context, c *cluster) {
	worked, works := time.Now(), true
	for ; ctx.Err() == nil; sleep(ctx, 20*time.Millisecond) {
		before := works
		if works = c.works(); !works {
			continue
		}
		if !before {
			w.journal.disturbed(c.number, worked, prompt)
		}
		worked = time.Now()
	}
}

// disturbAPIServer does something to the API server, and undoes it a while later.
func (w *world) disturbAPIServer(ctx context.Context, c *cluster, d time.Duration, do, undo func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer w.journal.disturbed(c.number, time.Now(), patience)
	err := do()
	sleep(ctx, d)
	return errors.Join(err, undo())
}
