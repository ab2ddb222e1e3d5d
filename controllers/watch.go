package controllers

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"wechattoken.io/operator/api/v1alpha1"
)

// The field indexes of the cache.
const (
	indexTarget  = "target"  // WeChatTokens by the names of the Secrets they write
	indexAppID   = "appid"   // WeChatTokens by appid and mode, see accountName
	indexRestart = "restart" // WeChatTokens by the kinds of workloads that they want restarted
	indexUses    = "uses"    // workloads by the names of the Secrets that their pods use
)

// Backoff of a reconcile that the cluster has failed.
const (
	shortestBackoff = 50 * time.Millisecond
	longestBackoff  = 10 * time.Second
)

// SetupWithManager watches the WeChatTokens and the metadata of all Secrets, and,
// if it is to look after consumers, the workloads; never pods. It does so in the
// given namespaces, or in all if there are none.
// workers is how many objects are reconciled at once.
func (r *WeChatTokenReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, namespaces []string, workers int) error {
	if err := Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	if r.Metrics != nil {
		r.metrics = newMetrics(r)
		if err := r.Metrics.Register(r.metrics); err != nil {
			return err
		}
	}
	b := ctrl.NewControllerManagedBy(mgr)
	if err := r.watchSecrets(b, mgr, namespaces); err != nil {
		return err
	}
	if r.Consumers {
		for _, kind := range workloadKinds() {
			if err := mgr.GetFieldIndexer().IndexField(ctx, kind, indexUses, usedBy); err != nil {
				return err
			}
			b.Watches(kind, handler.EnqueueRequestsFromMapFunc(r.followersOf), builder.WithPredicates(workloadChanged))
		}
	}
	return b.
		For(&v1alpha1.WeChatToken{}, builder.WithPredicates(asksForSomething)).
		Watches(&v1alpha1.WeChatToken{}, handler.EnqueueRequestsFromMapFunc(r.rivalsOf), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.WeChatToken{}, handler.Funcs{CreateFunc: urgentFirst, UpdateFunc: r.caughtUp}).
		WatchesRawSource(source.Func(r.start)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			EnableWarmup:            new(true), // a stand-by has its cache filled when it takes over
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](shortestBackoff, longestBackoff),
		}).
		Complete(r)
}

// Index adds the field indexes that the reconciler reads by.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.WeChatToken{}, indexTarget, targetOf); err != nil {
		return err
	}
	if err := indexer.IndexField(ctx, &v1alpha1.WeChatToken{}, indexAppID, accountNames); err != nil {
		return err
	}
	return indexer.IndexField(ctx, &v1alpha1.WeChatToken{}, indexRestart, kindsRestartedBy)
}

func targetOf(obj client.Object) []string {
	return []string{obj.(*v1alpha1.WeChatToken).TokenSecretName()} //nolint:forcetypeassert // the index is on this kind
}

func accountNames(obj client.Object) []string {
	return []string{accountName(obj.(*v1alpha1.WeChatToken))} //nolint:forcetypeassert // the index is on this kind
}

// accountName is what WeChatTokens have in common that may share a token.
// Whether they do, their AppSecrets decide.
func accountName(wt *v1alpha1.WeChatToken) string {
	return wt.Spec.AppID + "/" + string(wt.Spec.ModeOrDefault())
}

func kindsRestartedBy(obj client.Object) []string {
	var kinds []string
	for _, target := range obj.(*v1alpha1.WeChatToken).Spec.Restart.Workloads { //nolint:forcetypeassert // the index is on this kind
		if !slices.Contains(kinds, string(target.Kind)) {
			kinds = append(kinds, string(target.Kind))
		}
	}
	return kinds
}

func usedBy(obj client.Object) []string { return slices.Sorted(maps.Keys(workloadOf(obj).uses)) }

// start is called with the queue before the first reconcile.
func (r *WeChatTokenReconciler) start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	sorted, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request])
	if !ok {
		return errors.New("the controller's queue knows no priorities")
	}
	r.calls = ctx
	r.wake = func(key types.NamespacedName, p priority) {
		sorted.AddWithOpts(priorityqueue.AddOpts{Priority: new(int(p))}, reconcile.Request{NamespacedName: key})
	}
	return nil
}

