// Package consumers keeps the workloads that use the Secret of a WeChatToken at its
// present token. It restarts those that see no new token while they run
// (spec.restart), makes the kubelets look at a changed Secret at once
// (spec.propagation: Touch), and reports who uses the Secret, and whether new tokens
// reach them, in status.consumers and the condition ConsumersCurrent.
//
// It knows of a token what is stored on the Secret, and nothing else: a restart that
// one process has not come to is made by the next one. A restart of the operator
// itself touches and restarts nothing. It writes only its own two fields of the
// status, at most once per reconcile.
package consumers

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/uses"
)

const (
	// fieldOwner owns the condition and status.consumers.
	fieldOwner = "wechat-token-operator-consumers"

	// staleWait is how long to wait for the cache to show a write, ours or another.
	staleWait = 100 * time.Millisecond
)

// Reconciler looks after the consumers of all WeChatTokens.
type Reconciler struct {
	Client  client.Client // reads WeChatTokens and workloads from the cache, and writes
	Pods    client.Reader // live: no cache holds pods, nor what controls them
	Secrets Secrets
	Events  events.EventRecorder
	// Window is how long a token stays valid after it was replaced: 5 minutes
	// (getAccessToken, getStableAccessToken).
	Window time.Duration

	memories sync.Map // types.NamespacedName to *memory
	scans    scans
	pace     flowcontrol.RateLimiter
	places   chan struct{} // as many as touches may be in flight
	lists    chan struct{} // as many as touches and scans may list pods

	wake    func(types.NamespacedName) // queues a WeChatToken again
	running context.Context            //nolint:containedctx // it ends touches that outlive the reconcile that began them
}

// Secrets is what the Reconciler reads of Secrets.
type Secrets interface {
	// Get returns nil, nil if there is no such Secret, and all of it if the object with
	// that UID controls it.
	Get(ctx context.Context, id types.NamespacedName, owner types.UID) (*corev1.Secret, error)
}

// SetupWithManager watches the WeChatTokens and the workloads, never pods. secrets
// queues the WeChatToken of each Secret that has changed; workers is how many
// WeChatTokens are reconciled at once.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, secrets source.Source, workers int) error {
	r.pace = flowcontrol.NewTokenBucketRateLimiter(touchesPerSecond, touchesInFlight)
	r.places = make(chan struct{}, touchesInFlight)
	r.lists = make(chan struct{}, listsAtOnce)
	r.scans.byNamespace = map[string]*scan{}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.WeChatToken{}, indexFollows, follows); err != nil {
		return err
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("consumers").
		For(&v1alpha1.WeChatToken{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(secrets).
		WatchesRawSource(source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			r.running = ctx
			r.wake = func(key types.NamespacedName) { queue.Add(reconcile.Request{NamespacedName: key}) }
			return nil
		}))
	for _, kind := range workloadKinds {
		if err := mgr.GetFieldIndexer().IndexField(ctx, kind.object, indexUses, usedBy); err != nil {
			return err
		}
		b.Watches(kind.object, handler.EnqueueRequestsFromMapFunc(r.followersOf), builder.WithPredicates(workloadChanged))
	}
	return b.
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			EnableWarmup:            new(true), // a stand-by has its cache filled when it takes over
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 10*time.Second),
		}).
		Complete(r)
}

// Wake queues a WeChatToken.
func (r *Reconciler) Wake(key types.NamespacedName) { r.wake(key) }

// Reconcile reads the WeChatToken and reconciles it. What is known of one that is
// gone is forgotten here, in its own turn.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var wt v1alpha1.WeChatToken
	if err := r.Client.Get(ctx, req.NamespacedName, &wt); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	stored, _ := r.memories.LoadOrStore(req.NamespacedName, &memory{})
	known := stored.(*memory) //nolint:forcetypeassert // nothing else is stored
	if wt.UID == "" || !wt.DeletionTimestamp.IsZero() {
		known.cancelTouch()
		r.memories.Delete(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if order, err := resourceversion.CompareResourceVersion(wt.ResourceVersion, known.version); err == nil && order < 0 {
		return ctrl.Result{RequeueAfter: staleWait, Priority: new(0)}, nil // it would be reported twice
	}
	wake, err := r.reconcile(ctx, &wt, known)
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: staleWait, Priority: new(0)}, nil // somebody was faster
	case err != nil || wake.IsZero():
		return ctrl.Result{Priority: new(0)}, err
	}
	return ctrl.Result{RequeueAfter: max(time.Until(wake), time.Millisecond), Priority: new(0)}, nil
}

