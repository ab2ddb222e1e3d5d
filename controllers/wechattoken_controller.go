// Package controllers keeps a live token in the Secret of each WeChatToken.
//
// One reconcile observes the cluster and what WeChat has answered (observe.go),
// decides (plan.go, a pure function), acts, looks after the pods that use the
// Secret (consumers.go, restart.go), and records. All effects are in this file,
// but for the touches of pods (touch.go); these and the calls to WeChat run
// beside the workers and wake the object when they end (calls.go). What must be
// remembered stands on the Secret (secret.go), and status is a view that nothing
// is decided from.
package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/redact"
	"wechattoken.io/operator/internal/wechat"
)

// WeChatTokenReconciler keeps the Secrets of all WeChatTokens filled.
type WeChatTokenReconciler struct {
	// Client reads WeChatTokens from the cache, and writes. Its field owner is set.
	Client client.Client
	// Secrets reads Secrets, live. What was read is held (secrets.go).
	Secrets client.Reader
	Events  events.EventRecorder
	WeChat  *wechat.Client
	// StableWindow is how long before its end WeChat replaces a stable token:
	// 300 s ("getStableAccessToken").
	StableWindow time.Duration
	// Consumers makes the reconciler look after the pods that use the Secrets.
	// Without it, it neither watches workloads nor asks for pods.
	Consumers bool
	// Pods reads pods, live: no cache holds them.
	Pods client.Reader
	// Metrics is where the operator's own metrics are registered; nil for none.
	Metrics prometheus.Registerer

	accounts accounts
	secrets  secrets
	watches  []*secretWatch
	written  sync.Map // types.NamespacedName to *statusWrite
	restarts restarts
	touches  touches
	metrics  *metrics // nil without Metrics

	// wake queues an object again, and calls is the life of the calls to
	// WeChat. Both come with the queue, when the controller starts.
	wake  func(types.NamespacedName, priority)
	calls context.Context //nolint:containedctx // it ends calls that outlive the reconcile that began them
}

// What the operator may do; config/rbac/role.yaml comes from here. Secrets cannot
// be granted by metadata only: list is as strong as get.
//
// +kubebuilder:rbac:groups=wechattoken.io,resources=wechattokens,verbs=list;watch
// +kubebuilder:rbac:groups=wechattoken.io,resources=wechattokens/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create

// Reconcile brings one WeChatToken a step on and tells its user how it went.
//
// When it has written a token it tells of that in a reconcile of its own, behind
// all others: where 1,000 tokens are new at once, pods wait for the Secrets, and
// nobody waits for the status.
func (r *WeChatTokenReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	last, _ := r.written.Load(req.NamespacedName) // before the cache can catch up with it
	var wt v1alpha1.WeChatToken
	if err := r.Client.Get(ctx, req.NamespacedName, &wt); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if wt.UID == "" || !wt.DeletionTimestamp.IsZero() {
		r.accounts.forget(req.NamespacedName)
		r.secrets.forget(req.NamespacedName)
		r.written.Delete(req.NamespacedName)
		r.restarts.byToken.Delete(req.NamespacedName)
		r.touches.forget(req.NamespacedName)
		return ctrl.Result{}, nil // the garbage collector takes the Secret
	}
	cached := wt.ResourceVersion
	if w, ok := last.(*statusWrite); ok {
		w.catchUp(&wt)
	}

	o, p, err := r.step(ctx, &wt)
	if err != nil {
		// The cluster failed us, and the queue tries again with backoff. All
		// there is to tell is that a token may have died meanwhile.
		p = plan{verdict: verdict{pending: true}}
	} else {
		if p.wrote {
			return ctrl.Result{RequeueAfter: time.Nanosecond, Priority: new(int(behind))}, nil
		}
		err = r.follow(ctx, o, &p)
	}
	err = errors.Join(err, r.record(ctx, &wt, cached, p))
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: conflictWait, Priority: new(0)}, nil // somebody was faster
	case err != nil:
		return ctrl.Result{Priority: new(0)}, err
	}
	return p.result(time.Now()), nil
}

