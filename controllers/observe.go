package controllers

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/controllers/secretcache"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wire"
)

// observation is what a reconcile has found: in the cluster, and of the account.
type observation struct {
	wt *v1alpha1.WeChatToken

	source *v1alpha1.WeChatToken  // whose token it takes, if spec.sourceRef names one and that allows it
	takers []types.NamespacedName // those that take its token

	credentials *wechat.Credentials // nil while there is no AppSecret
	missing     finding             // what is wrong with it then
	key         record.Key          // of the AppSecret; nil without one
	account     *account.View       // nil while there are no credentials

	target   *corev1.Secret // nil if there is none
	conflict string         // who else has the target, or an older claim to it
	adopting bool           // nobody has the target, and it is provably of this account
	leaving  bool           // the namespace is being deleted, and the target is gone
	onTarget *record.Record // what the target remembers; nil if it has no record
	// old are the Secrets of this WeChatToken that the spec no longer names.
	old   []*corev1.Secret
	onOld *record.Record // the newest record on them

	last lastWrite // of the target, by this process
}

// holds is what the target holds, if it serves the spec; nil if it does not.
func (o *observation) holds(now time.Time) *record.Record {
	if o.onTarget == nil || o.conflict != "" || o.adopting || !o.onTarget.Token.Serves(o.wt) || o.onTarget.Token.Ahead(now) {
		return nil
	}
	return o.onTarget
}

// endOf is when a token ends by all that is known.
func (o *observation) endOf(t *record.Token) time.Time {
	if o.account == nil {
		return t.ExpiresAt
	}
	return o.account.End(t)
}

// observe reads the Secrets that a WeChatToken names, and joins its account. A
// missing Secret is an observation, not an error.
func (r *WeChatTokenReconciler) observe(ctx context.Context, wt *v1alpha1.WeChatToken) (observation, error) {
	key := client.ObjectKeyFromObject(wt)
	m := r.memories.of(wt)
	isFirst := m.isFirst(r.Secrets, wt)
	o := observation{wt: wt, last: m.last}
	if err := r.observeOthers(ctx, &o); err != nil {
		return o, err
	}
	r.Secrets.SetNames(key, secretcache.Names{Target: wt.TokenSecretName(), Credentials: wt.Spec.AppSecretRef.Name, CredentialsIn: o.credentialsIn()})
	r.wakeNext(r.claims.put(wt))
	// A new WeChatToken has no Secret yet. For one that this process has not looked at
	// before, do not trust the watch that the Secret is missing: it may lag behind
	// what the last leader wrote.
	var err error
	target := types.NamespacedName{Namespace: wt.Namespace, Name: wt.TokenSecretName()}
	isNew := len(wt.Status.Conditions) == 0
	if o.target, err = r.get(ctx, target, wt.UID, isNew || !isFirst); err != nil {
		return o, err
	}
	m.looked = true
	if o.leaving = isFirst && o.target == nil && wt.Status.SecretName == wt.TokenSecretName() && r.isLeaving(ctx, target); o.leaving {
		r.Accounts.Pause(key, time.Now())
		return o, nil
	}
	if uses, err := r.observeAccount(ctx, &o, !isFirst); !uses || err != nil {
		if err == nil {
			r.Accounts.Pause(key, time.Now())
		}
		return o, err
	}
	if err := r.observeOld(ctx, &o, m); err != nil {
		return o, err
	}
	r.join(key, &o, time.Now())
	return o, nil
}

// observeOthers looks for the source of a WeChatToken, or for its takers.
func (r *WeChatTokenReconciler) observeOthers(ctx context.Context, o *observation) (err error) {
	if !o.wt.Spec.HasSource() {
		o.takers, err = r.takersOf(ctx, o.wt)
		return err
	}
	if o.source, err = r.sourceOf(ctx, o.wt); o.source != nil {
		follow(o.wt, o.source)
	}
	return err
}

// credentialsIn is the namespace of the AppSecret.
func (o *observation) credentialsIn() string {
	if o.source != nil {
		return o.source.Namespace
	}
	return o.wt.Namespace
}