// priority is the place of an object in the queue.
type priority int

const (
	usual priority = 0
	// behind is for what no pod waits for: to tell of a token in the status; and
	// the news that a call has failed, when WeChat lets 1,000 calls run into
	// their timeout.
	behind priority = -1
)

// least is the lowest priority at the start, which controller-runtime gives to
// all that is there then.
const least priority = handler.LowPriority

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
	if s.RefreshTime == nil || requested(wt) != s.LastHandledRefreshAt || wt.Generation != s.ObservedGeneration {
		return usual
	}
	minutes := int(s.RefreshTime.Sub(now) / time.Minute)
	return max(usual-priority(max(minutes, 0)), least)
}

// asksForSomething lets pass what a user may have done to a WeChatToken: a new
// one, another spec, a bumped annotation. Our own writes of the status do not
// pass.
var asksForSomething = predicate.Or[client.Object](
	predicate.GenerationChangedPredicate{},
	predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.GetAnnotations(), e.ObjectNew.GetAnnotations()
			return before[v1alpha1.AnnotationRefreshRequestedAt] != after[v1alpha1.AnnotationRefreshRequestedAt] ||
				before[v1alpha1.AnnotationDeadToken] != after[v1alpha1.AnnotationDeadToken]
		},
	},
)

// usersOf lists the WeChatTokens that read or write a Secret, or own it.
func (r *WeChatTokenReconciler) usersOf(secret client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, key := range r.secrets.users(client.ObjectKeyFromObject(secret)) {
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	if owner := metav1.GetControllerOf(secret); owner != nil && owner.Kind == kind {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: secret.GetNamespace(), Name: owner.Name}})
	}
	return requests
}

// rivalsOf lists the other WeChatTokens that name the same target Secret.
func (r *WeChatTokenReconciler) rivalsOf(ctx context.Context, obj client.Object) []reconcile.Request {
	wt := obj.(*v1alpha1.WeChatToken) //nolint:forcetypeassert // the watch is on this kind
	var rivals v1alpha1.WeChatTokenList
	if err := r.Client.List(ctx, &rivals, client.InNamespace(wt.Namespace), client.MatchingFields{indexTarget: wt.TokenSecretName()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list the WeChatTokens of a Secret", "secret", wt.TokenSecretName())
		return nil
	}
	var requests []reconcile.Request
	for i := range rivals.Items {
		if rivals.Items[i].Name != wt.Name {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&rivals.Items[i])})
		}
	}
	return requests
}

// workloadChanged lets pass what matters of a workload: what its pods use, its
// labels and annotations, and whether a roll has begun or ended; not each pod on
// the way.
var workloadChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := workloadOf(e.ObjectOld), workloadOf(e.ObjectNew)
		before.version = after.version
		return !reflect.DeepEqual(before, after)
	},
}

// followersOf lists the WeChatTokens whose Secret a workload uses, or that want
// it restarted.
func (r *WeChatTokenReconciler) followersOf(ctx context.Context, obj client.Object) []reconcile.Request {
	w := workloadOf(obj)
	var requests []reconcile.Request
	add := func(field, value string, wanted func(*v1alpha1.WeChatToken) bool) {
		var some v1alpha1.WeChatTokenList
		if err := r.Client.List(ctx, &some, client.InNamespace(obj.GetNamespace()), client.MatchingFields{field: value}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list the WeChatTokens of a workload", "kind", w.kind, "name", w.name)
			return
		}
		for i := range some.Items {
			if wanted(&some.Items[i]) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&some.Items[i])})
			}
		}
	}
	for secret := range w.uses {
		add(indexTarget, secret, func(*v1alpha1.WeChatToken) bool { return true })
	}
	add(indexRestart, string(w.kind), func(wt *v1alpha1.WeChatToken) bool {
		return slices.ContainsFunc(wt.Spec.Restart.Workloads, func(t v1alpha1.RestartTarget) bool { return selects(t, w, wt.TokenSecretName()) })
	})
	return requests
}