// conflictWait is how long to wait for the cache to show what somebody else has
// written meanwhile.
const conflictWait = 200 * time.Millisecond

// step observes, decides and acts.
func (r *WeChatTokenReconciler) step(ctx context.Context, wt *v1alpha1.WeChatToken) (observed, plan, error) {
	o, err := r.observe(ctx, wt)
	if err != nil {
		return o, plan{}, err
	}
	p := decide(o, r.StableWindow, time.Now())
	return o, p, r.act(ctx, o, &p)
}

// act does what p says. An error means that the cluster failed us; a refusal of
// the Secret becomes p's verdict instead, because its user must see it.
func (r *WeChatTokenReconciler) act(ctx context.Context, o observed, p *plan) error {
	key := client.ObjectKeyFromObject(o.wt)
	// A ticket is asked for once the token stands in the Secret: a crash between
	// the two would cost both.
	if p.call != nil && (p.write == nil || p.call.ticket == "") {
		r.call(key, o.account, *p.call)
	}
	if p.write == nil {
		return r.removeOld(ctx, p.remove)
	}
	err := r.write(ctx, o, p.write)
	switch {
	case err == nil:
		p.wrote = true
		r.metrics.rotated(r.accounts.wrote(key, written(o.wt, p.write), p.write, p.repair))
		if p.write.contents() != o.inSecret.contents() {
			r.touch(ctx, o.wt, p.write)
		}
		if p.write.holds() != o.inSecret.holds() {
			ctrl.LoggerFrom(ctx).Info("wrote a new token", "secret", o.wt.TokenSecretName(), "tokenFingerprint", p.write.fingerprint, "expires", stamp(p.write.expires))
		}
		for kind, t := range p.write.tickets {
			if t.value != "" && (o.inSecret == nil || o.inSecret.tickets[kind].value != t.value) {
				ctrl.LoggerFrom(ctx).Info("wrote a new ticket", "secret", o.wt.TokenSecretName(), "type", ticketKinds[kind].name, "ticketFingerprint", fingerprint(t.value), "trustedUntil", stamp(t.end))
			}
		}
		return r.removeOld(ctx, p.remove)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		p.wake, p.verdict.pending = time.Time{}, true
		return nil // the object is about to go too
	case apierrors.IsConflict(err):
		return err
	case isRefusal(err):
		now := time.Now()
		p.token = o.inSecret
		p.verdict = secretRefused(short(redacted(err, o, p.write)))
		p.wakeAt(now.Add(refusedSecretWait(o.inSecret, now)))
		p.wakeAtTicketEnd(o.wt, now)
		return nil
	default:
		return fmt.Errorf("write Secret %q: %s", o.wt.TokenSecretName(), redacted(err, o, p.write))
	}
}

// redacted is the text of an error of the API server without what was written
// and read, plain or as the API writes it: a policy may quote it.
func redacted(err error, o observed, t *issued) string {
	var secrets []string
	if o.creds != nil {
		secrets = append(secrets, o.creds.AppSecret)
	}
	for _, in := range []*issued{t, o.inSecret} {
		if in == nil {
			continue
		}
		secrets = append(secrets, in.value)
		for _, ticket := range in.tickets {
			secrets = append(secrets, ticket.value)
		}
	}
	return redact.Secrets(err.Error(), secrets...)
}

// isRefusal reports whether the API server has said no to what was written, and
// would again. A webhook that does not answer is an internal error.
func isRefusal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInternalError(err)
}

// refusedSecretWait is how long to wait after a refusal: half a minute, and less
// when the token in the Secret is about to die. Nothing in the cluster tells
// when a policy or a quota has changed.
func refusedSecretWait(t *issued, now time.Time) time.Duration {
	if !t.alive(now) {
		return 30 * time.Second
	}
	return min(30*time.Second, max(t.expires.Sub(now)/4, time.Second))
}

