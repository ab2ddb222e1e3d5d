package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/controllers/metrics"
	"wechattoken.io/operator/controllers/secretcache"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/refusal"
)

// WeChatTokenReconciler keeps a valid token in the Secret of each WeChatToken.
type WeChatTokenReconciler struct {
	// Client reads WeChatTokens from the cache, and writes. Its field owner is set.
	Client   client.Client
	Secrets  *secretcache.Cache
	Accounts *account.Accounts
	Events   events.EventRecorder
	Metrics  *metrics.Metrics
	// StableWindow is how long before its end WeChat replaces a stable token:
	// 300 s ("getStableAccessToken").
	StableWindow time.Duration
	// CheckInterval is how often a token of mode Stable is checked whose spec does not
	// say; 0 for never.
	CheckInterval time.Duration
	// Namespaces are those that are served; none is all.
	Namespaces []string
	// Consumers says that another controller looks after the pods that use the
	// Secrets, so that this one has nothing to say of them.
	Consumers bool

	// wake queues an object again. It comes with the queue, before the first
	// reconcile.
	wake     func(key types.NamespacedName, failed bool)
	begun    sync.Once
	claims   claims
	memories memories
	pace     pace
}

// What the operator may do; config/rbac/role.yaml comes from here. Secrets cannot
// be granted by metadata only: list is as strong as get.
//
// +kubebuilder:rbac:groups=wechattoken.io,resources=wechattokens,verbs=list;watch
// +kubebuilder:rbac:groups=wechattoken.io,resources=wechattokens/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create

// Reconcile reads the WeChatToken and reconciles it. What is remembered of one that
// is gone is forgotten here, in its own turn: reconcile.AsReconciler would say
// nothing of it.
func (r *WeChatTokenReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.begun.Do(func() { r.begin(ctx) })
	var wt v1alpha1.WeChatToken
	if err := r.Client.Get(ctx, req.NamespacedName, &wt); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if wt.UID == "" || !wt.DeletionTimestamp.IsZero() {
		r.Accounts.Leave(req.NamespacedName, time.Now())
		r.Secrets.Forget(req.NamespacedName)
		r.memories.forget(req.NamespacedName)
		r.wakeNext(r.claims.drop(req.NamespacedName))
		return ctrl.Result{}, nil // the garbage collector takes the Secret
	}
	return r.reconcile(ctx, &wt)
}

// begin looks once at all WeChatTokens that are there when this process begins: who
// has which claim, and who may have a token on a Secret.
func (r *WeChatTokenReconciler) begin(ctx context.Context) {
	var all v1alpha1.WeChatTokenList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list the WeChatTokens") // the cache has them, so this cannot be
	}
	for i := range all.Items {
		wt := &all.Items[i]
		r.claims.put(wt)
		if wt.Status.SecretName == wt.TokenSecretName() {
			r.claims.holds(wt)
		}
		if len(r.Secrets.OwnedBy(wt.Namespace, wt.UID)) == 0 {
			continue
		}
		of := wt
		if wt.Spec.HasSource() {
			if of, _ = r.sourceOf(ctx, wt); of == nil {
				continue
			}
		}
		r.Accounts.Expect(client.ObjectKeyFromObject(wt), of.Spec.AppID, of.Spec.ModeOrDefault(), time.Now())
	}
}

// wakeNext queues the WeChatToken that has the first claim to a Secret now.
func (r *WeChatTokenReconciler) wakeNext(key types.NamespacedName) {
	if key.Name != "" {
		r.wake(key, false)
	}
}

// reconcile observes, decides, acts and publishes.
func (r *WeChatTokenReconciler) reconcile(ctx context.Context, wt *v1alpha1.WeChatToken) (ctrl.Result, error) {
	o, err := r.observe(ctx, wt)
	var p plan
	out := outcome{gone: o.leaving}
	switch {
	case refusal.Is(err):
		out.unread, out.refused, err = true, textOf(err, &o, nil), nil
	case err == nil && !o.leaving:
		p = decide(&o, time.Now())
		out, err = r.act(ctx, &o, p)
	}
	now := time.Now()
	switch {
	case err != nil:
		err = errors.Join(err, r.keepStatus(ctx, wt, now))
	default:
		var wait time.Duration
		if wait, err = r.publishInTurn(ctx, &o, out, now); wait > 0 {
			return ctrl.Result{RequeueAfter: wait, Priority: new(int(lowPriority))}, nil
		}
	}
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: conflictWait, Priority: new(0)}, nil // somebody was faster
	case err != nil:
		return ctrl.Result{Priority: new(0)}, err
	}
	// The priority is said each time: otherwise the queue keeps the low one of objects
	// seen at the start.
	result := ctrl.Result{Priority: new(0)}
	if at := lookAgain(&o, p, out, now); !at.IsZero() {
		result.RequeueAfter = max(at.Sub(now), time.Millisecond)
	}
	return result, nil
}

// conflictWait is how long to wait for the cache to show what somebody else has
// written meanwhile.
const conflictWait = 200 * time.Millisecond