// reconcile touches, restarts and reports. It returns when to look again; zero if an
// event will tell. An error means that the cluster failed us; a refusal is reported
// instead.
func (r *Reconciler) reconcile(ctx context.Context, wt *v1alpha1.WeChatToken, known *memory) (wake time.Time, err error) {
	secret, err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: wt.Namespace, Name: wt.TokenSecretName()}, wt.UID)
	if err != nil {
		return time.Time{}, err
	}
	if secret == nil {
		secret = &corev1.Secret{}
	} else if !metav1.IsControlledBy(secret, wt) {
		return time.Time{}, r.withdraw(ctx, wt, known) // its token is another's
	}
	now, stored := time.Now(), record.Read(secret, nil)
	r.touchFor(ctx, wt, stored, known)

	onSecret := uses.SecretAnnotations(wt, secret.Annotations)
	found, missing, err := r.consumers(ctx, wt, onSecret)
	if err != nil {
		return time.Time{}, err
	}
	known.look(r, wt, onSecret, stored, now)
	others := withRestarts(wt, known.others)
	known.restartsFor(stored, found, others)
	all, err := r.restartAll(ctx, wt, found, others, stored, known, now)
	if err != nil {
		return time.Time{}, err
	}
	for _, name := range missing {
		all.add(name, finding{reason: v1alpha1.ReasonRestartTargetMissing})
	}
	all.lookAt(known.scanAgain)
	if !known.scanned {
		return all.wake, nil // the scan wakes us: a report without its result would be another a moment later
	}
	condition := all.condition(len(found) + len(others))
	known.reportTouch(wt, condition)
	known.reportScan(condition)
	condition.ObservedGeneration, condition.LastTransitionTime = wt.Generation, metav1.NewTime(now)
	return all.wake, r.publish(ctx, wt, listOf(found, others, wt.TokenSecretName()), condition, known)
}

// restartAll brings the restarts of the workloads a step on, and returns what there is to
// report of them.
func (r *Reconciler) restartAll(ctx context.Context, wt *v1alpha1.WeChatToken, found []*workload, others []v1alpha1.Consumer, stored *record.Record, known *memory, now time.Time) (all findings, err error) {
	for _, w := range found {
		var f finding
		switch {
		case w.restarter == "" && uses.Stale(w.uses[wt.TokenSecretName()]):
			f = finding{reason: v1alpha1.ReasonConsumersStale}
		case w.restarter != v1alpha1.RestarterOperator:
		case w.method == v1alpha1.RestartByEviction:
			f, err = r.evictWorkload(ctx, wt, w, stored, known, now)
		default:
			if w.manual {
				all.add(w.String(), finding{reason: v1alpha1.ReasonRestartManual})
			}
			f, err = r.restart(ctx, wt, w, stored, known, now)
		}
		if err != nil {
			return all, err
		}
		all.add(w.String(), f)
	}
	for _, o := range others {
		var f finding
		switch {
		case uses.KeepsOldToken(o):
			f = finding{reason: v1alpha1.ReasonConsumersStale}
		case o.RestartedBy == v1alpha1.RestarterOperator:
			if f, err = r.evictOther(ctx, wt, o, stored, known, now); err != nil {
				return all, err
			}
		}
		all.add(fmt.Sprintf("%s %q of %s", o.Kind, o.Name, o.APIVersion), f)
	}
	return all, nil
}

// withdraw takes the consumers and the condition out of the status. The API server
// would refuse to apply a status without a condition of which somebody else owns a
// part, as a manager without --consumers does.
func (r *Reconciler) withdraw(ctx context.Context, wt *v1alpha1.WeChatToken, known *memory) error {
	before := wt.DeepCopy()
	if !meta.RemoveStatusCondition(&wt.Status.Conditions, v1alpha1.ConditionConsumersCurrent) && wt.Status.Consumers == nil {
		return nil
	}
	wt.Status.Consumers = nil
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, wt, patch, client.FieldOwner(fieldOwner)); err != nil {
		return client.IgnoreNotFound(err)
	}
	known.version = wt.ResourceVersion
	return nil
}

// publish writes the consumers and the condition if wt has others. The time of the
// transition stays unless the status changes.
func (r *Reconciler) publish(ctx context.Context, wt *v1alpha1.WeChatToken, list []v1alpha1.Consumer, is *metav1.Condition, known *memory) error {
	was := meta.FindStatusCondition(wt.Status.Conditions, is.Type).DeepCopy()
	if !meta.SetStatusCondition(&wt.Status.Conditions, *is) && equality.Semantic.DeepEqual(wt.Status.Consumers, list) {
		return nil
	}
	ours := v1alpha1.WeChatTokenStatus{Consumers: list, Conditions: []metav1.Condition{*meta.FindStatusCondition(wt.Status.Conditions, is.Type)}}
	status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&ours)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
	u.SetNamespace(wt.Namespace)
	u.SetName(wt.Name)
	if err := r.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
		return client.IgnoreNotFound(err)
	}
	known.version = u.GetResourceVersion()
	if was != nil && was.Status == is.Status && was.Reason == is.Reason {
		return nil
	}
	kind := corev1.EventTypeWarning
	switch is.Reason {
	case v1alpha1.ReasonConsumersUpToDate, v1alpha1.ReasonRestarting, v1alpha1.ReasonRestartWaits:
		kind = corev1.EventTypeNormal
	}
	ctrl.LoggerFrom(ctx).Info(is.Message, "consumersCurrent", is.Status, "reason", is.Reason)
	r.Events.Eventf(wt, nil, kind, is.Reason, "Follow", "%s", is.Message)
	return nil
}