func fingerprintIn(t *issued) string {
	if t == nil {
		return ""
	}
	return t.fingerprint
}

// write applies the target Secret. It insists on what was seen, so that nothing
// newer is overwritten and no Secret of others is merged with ours; and it takes
// fields from others only on one that was seen, where decide has made sure that
// it is ours.
func (r *WeChatTokenReconciler) write(ctx context.Context, o observed, t *issued) error {
	s := &application{SecretApplyConfiguration: *render(o.wt, t)}
	seen, options := noVersion, []client.ApplyOption(nil)
	if o.secret != nil {
		seen, options = o.secret.ResourceVersion, append(options, client.ForceOwnership)
	}
	s.WithResourceVersion(seen)
	if err := r.Client.Apply(ctx, s, options...); err != nil {
		r.secrets.doubt(types.NamespacedName{Namespace: o.wt.Namespace, Name: o.wt.TokenSecretName()})
		return err
	}
	r.secrets.wrote(client.ObjectKeyFromObject(o.wt), &s.is)
	return nil
}

// noVersion is a resource version that no Secret has: to insist on it is to insist
// that there is none. The API server compares it with that of a Secret which is
// there, and passes over it where none is (Update in
// k8s.io/apiserver/pkg/registry/generic/registry/store.go). etcd is at 1 while it
// is empty.
const noVersion = "1"

func (r *WeChatTokenReconciler) removeOld(ctx context.Context, old []*corev1.Secret) error {
	var errs []error
	for _, s := range old {
		asSeen := client.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion}
		errs = append(errs, client.IgnoreNotFound(r.Client.Delete(ctx, s, asSeen)))
	}
	return errors.Join(errs...)
}

// restart brings the restart of w a step on, notes in known what was done, and
// says what there is to tell of it: a reason, if any, and why.
func (r *WeChatTokenReconciler) restart(ctx context.Context, o observed, p *plan, w *workload, known map[types.UID]rolled) (reason, why string, err error) {
	t, annotation, now := p.token, restartAnnotation(o.wt.Name), time.Now()
	switch w.restart(t, annotation, known[w.uid], r.StableWindow, now) {
	case restartDone:
		return "", "", nil
	case restartWaits:
		p.wakeAt(t.oldDies(r.StableWindow))
		return v1alpha1.ReasonRestartWaits, "an earlier roll is not finished", nil
	case restartRuns:
		p.wakeAt(t.oldDies(r.StableWindow))
		return v1alpha1.ReasonRestarting, "", nil
	case restartIsLate:
		return v1alpha1.ReasonRestartLate, "", nil
	case restartDue:
	}

	older, err := r.hasOlderPod(ctx, o.wt.Namespace, w, t)
	switch {
	case err != nil:
	case !older:
		known[w.uid] = rolled{holds: t.holds(), fresh: true}
		return "", "", nil
	case o.wt.Spec.Suspend:
		return v1alpha1.ReasonRestartWaits, "spec.suspend is true", nil
	case w.paused:
		return v1alpha1.ReasonRestartWaits, "it is paused", nil
	default:
		var generation int64
		if generation, err = r.roll(ctx, o.wt.Namespace, w, annotation, t.holds()); err == nil {
			known[w.uid] = rolled{holds: t.holds(), generation: generation}
			ctrl.LoggerFrom(ctx).Info("restarted a workload for a new token", "kind", w.kind, "name", w.name, "tokenFingerprint", t.holds())
			if end := t.oldDies(r.StableWindow); now.Before(end) {
				p.wakeAt(end)
				return v1alpha1.ReasonRestarting, "", nil
			}
			return v1alpha1.ReasonRestartLate, "", nil
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		return "", "", nil // it is gone, and its event tells
	case isRefusal(err):
		p.wakeAt(now.Add(refusedRestartWait))
		return v1alpha1.ReasonRestartRefused, short(redacted(err, o, t)), nil
	default:
		return "", "", err
	}
}

// hasOlderPod reports whether w has a pod that may have the token that t has
// replaced.
func (r *WeChatTokenReconciler) hasOlderPod(ctx context.Context, namespace string, w *workload, t *issued) (bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(w.selector)
	if err != nil {
		return false, nil //nolint:nilerr // the API server refuses such a workload
	}
	found := false
	err = r.eachPod(ctx, namespace, selector, func(pod *corev1.Pod) bool {
		found = w.olderPod(pod, t)
		return !found
	})
	return found, err
}

// roll restarts w as kubectl rollout restart does. It insists on the w that was
// seen: the template may be another one by now.
func (r *WeChatTokenReconciler) roll(ctx context.Context, namespace string, w *workload, annotation, value string) (generation int64, err error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": w.version, "uid": w.uid},
		"spec":     map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": map[string]string{annotation: value}}}},
	})
	if err != nil {
		return 0, err
	}
	obj := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: w.name}}
	obj.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind(string(w.kind)))
	err = r.Client.Patch(ctx, &obj, client.RawPatch(types.MergePatchType, patch))
	return obj.Generation, err
}

