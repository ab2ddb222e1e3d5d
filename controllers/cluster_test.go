//go:build integration

package controllers

import (
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"wechattoken.io/operator/controllers/consumers"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat"
)

// Most tests wait, be it for the API server or for a place among bubbles.
func TestMain(m *testing.M) { os.Exit(testcluster.Main(m, 256)) }

// namespace is a namespace on the real API server, of one test.
type namespace struct{ *testcluster.Namespace }

func newNamespace(tb testing.TB) *namespace {
	tb.Helper()
	return &namespace{testcluster.NewNamespace(tb)}
}

// operation is how the operator runs in a test.
type operation struct {
	cluster *rest.Config
	options ctrl.Options

	workers   int
	consumers bool // see Options
}

// operate runs the operator for this namespace until the test, or the returned
// func, ends it.
func (n *namespace) operate(url string, mods ...func(*operation)) (stop func()) {
	n.T.Helper()
	ctx, cancel := context.WithCancel(n.T.Context())
	o := operation{cluster: n.Config, workers: 8, options: ctrl.Options{
		Scheme:  n.Scheme(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{n.Name: {}},
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
		n.T.Fatal(err)
	}
	namespaces := slices.Collect(maps.Keys(o.options.Cache.DefaultNamespaces))
	if _, err := Setup(ctx, mgr, Options{WeChat: wechat.NewClient(url, 2*time.Second), StableWindow: testWindow, Namespaces: namespaces, Workers: o.workers, Consumers: o.consumers}); err != nil {
		n.T.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mgr.Start(ctx); err != nil {
			n.T.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	n.T.Cleanup(stop)
	return stop
}