// outcome is what a plan has come to.
type outcome struct {
	holds   *record.Record // what the target holds, if it serves the spec; nil if it does not
	wrote   bool           // the target was written
	refused string         // what the API server said to the write, or to a read; empty if it took it
	unread  bool           // what it said is about a read, so that the target is not known
	paused  bool           // a repair waits, for somebody takes it back
	gone    bool           // the namespace is being deleted, and the WeChatToken with it
}

// act does what the plan says. An error means that the cluster failed us; a refusal
// of the Secret is an outcome instead, because its user must see it.
func (r *WeChatTokenReconciler) act(ctx context.Context, o *observation, p plan) (outcome, error) {
	out := outcome{holds: o.holds(time.Now()), paused: p.repair && p.write == nil}
	if p.write != nil {
		switch err := r.write(ctx, o, p); {
		case err == nil:
			out.wrote, out.holds = true, p.write
		case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			r.Accounts.Pause(client.ObjectKeyFromObject(o.wt), time.Now())
			out.gone = true
			return out, nil
		case apierrors.IsConflict(err):
			return out, err
		case refusal.Is(err):
			out.refused = textOf(err, o, p.write)
			return out, nil
		default:
			return out, fmt.Errorf("write Secret %q: %s", o.wt.TokenSecretName(), textOf(err, o, p.write))
		}
	}
	if out.holds == nil {
		return out, nil
	}
	return out, r.removeOld(ctx, p.remove)
}

// textOf is what may be shown of an error of the API server.
func textOf(err error, o *observation, r *record.Record) string {
	secrets := append(r.Secrets(), o.onTarget.Secrets()...)
	if o.credentials != nil {
		secrets = append(secrets, o.credentials.AppSecret)
	}
	return refusal.Text(err, secrets...)
}

// write applies the target Secret. It insists on what was seen, so that nothing
// newer is overwritten and no Secret of others is merged with ours; and it takes
// fields from others only on one that was seen, where observe has made sure that
// it is ours.
func (r *WeChatTokenReconciler) write(ctx context.Context, o *observation, p plan) error {
	key := client.ObjectKeyFromObject(o.wt)
	if frozen(o, p.write) {
		if err := r.replace(ctx, o); err != nil {
			return err
		}
	}
	s := applicationOf(record.Render(o.wt, *p.write, o.key))
	seen, options := noVersion, []client.ApplyOption(nil)
	if o.target != nil {
		seen, options = o.target.ResourceVersion, append(options, client.ForceOwnership)
	}
	s.WithResourceVersion(seen)
	if err := r.Client.Apply(ctx, s, options...); err != nil {
		r.Secrets.Invalidate(types.NamespacedName{Namespace: o.wt.Namespace, Name: o.wt.TokenSecretName()})
		return err
	}
	r.Secrets.Wrote(key, &s.is)
	if p.repair {
		r.Metrics.Repaired()
	}
	r.memories.of(o.wt).wrote(o, p, time.Now())
	r.Metrics.Rotated(r.Accounts.Wrote(key, p.write))
	logWrite(ctx, o, p.write)
	return nil
}

// frozen reports whether the target is immutable, and holds other data than is wanted:
// then it has to make room for another one.
func frozen(o *observation, want *record.Record) bool {
	return o.target != nil && o.target.Immutable != nil && *o.target.Immutable && !record.HasData(o.target, record.Render(o.wt, *want, o.key))
}

// replace deletes the target as it was seen, for one that is created in its place.
func (r *WeChatTokenReconciler) replace(ctx context.Context, o *observation) error {
	if o.target.DeletionTimestamp != nil {
		return apierrors.NewBadRequest("it is immutable and deleted, but has finalizers: remove them")
	}
	if err := r.removeOld(ctx, []*corev1.Secret{o.target}); err != nil {
		return err
	}
	o.target = nil
	return nil
}

func logWrite(ctx context.Context, o *observation, r *record.Record) {
	log, name := ctrl.LoggerFrom(ctx), o.wt.TokenSecretName()
	if o.onTarget == nil || o.onTarget.Token.Value != r.Token.Value {
		log.Info("wrote a new token", "secret", name, "tokenFingerprint", r.Token.Fingerprint(), "expires", record.Time(r.Token.ExpiresAt))
	}
	for place, t := range r.Tickets {
		if t.Value != "" && (o.onTarget == nil || o.onTarget.Tickets[place].Value != t.Value) {
			log.Info("wrote a new ticket", "secret", name, "type", record.TicketTypes[place].Name, "ticketFingerprint", record.Fingerprint(t.Value), "trustedUntil", record.Time(t.ExpiresAt))
		}
	}
}

func (r *WeChatTokenReconciler) removeOld(ctx context.Context, old []*corev1.Secret) error {
	var errs []error
	for _, s := range old {
		asSeen := client.Preconditions{UID: &s.UID, ResourceVersion: &s.ResourceVersion}
		errs = append(errs, client.IgnoreNotFound(r.Client.Delete(ctx, s, asSeen)))
	}
	return errors.Join(errs...)
}