// call asks WeChat beside the workers. It ends by its own timeout, or when the
// controller stops.
func (r *WeChatTokenReconciler) call(key types.NamespacedName, id accountID, c call) {
	if !r.accounts.begin(key, id, c) {
		return
	}
	go func() {
		waiting, failed := r.ask(r.calls, key, id, c)
		how := usual
		if failed {
			how = behind
		}
		for _, key := range waiting {
			r.wake(key, how)
		}
	}()
}

// ask makes the call, notes what it brought, and returns the WeChatTokens that
// want to know, and whether it failed.
func (r *WeChatTokenReconciler) ask(ctx context.Context, key types.NamespacedName, id accountID, c call) (waiting []types.NamespacedName, failed bool) {
	start := time.Now()
	if c.ticket != "" {
		ticket, err := r.WeChat.Ticket(ctx, c.previous.value, ticketKinds[kindOf(c.ticket)].wire)
		r.metrics.called(endpointTicket, time.Since(start), err)
		return r.accounts.brought(id, c, start, ticket, failureOf(err)), err != nil
	}
	if c.check {
		lives, err := r.WeChat.Valid(ctx, c.previous.value)
		r.metrics.called(endpointLives, time.Since(start), err)
		return r.accounts.answered(id, c, start, lives, failureOf(err)), err != nil
	}
	var (
		token wechat.Token
		err   error
	)
	if c.mode == v1alpha1.ModeClassic {
		token, err = r.WeChat.ClassicToken(ctx, c.creds)
	} else {
		token, err = r.WeChat.StableToken(ctx, c.creds, c.force)
	}
	r.metrics.called(endpointOf(c.mode), time.Since(start), err)
	r.metrics.refreshed(c.isNew(token), failureOf(err))
	return r.accounts.end(key, id, c, start, token, failureOf(err)), err != nil
}

// failureOf is what WeChat's client says of a failed call; nil for a good one.
func failureOf(err error) *wechat.Error {
	if err == nil {
		return nil
	}
	if failed, ok := errors.AsType[*wechat.Error](err); ok {
		return failed
	}
	return &wechat.Error{Message: "the call failed"}
}

// statusWrite is a status that was written and is not in the cache yet.
type statusWrite struct {
	cached  string // resource version that the cache had then
	version string // resource version that the write made
	status  v1alpha1.WeChatTokenStatus
}

// caughtUp forgets a status that was written once the cache has it.
func (r *WeChatTokenReconciler) caughtUp(_ context.Context, e event.UpdateEvent, _ workqueue.TypedRateLimitingInterface[ctrl.Request]) {
	key := client.ObjectKeyFromObject(e.ObjectNew)
	if last, ok := r.written.Load(key); ok && last.(*statusWrite).version == e.ObjectNew.GetResourceVersion() { //nolint:forcetypeassert // nothing else is stored
		r.written.CompareAndDelete(key, last)
	}
}

