package controllers

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/consumers"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// startControlPlane starts the one API server that the tests of this package
// share; each has a namespace of its own there.
var startControlPlane = sync.OnceValues(func() (*testcluster.Cluster, error) {
	started = true
	return testcluster.Start()
})

func TestMain(m *testing.M) {
	// The tests that run side by side wait most of the time. The command line
	// has the last word.
	if err := flag.Set("test.parallel", "32"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if started {
		if c, err := startControlPlane(); err == nil {
			if err := c.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}
	os.Exit(code)
}

var started bool // the control plane was

// namespace is a namespace on the real API server, of one test.
type namespace struct {
	*testcluster.Cluster
	client.Client

	t    testing.TB
	name string
}

func newScheme(tb testing.TB) *runtime.Scheme {
	tb.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func newNamespace(tb testing.TB) *namespace {
	tb.Helper()
	plane, err := startControlPlane()
	if err != nil {
		tb.Fatal(err)
	}
	c, err := client.New(plane.Config, client.Options{Scheme: newScheme(tb), FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		tb.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := c.Create(tb.Context(), ns); err != nil {
		tb.Fatal(err)
	}
	return &namespace{Cluster: plane, Client: client.NewNamespacedClient(c, ns.Name), t: tb, name: ns.Name}
}

// fakeWeChat is a WeChat on loopback.
func fakeWeChat(tb testing.TB, cfg wechattest.Config) (*wechattest.Server, string) {
	tb.Helper()
	s := wechattest.New(cfg)
	srv := httptest.NewServer(s)
	tb.Cleanup(srv.Close)
	return s, srv.URL
}

// operation is how the operator runs in a test.
type operation struct {
	cluster *rest.Config
	window  time.Duration // see WeChatTokenReconciler.StableWindow
	options ctrl.Options

	workers   int
	consumers bool // see Options
}

// operate runs the operator for this namespace until the test, or the returned
// func, ends it.
func (n *namespace) operate(url string, mods ...func(*operation)) (stop func()) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	o := operation{cluster: n.Config, window: testWindow, workers: 8, options: ctrl.Options{
		Scheme:  n.Scheme(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{n.name: {}},
			DefaultTransform:  cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&appsv1.Deployment{}:  {Transform: consumers.StripWorkload},
				&appsv1.StatefulSet{}: {Transform: consumers.StripWorkload},
				&appsv1.DaemonSet{}:   {Transform: consumers.StripWorkload},
			},
		},
		Client:     client.Options{FieldOwner: record.ManagedBy},
		Controller: config.Controller{SkipNameValidation: new(true)},
	}}
	for _, mod := range mods {
		mod(&o)
	}
	mgr, err := ctrl.NewManager(o.cluster, o.options)
	if err != nil {
		n.t.Fatal(err)
	}
	namespaces := slices.Collect(maps.Keys(o.options.Cache.DefaultNamespaces))
	if _, err := Setup(ctx, mgr, Options{WeChat: wechat.NewClient(url, 2*time.Second), StableWindow: o.window, Namespaces: namespaces, Workers: o.workers, Consumers: o.consumers}); err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mgr.Start(ctx); err != nil {
			n.t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	n.t.Cleanup(stop)
	return stop
}

const deadline = 60 * time.Second

// eventually waits until what holds.
func eventually(tb testing.TB, what string, holds func() error) {
	tb.Helper()
	var err error
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	tb.Fatalf("%s: not within %s: %v", what, deadline, err)
}