// observeAccount reads the AppSecret, and what the target remembers of its account. It
// reports whether the WeChatToken uses the account: not while the target is somebody
// else's.
func (r *WeChatTokenReconciler) observeAccount(ctx context.Context, o *observation, trusting bool) (uses bool, err error) {
	o.conflict = r.conflict(o.wt, o.target)
	if o.conflict != "" && (o.target == nil || metav1.GetControllerOfNoCopy(o.target) != nil) {
		return false, nil
	}
	if o.credentials, o.missing, err = r.credentials(ctx, o, trusting); err != nil {
		return false, err
	}
	if o.credentials != nil {
		o.key = record.NewKey(o.credentials.AppSecret)
	}
	o.onTarget = record.Read(o.target, o.key)
	if o.wt.Spec.HasSource() && o.source == nil && o.onTarget != nil {
		o.wt.Spec.AppID, o.wt.Spec.Mode = o.onTarget.Token.AppID, o.onTarget.Token.Mode // as it was, until it expires
	}
	if o.adopting = o.conflict != "" && r.mayAdopt(o); o.adopting {
		o.conflict = ""
	}
	return o.credentials != nil && o.conflict == "", nil
}

// mayAdopt reports whether the target, which nobody controls, is of this account: it has
// a record that only the holder of the AppSecret can have written. So a Secret from a
// backup, which has lost its owner, is taken over.
func (r *WeChatTokenReconciler) mayAdopt(o *observation) bool {
	target := client.ObjectKeyFromObject(o.target)
	return o.onTarget != nil && o.onTarget.Verified && o.onTarget.Token.Serves(o.wt) &&
		o.target.Type == corev1.SecretTypeOpaque && r.claims.first(target) == o.wt.Name
}

// isLeaving asks whether the namespace is being deleted, by a Secret that would be
// created. It is asked at a start, of a WeChatToken whose Secret is gone: a call for the
// next token would be for nothing, and in mode Classic end one that others have.
func (r *WeChatTokenReconciler) isLeaving(ctx context.Context, target types.NamespacedName) bool {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: target.Namespace, Name: target.Name}}
	return apierrors.HasStatusCause(r.Client.Create(ctx, s, client.DryRunAll), corev1.NamespaceTerminatingCause)
}

// get reads a Secret, all of it if owner controls it. trusting says to believe the
// watch that there is none.
func (r *WeChatTokenReconciler) get(ctx context.Context, id types.NamespacedName, owner types.UID, trusting bool) (*corev1.Secret, error) {
	if trusting && r.Secrets.Absent(id) {
		return nil, nil
	}
	return r.Secrets.Get(ctx, id, owner)
}

// join tells the account what is wanted and what was found, and takes its view.
func (r *WeChatTokenReconciler) join(key types.NamespacedName, o *observation, now time.Time) {
	wt := o.wt
	found := o.onTarget
	if found == nil {
		found = o.onOld
	}
	report, reported := reportOn(wt)
	wants := account.Wants{
		UID:           wt.UID,
		Suspended:     wt.Spec.Suspend,
		RefreshBefore: wt.Spec.RefreshBeforeOrDefault(),
		CheckInterval: wt.Spec.CheckIntervalOr(r.CheckInterval),
		NeverForce:    wt.Spec.ForcedRefresh == v1alpha1.ForcedRefreshNever || wt.Spec.HasSource(),
		Unchecked:     o.adopting,
		ClassicPerDay: int(wt.Spec.ClassicCallsPerDay),
		Tickets:       record.Wanted(wt),
		Generation:    wt.Generation,
		Request:       requestOn(wt),
		Report:        report,
		Reported:      reported,
	}
	if o.source != nil {
		wants.Request, wants.Tickets = "", bothWant(wt, o.source)
		// An edit of a taker is no reason to call before a wait is over: it may be the last call of a day.
		wants.AppSecretIn, wants.Generation = o.source.Namespace, o.source.Generation
	}
	if found != nil && found.Token.AppID == wt.Spec.AppID {
		wants.Secret = found
	}
	if o.source != nil && found != nil && !found.Verified {
		found = nil // who may edit this Secret need not have the AppSecret: its budget would bind the source
	}
	view := r.Accounts.Join(key, *o.credentials, wt.Spec.ModeOrDefault(), wants, found, now)
	o.account = &view
}