// catchUp puts the status that was written last into wt if the cache is behind
// it. Otherwise it would be written twice.
func (w *statusWrite) catchUp(wt *v1alpha1.WeChatToken) {
	if w.cached != wt.ResourceVersion {
		return
	}
	wt.ResourceVersion = w.version
	w.status.DeepCopyInto(&wt.Status)
}

// record writes the status if it changed, and tells of what changed. cached is
// the resource version that the cache has. The write insists on the version it
// was made for: a status that is compared with an older one would not be put
// right, for our own writes wake nobody.
func (r *WeChatTokenReconciler) record(ctx context.Context, wt *v1alpha1.WeChatToken, cached string, p plan) error {
	status := statusOf(wt, p, time.Now())
	if equality.Semantic.DeepEqual(wt.Status, status) {
		return nil
	}
	before := wt.DeepCopy()
	wt.Status = status
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, wt, patch); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.written.Store(client.ObjectKeyFromObject(wt), &statusWrite{cached: cached, version: wt.ResourceVersion, status: wt.Status})
	r.announce(ctx, before, wt)
	r.metrics.reported(before, wt, p.report)
	return nil
}

// announce logs and tells by an event what has changed: the status or the reason
// of Ready, TicketsReady or ConsumersCurrent, or a forced refresh that was handled.
// No two events of one version of the object have the same reason and action:
// client-go would count the second one onto the first by a patch, which the
// operator has no right to, and its message would be lost.
func (r *WeChatTokenReconciler) announce(ctx context.Context, before, after *v1alpha1.WeChatToken) {
	for _, told := range []struct{ condition, action string }{
		{v1alpha1.ConditionReady, "Refresh"},
		{v1alpha1.ConditionTicketsReady, "FetchTickets"},
		{v1alpha1.ConditionConsumersCurrent, "Follow"},
	} {
		is := changed(before, after, told.condition)
		if is == nil {
			continue
		}
		kind := corev1.EventTypeWarning
		if slices.Contains(usualReasons, is.Reason) {
			kind = corev1.EventTypeNormal
		}
		ctrl.LoggerFrom(ctx).Info(is.Message, strings.ToLower(told.condition[:1])+told.condition[1:], is.Status, "reason", is.Reason)
		r.Events.Eventf(after, nil, kind, is.Reason, told.action, "%s", short(is.Message))
	}
	if h := after.Status.LastHandledRefreshAt; h != "" && h != before.Status.LastHandledRefreshAt {
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, "Refreshed", "Refresh", "%s", short(fmt.Sprintf("The refresh requested as %q is done", h)))
	}
}

// usualReasons are those of which nobody needs to be warned.
var usualReasons = []string{
	v1alpha1.ReasonTokenLive, v1alpha1.ReasonSuspended, v1alpha1.ReasonRefreshDeferred,
	v1alpha1.ReasonTicketsLive, v1alpha1.ReasonTicketPending,
	v1alpha1.ReasonConsumersFollow, v1alpha1.ReasonRestarting, v1alpha1.ReasonRestartWaits,
}

// changed is a condition whose status or reason has changed; nil if they have
// not.
func changed(before, after *v1alpha1.WeChatToken, kind string) *metav1.Condition {
	was := meta.FindStatusCondition(before.Status.Conditions, kind)
	is := meta.FindStatusCondition(after.Status.Conditions, kind)
	if is == nil || (was != nil && was.Status == is.Status && was.Reason == is.Reason) {
		return nil
	}
	return is
}

// result is when to look at the object again. Its priority is said each time:
// otherwise the queue keeps the low one of objects seen at the start.
func (p *plan) result(now time.Time) ctrl.Result {
	result := ctrl.Result{Priority: new(0)}
	if !p.wake.IsZero() {
		result.RequeueAfter = max(p.wake.Sub(now), time.Millisecond)
	}
	return result
}
