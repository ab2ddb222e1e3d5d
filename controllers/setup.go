package controllers

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/controllers/consumers"
	"wechattoken.io/operator/controllers/metrics"
	"wechattoken.io/operator/controllers/secretcache"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// Options are what the operator needs beside a manager.
type Options struct {
	WeChat *wechat.Client
	// StableWindow is how long before its end WeChat replaces a stable token: 300 s
	// ("getStableAccessToken").
	StableWindow time.Duration
	// CheckInterval is how often a token of mode Stable is checked whose spec does not
	// say; 0 for never.
	CheckInterval time.Duration
	// Namespaces are those to work in; none is all.
	Namespaces []string
	// Workers is how many WeChatTokens are reconciled at once. Calls to WeChat do not
	// count.
	Workers int
	// Consumers makes the operator look after the pods that use the Secrets.
	Consumers bool
	// Metrics is where the operator's own metrics are registered; nil for none.
	Metrics prometheus.Registerer
}

// Backoff of a reconcile that the cluster has failed.
const (
	shortestBackoff = 50 * time.Millisecond
	longestBackoff  = 10 * time.Second
)

// Setup adds all controllers to the manager. It returns a check that fails until
// the Secrets that are there are known.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) (ready func() error, err error) {
	meta, err := metadata.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, err
	}
	secrets := secretcache.New(mgr.GetAPIReader(), v1alpha1.GroupVersion.WithKind(v1alpha1.Kind).GroupKind())
	r := New(mgr.GetClient(), secrets, mgr.GetEventRecorder(record.ManagedBy), o)
	if o.Metrics != nil {
		if err := o.Metrics.Register(r.Metrics); err != nil {
			return nil, err
		}
	}
	if err := mgr.Add(r.Accounts); err != nil {
		return nil, err
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.WeChatToken{}, indexTakers, takerKeys); err != nil {
		return nil, err
	}
	if err := r.setup(mgr, secrets.Source(meta, o.Namespaces), o.Workers); err != nil {
		return nil, err
	}
	var others []func(types.NamespacedName)
	if o.Consumers {
		c := &consumers.Reconciler{
			Client: mgr.GetClient(), Pods: mgr.GetAPIReader(), Secrets: secrets,
			Events: mgr.GetEventRecorder(record.ManagedBy), Window: o.StableWindow,
		}
		if err := c.SetupWithManager(ctx, mgr, secrets.Changes(), o.Workers); err != nil {
			return nil, err
		}
		others = append(others, c.Wake)
	}
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		return watchClock(ctx, func(by time.Duration) {
			mgr.GetLogger().Info("the clock has jumped: the machine was suspended, or somebody has set the clock. All is looked at anew", "seconds", by.Seconds())
			r.lookAtAll(ctx, others...)
		})
	})); err != nil {
		return nil, err
	}
	return func() error {
		if !secrets.Synced() {
			return errors.New("the Secrets are not listed yet")
		}
		return nil
	}, nil
}

// New returns a reconciler of WeChatTokens and the accounts that it uses. The
// caller starts the accounts.
func New(c client.Client, secrets *secretcache.Cache, recorder events.EventRecorder, o Options) *WeChatTokenReconciler {
	r := &WeChatTokenReconciler{wake: func(types.NamespacedName, bool) {}, Client: c, Secrets: secrets, Events: recorder, StableWindow: o.StableWindow, CheckInterval: o.CheckInterval, Consumers: o.Consumers, Namespaces: o.Namespaces}
	r.Accounts = account.New(account.Options{
		WeChat: o.WeChat,
		Window: o.StableWindow,
		Wake:   func(key types.NamespacedName, failed bool) { r.wake(key, failed) },
		Called: func(c account.Call, a account.Answer, took time.Duration) {
			r.Metrics.Called(c.Endpoint(), took, a.Err)
			if c.Kind.ForToken() && (c.Kind != account.Check || a.Err != nil || c.New(a)) {
				r.Metrics.Refreshed(c.New(a), a.Err)
			}
		},
		Elsewhere: func() { r.Metrics.ReplacedElsewhere() },
	})
	r.Metrics = metrics.New(c, r.Accounts.Spent, account.ReportOutcomes)
	o.WeChat.Skew = r.Metrics.Skewed
	return r
}

// setup watches the WeChatTokens, and what secrets says of Secrets.
func (r *WeChatTokenReconciler) setup(mgr ctrl.Manager, secrets source.Source, workers int) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.WeChatToken{}, builder.WithPredicates(asksForSomething)).
		Watches(&v1alpha1.WeChatToken{}, handler.Funcs{CreateFunc: urgentFirst}).
		Watches(&v1alpha1.WeChatToken{}, handler.EnqueueRequestsFromMapFunc(r.related), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(secrets).
		WatchesRawSource(source.Func(r.start)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			EnableWarmup:            new(true), // a stand-by has its cache filled when it takes over
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](shortestBackoff, longestBackoff),
		}).
		Complete(r)
}

// start is called with the queue before the first reconcile.
func (r *WeChatTokenReconciler) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	sorted, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request])
	if !ok {
		return errors.New("the controller's queue knows no priorities")
	}
	r.wake = func(key types.NamespacedName, failed bool) {
		p := normalPriority
		if failed {
			p = lowPriority
		}
		sorted.AddWithOpts(priorityqueue.AddOpts{Priority: new(int(p))}, reconcile.Request{NamespacedName: key})
	}
	return nil
}

// priority is the place of a WeChatToken in the queue.
type priority int

const (
	normalPriority priority = 0
	// lowPriority is for what no pod waits for: to report a token in the status; and
	// the news that a call has failed, when WeChat lets 1,000 calls run into their
	// timeout.
	lowPriority priority = -1
	// lowestPriority is what controller-runtime gives to all that is there at the
	// start.
	lowestPriority priority = handler.LowPriority
)

// urgentFirst puts the WeChatTokens that are there at the start in the order in
// which they may want something: of 10,000 the last is looked at some seconds
// after the first.
func urgentFirst(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	sorted, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request])
	wt, isToken := e.Object.(*v1alpha1.WeChatToken)
	if !ok || !isToken || !e.IsInInitialList {
		return
	}
	p := urgency(wt, time.Now())
	sorted.AddWithOpts(priorityqueue.AddOpts{Priority: new(int(p))}, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(wt)})
}

// urgency goes by the status. That may be old: nothing but the order follows from
// it.
func urgency(wt *v1alpha1.WeChatToken, now time.Time) priority {
	s := wt.Status
	if s.NextRefreshTime == nil || requestOn(wt) != s.LastHandledRefreshAt || wt.Generation != s.ObservedGeneration {
		return normalPriority
	}
	minutes := int(s.NextRefreshTime.Sub(now) / time.Minute)
	return max(normalPriority-priority(max(minutes, 0)), lowestPriority)
}

// asksForSomething lets pass what a user may have done to a WeChatToken: a new
// one, another spec, a refresh request, a report. Our own writes of the status do
// not pass.
var asksForSomething = predicate.Or[client.Object](
	predicate.GenerationChangedPredicate{},
	predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.GetAnnotations(), e.ObjectNew.GetAnnotations()
			return before[v1alpha1.AnnotationRefreshRequestedAt] != after[v1alpha1.AnnotationRefreshRequestedAt] ||
				before[v1alpha1.AnnotationInvalidToken] != after[v1alpha1.AnnotationInvalidToken]
		},
	},
)