// credentials reads the AppSecret. Without one it says what is wrong.
func (r *WeChatTokenReconciler) credentials(ctx context.Context, o *observation, trusting bool) (*wechat.Credentials, finding, error) {
	if o.wt.Spec.HasSource() && o.source == nil {
		return nil, sourceNotAllowed(o.wt), nil
	}
	ref := o.wt.Spec.AppSecretRef
	s, err := r.get(ctx, types.NamespacedName{Namespace: o.credentialsIn(), Name: ref.Name}, "", trusting)
	if err != nil {
		return nil, finding{}, err
	}
	if s == nil {
		s = &corev1.Secret{}
	}
	secret, odd := wire.ReadAppSecret(s.Data[ref.KeyOrDefault()])
	switch {
	case secret != "":
		return &wechat.Credentials{AppID: o.wt.Spec.AppID, AppSecret: secret}, finding{}, nil
	case o.source != nil:
		return nil, sourceWithoutAppSecret, nil
	default:
		return nil, ofAppSecret(ref, odd), nil
	}
}

// ofEarlier is the conflict that ends by itself.
const ofEarlier = "belongs to an earlier WeChatToken of this name, and goes when the garbage collector has noticed"

// conflict says who else has the target Secret, or an older claim to it; empty if
// it is wt's. A Secret stays with the WeChatToken that has it, so that nobody takes
// it by naming it. What else there is in the namespace is not told: who may write
// WeChatTokens need not have permission to see it.
func (r *WeChatTokenReconciler) conflict(wt *v1alpha1.WeChatToken, s *corev1.Secret) string {
	if s == nil {
		target := types.NamespacedName{Namespace: wt.Namespace, Name: wt.TokenSecretName()}
		if first := r.claims.first(target); first != wt.Name {
			return fmt.Sprintf("is claimed by WeChatToken %q", first)
		}
		return ""
	}
	owner := metav1.GetControllerOf(s)
	switch {
	case metav1.IsControlledBy(s, wt):
		r.claims.holds(wt)
		return ""
	case owner == nil, owner.Kind != v1alpha1.Kind:
		return "was not made by this operator"
	case owner.Name == wt.Name:
		return ofEarlier
	default:
		return fmt.Sprintf("belongs to WeChatToken %q", owner.Name)
	}
}

// observeOld looks for Secrets that the WeChatToken has had under other names.
func (r *WeChatTokenReconciler) observeOld(ctx context.Context, o *observation, m *memory) error {
	m.rename(o)
	for _, name := range slices.Clone(m.earlier) {
		s, err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: o.wt.Namespace, Name: name}, o.wt.UID)
		if err != nil {
			return err
		}
		if s == nil || s.DeletionTimestamp != nil || !metav1.IsControlledBy(s, o.wt) || s.Annotations[record.Annotation] == "" {
			m.gone(name) // a person made it, or it is gone, or goes when its finalizers do
			continue
		}
		o.old = append(o.old, s)
		if rec := record.Read(s, o.key); rec != nil && (o.onOld == nil || rec.Token.ObtainedAt.After(o.onOld.Token.ObtainedAt)) {
			o.onOld = rec
		}
	}
	return nil
}

// maxRequest bounds the value of the refresh annotation that counts, in bytes,
// so that no value makes the Secret or the status too large to be written.
const maxRequest = 256

// requestOn is the refresh request on wt; empty if there is none.
func requestOn(wt *v1alpha1.WeChatToken) string {
	value := wt.Annotations[v1alpha1.AnnotationRefreshRequestedAt]
	if len(value) > maxRequest {
		value = strings.ToValidUTF8(value[:maxRequest], "")
	}
	return value
}

// reportForm is the form of a report. Another value may be a token by mistake, and
// is not copied anywhere.
var reportForm = regexp.MustCompile(`^([0-9a-f]{16})(@[0-9A-Za-z:.+_-]{1,40})?$`)

// reportOn is the report of an invalid token on wt, and the fingerprint that it
// names; both are empty if there is none.
func reportOn(wt *v1alpha1.WeChatToken) (report, fingerprint string) {
	m := reportForm.FindStringSubmatch(wt.Annotations[v1alpha1.AnnotationInvalidToken])
	if m == nil {
		return "", ""
	}
	return m[0], m[1]
}
