package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers"
	"wechattoken.io/operator/controllers/consumers"
	"wechattoken.io/operator/controllers/metrics"
	"wechattoken.io/operator/internal/build"
	"wechattoken.io/operator/internal/serving"
	"wechattoken.io/operator/internal/wechat"
)

// name is the field manager, the source of events and the lease.
const name = "wechat-token-operator"

// The leader renews its lease every retryPeriod, and a stand-by looks at it every
// 1 to 2.2 times that. One that was given back is so taken within 1.7 s, for two
// small requests a second. One that was not runs out after leaseDuration, and then its
// leader has ended: it does so when it could not renew it for renewDeadline.
const (
	retryPeriod   = 750 * time.Millisecond
	renewDeadline = 10 * time.Second
	leaseDuration = 15 * time.Second
)

// gcPercent is how much garbage there may be beside what is in use, unless $GOGC says
// otherwise. With 50, a burst of 10,000 tokens takes a seventh less of CPU time and leaves
// 15 MB more behind; between bursts it saves nothing. Go's own is 100.
const gcPercent = 25

// notInstalled is what to do where the API server does not know our CRD.
const notInstalled = "the cluster does not know WeChatToken of wechattoken.io/v1alpha1: install the CRD of this version first; the Helm chart, install.yaml of the release and config/crd have it"

// run works until ctx ends, and then gives the lease back; or it only checks.
func run(ctx context.Context, o options) error {
	if err := checkEnvironment(); err != nil {
		return err
	}
	log := o.log.Use(os.Stderr)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find a cluster: set KUBECONFIG or --kubeconfig: %w", err)
	}
	cfg.QPS = -1 // priority and fairness of the API server does what a throttle would do, and knows better
	if o.check {
		return check(ctx, cfg, o, os.Stdout)
	}
	r, readable, unreadable, err := divide(ctx, cfg, o.watched(), o.consumers)
	if err != nil {
		return err
	}
	mgr, err := newManager(cfg, o, readable, func() {
		log.Error("Another replica leads")
		os.Exit(1) // before a worker does anything more
	})
	if err != nil {
		return err
	}
	b := build.This()
	if err := ctrlmetrics.Registry.Register(metrics.BuildInfo(b.Version, b.Revision)); err != nil {
		return err
	}
	secretsListed, err := controllers.Setup(ctx, mgr, controllers.Options{
		WeChat:        wechat.NewClient(o.weChatURL, o.requestTimeout),
		StableWindow:  o.stableWindow,
		CheckInterval: o.checks(),
		Namespaces:    readable,
		Workers:       o.workers,
		Consumers:     o.consumers,
		Metrics:       ctrlmetrics.Registry,
	})
	if err != nil {
		return fmt.Errorf("set up the controllers: %w", err)
	}
	if err := serveMetrics(ctx, mgr, o.metricsAddr); err != nil {
		return err
	}
	if err := serve(ctx, mgr, serving.Endpoint{
		Purpose: "health probes", Flag: "health-probe-bind-address", Address: o.healthAddr,
		Handler: serving.Health(map[string]healthz.Checker{
			"caches":  cachesSynced(mgr.GetCache()),
			"secrets": func(*http.Request) error { return secretsListed() },
		}),
	}); err != nil {
		return err
	}
	if len(readable) == 0 { // all
		return mgr.Start(ctx)
	}
	return r.start(ctx, mgr, o.watched(), unreadable)
}

// newManager makes the manager, for the given namespaces or for all. lost is called when
// it leads no longer, and must end the process.
func newManager(cfg *rest.Config, o options, watched []string, lost func()) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	var namespaces map[string]cache.Config
	for _, ns := range watched {
		if namespaces == nil {
			namespaces = map[string]cache.Config{}
		}
		namespaces[ns] = cache.Config{}
	}
	var lock resourcelock.Interface
	if o.leaderElect {
		var err error
		if lock, err = newLease(cfg, o.leaderElectNamespace, lost); err != nil {
			return nil, fmt.Errorf("set up the leader election: %w", err)
		}
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                              scheme,
		Metrics:                             metricsserver.Options{BindAddress: "0"}, // run adds its own
		LeaderElection:                      o.leaderElect,
		LeaderElectionID:                    name, // names the metric
		LeaderElectionResourceLockInterface: lock,
		LeaderElectionReleaseOnCancel:       true,
		RetryPeriod:                         new(retryPeriod),
		RenewDeadline:                       new(renewDeadline),
		LeaseDuration:                       new(leaseDuration),
		Cache: cache.Options{
			DefaultNamespaces: namespaces,
			DefaultTransform:  cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				// What is for others is not even held in memory.
				&v1alpha1.WeChatToken{}: {Label: o.selector, Transform: controllers.Strip},

				&appsv1.Deployment{}:  {Transform: consumers.StripWorkload},
				&appsv1.StatefulSet{}: {Transform: consumers.StripWorkload},
				&appsv1.DaemonSet{}:   {Transform: consumers.StripWorkload},
			},
		},
		Client: client.Options{FieldOwner: name},
	})
	if meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("%s: %w", notInstalled, err)
	}
	if err != nil {
		return nil, fmt.Errorf("create the manager: %w", err)
	}
	return mgr, nil
}

// serve makes the manager serve, whether it leads or not.
func serve(ctx context.Context, mgr ctrl.Manager, e serving.Endpoint) error {
	if e.IsOff() {
		return nil
	}
	server, err := e.Listen(ctx)
	if err != nil {
		return err
	}
	return mgr.Add(server)
}

func serveMetrics(ctx context.Context, mgr ctrl.Manager, address string) error {
	e := serving.Endpoint{Purpose: "metrics", Flag: "metrics-bind-address", Address: address}
	if e.IsOff() { // a key takes its time
		return nil
	}
	reviews, err := serving.NewReviews(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	e.Handler = serving.Metrics(reviews, ctrlmetrics.Registry, mgr.GetLogger().WithName("metrics"))
	if e.TLS, err = serving.SelfSigned(); err != nil {
		return err
	}
	return serve(ctx, mgr, e)
}

// cachesSynced is good once the caches are filled: before, a replica would not
// know what to do.
func cachesSynced(c cache.Cache) healthz.Checker {
	return func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), 500*time.Millisecond)
		defer cancel()
		if !c.WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}
