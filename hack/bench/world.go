package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// world is all that runs while something is measured: an API server of its own,
// WeChat, and managers.
type world struct {
	bench *bench
	apps  []app
	free  int // the apps before this one were forced

	// common says that scenarios may share this world: its tokens live, each of an
	// account of its own, and a manager is at work.
	common bool

	plane   *testcluster.Cluster
	counted *requests // that the bench itself has made
	clients *kubernetes.Clientset
	cluster client.WithWatch // acts as the operator does
	bearer  string           // may read the metrics of managers
	sight   *sight

	weChat   *wechattest.Server
	server   *httptest.Server
	managers []*manager
}

// newWorld starts an API server and puts the AppSecrets of apps there.
func (b *bench) newWorld(ctx context.Context, apps []app) (*world, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	b.worlds++
	w := &world{bench: b, apps: apps, counted: newRequests()}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(err, w.end())
	}
	return w, nil
}

// start starts all but WeChat and managers. What was started must be ended also
// after an error.
func (w *world) start(ctx context.Context) error {
	p := w.bench.progress("an API server starts", 0)
	plane, err := testcluster.Start()
	p.end()
	if err != nil {
		return err
	}
	w.plane = plane
	if err := w.connect(); err != nil {
		return err
	}
	for i := range namespaces {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bench-%02d", i)}}
		if err := w.cluster.Create(ctx, ns); err != nil {
			return err
		}
	}
	if w.bearer, err = w.newBearer(ctx); err != nil {
		return err
	}
	if err := w.warmUp(ctx); err != nil {
		return fmt.Errorf("warm up the API server: %w", err)
	}
	if err := w.seed(ctx, w.bench.progress("creating AppSecrets", len(w.apps))); err != nil {
		return fmt.Errorf("create the AppSecrets: %w", err)
	}
	w.sight, err = w.watch(ctx)
	return err
}

// connect makes the clients of the bench.
func (w *world) connect() error {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	cfg := rest.CopyConfig(w.plane.Config)
	cfg.Wrap(w.counted.count)
	cluster, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	w.cluster = cluster
	binary := rest.CopyConfig(cfg)
	binary.ContentType = runtime.ContentTypeProtobuf
	w.clients, err = kubernetes.NewForConfig(binary)
	return err
}

// serveWeChat starts WeChat, where every appid is known.
func (w *world) serveWeChat(cfg wechattest.Config) {
	cfg.OpenAccounts = true
	w.weChat = wechattest.New(cfg)
	w.server = httptest.NewServer(w.weChat)
}

// calls is how often WeChat was asked for a token.
func (w *world) calls() int { return w.weChat.Counts("").Stable.Calls }

// manager is a process of the operator.
type manager struct {
	*testcluster.Process

	log     *os.File
	health  string // URL
	metrics string // URL
	final   bool   // its end is no surprise
}

// startManager starts a manager and waits until it is ready. Without other flags
// it is the only one.
func (w *world) startManager(ctx context.Context, flags ...string) (*manager, error) {
	m, err := w.launch(flags...)
	if err != nil {
		return nil, err
	}
	return m, w.until(ctx, "the manager is ready", func() (bool, error) { return m.Ready(ctx, m.health+"/readyz") })
}

// launch starts a manager.
func (w *world) launch(flags ...string) (*manager, error) {
	health, err := testcluster.FreeAddress()
	if err != nil {
		return nil, err
	}
	metrics, err := testcluster.FreeAddress()
	if err != nil {
		return nil, err
	}
	m := &manager{health: "http://" + health, metrics: "https://" + metrics + "/metrics"}
	name := fmt.Sprintf("manager-%d-%d.log", w.bench.worlds, len(w.managers)+1)
	if m.log, err = os.Create(filepath.Join(w.bench.dir, name)); err != nil {
		return nil, err
	}
	defer m.log.Close()
	usual := []string{
		"--wechat-url=" + w.server.URL, "--allow-plain-http", "--leader-elect=false",
		"--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + health,
	}
	m.Process, err = testcluster.StartProcess(filepath.Join(w.bench.bin, "manager"), w.plane.Kubeconfig, m.log, m.log, append(usual, flags...)...)
	if err != nil {
		return nil, err
	}
	w.managers = append(w.managers, m)
	return m, nil
}

// present is the manager that was started last.
func (w *world) present() *manager { return w.managers[len(w.managers)-1] }

// kill ends a manager as a crash does.
func (m *manager) kill() {
	m.final = true
	m.Kill()
}

// retire ends a manager as Kubernetes does.
func (m *manager) retire() {
	m.final = true
	m.Signal(syscall.SIGTERM)
	select {
	case <-m.Ended():
	case <-time.After(30 * time.Second): // a grace period, as a pod has
		m.Kill()
	}
}

// check says whether something has ended that should be there.
func (w *world) check() error {
	for _, m := range w.managers {
		select {
		case <-m.Ended():
			if !m.final {
				return fmt.Errorf("a manager has ended by itself; see %s", m.log.Name())
			}
		default:
		}
	}
	return nil
}

// patience is how long something may not move.
const patience = 2 * time.Minute

// until waits for something that takes a moment.
func (w *world) until(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("waited %s until %s; the logs are in %s", patience, what, w.bench.dir))
	defer cancel()
	for {
		if err := w.check(); err != nil {
			return err
		}
		ok, err := holds()
		if err != nil {
			return fmt.Errorf("until %s: %w; the logs are in %s", what, err, w.bench.dir)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end ends everything that was started, each process by its pid.
func (w *world) end() error {
	if w == nil {
		return nil
	}
	for _, m := range w.managers {
		m.kill()
	}
	if w.sight != nil {
		w.sight.stop()
	}
	if w.server != nil {
		w.server.CloseClientConnections() // those that hang would hold up Close
		w.server.Close()
	}
	if w.plane == nil {
		return nil
	}
	_ = w.plane.SignalAPIServer(syscall.SIGKILL) // faster than Stop alone
	return w.plane.Stop()
}
