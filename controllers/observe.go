package controllers

import (
	"context"
	"fmt"
	"regexp"
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

	credentials *wechat.Credentials // nil while there is no AppSecret
	missing     finding             // what is wrong with it then
	key         record.Key          // of the AppSecret; nil without one
	account     *account.View       // nil while there are no credentials

	target   *corev1.Secret // nil if there is none
	conflict string         // who else has the target, or an older claim to it
	onTarget *record.Record // what the target remembers; nil if it has no record
	// old are the Secrets of this WeChatToken that the spec no longer names.
	old   []*corev1.Secret
	onOld *record.Record // the newest record on them

	last lastWrite // of the target, by this process
}

// holds is what the target holds, if it serves the spec; nil if it does not.
func (o *observation) holds(now time.Time) *record.Record {
	if o.onTarget == nil || o.conflict != "" || !o.onTarget.Token.Serves(o.wt) || o.onTarget.Token.Ahead(now) {
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
	o := observation{wt: wt, last: r.writes.of(key, wt.UID)}
	r.Secrets.SetNames(key, secretcache.Names{Target: wt.TokenSecretName(), Credentials: wt.Spec.AppSecretRef.Name})
	var err error
	// A new WeChatToken has no Secret yet. For any other, do not trust the watch
	// that the Secret is missing: it may lag behind what the last leader wrote.
	target := types.NamespacedName{Namespace: wt.Namespace, Name: wt.TokenSecretName()}
	if isNew := len(wt.Status.Conditions) == 0; !isNew || !r.Secrets.Absent(target) {
		if o.target, err = r.Secrets.Get(ctx, target); err != nil {
			return o, err
		}
	}
	if o.conflict, err = r.conflict(ctx, wt, o.target); err != nil {
		return o, err
	}
	if o.conflict != "" {
		r.Accounts.Pause(key)
		return o, nil
	}
	if o.credentials, o.missing, err = r.credentials(ctx, wt); err != nil {
		return o, err
	}
	if o.credentials != nil {
		o.key = record.NewKey(o.credentials.AppSecret)
	}
	o.onTarget = record.Read(o.target, o.key)
	if o.credentials == nil {
		r.Accounts.Pause(key)
		return o, nil
	}
	if err := r.observeOld(ctx, &o); err != nil {
		return o, err
	}
	return o, r.join(ctx, key, &o, time.Now())
}

// join tells the account what is wanted and what was found, and takes its view.
func (r *WeChatTokenReconciler) join(ctx context.Context, key types.NamespacedName, o *observation, now time.Time) error {
	wt, mode := o.wt, o.wt.Spec.ModeOrDefault()
	if !r.Accounts.Surveyed(*o.credentials, mode) {
		found, err := r.siblings(ctx, wt, o.key)
		if err != nil {
			return err
		}
		r.Accounts.Survey(*o.credentials, mode, found, now)
	}
	found := o.onTarget
	if found == nil {
		found = o.onOld
	}
	report, reported := reportOn(wt)
	wants := account.Wants{
		UID:           wt.UID,
		Suspended:     wt.Spec.Suspend,
		RefreshBefore: wt.Spec.RefreshBeforeOrDefault(),
		CheckInterval: wt.Spec.CheckIntervalOrDefault(),
		Tickets:       record.Wanted(wt),
		Generation:    wt.Generation,
		Request:       requestOn(wt),
		Report:        report,
		Reported:      reported,
	}
	if found != nil && found.Token.AppID == wt.Spec.AppID {
		wants.Secret = found
	}
	view := r.Accounts.Join(key, *o.credentials, mode, wants, found, now)
	o.account = &view
	return nil
}

// siblings are the records on the Secrets of all other WeChatTokens that name the
// appid and mode of wt, in whatever namespace. In other namespaces only those
// count that the key verifies: anybody who edits a namespace may have written the
// others.
func (r *WeChatTokenReconciler) siblings(ctx context.Context, wt *v1alpha1.WeChatToken, key record.Key) ([]*record.Record, error) {
	var same v1alpha1.WeChatTokenList
	if err := r.Client.List(ctx, &same, client.MatchingFields{indexAppIDAndMode: appIDAndMode(wt)}); err != nil {
		return nil, err
	}
	var found []*record.Record
	for i := range same.Items {
		other := &same.Items[i]
		if other.UID == wt.UID {
			continue
		}
		s, err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: other.Namespace, Name: other.TokenSecretName()})
		if apierrors.IsForbidden(err) {
			continue // its namespace is not ours, and must not hold up those that are
		}
		if err != nil {
			return nil, err
		}
		if s == nil || !metav1.IsControlledBy(s, other) {
			continue
		}
		if rec := record.Read(s, key); rec != nil && (rec.Verified || other.Namespace == wt.Namespace) {
			found = append(found, rec)
		}
	}
	return found, nil
}

// credentials reads the AppSecret. Without one it says what is wrong.
func (r *WeChatTokenReconciler) credentials(ctx context.Context, wt *v1alpha1.WeChatToken) (*wechat.Credentials, finding, error) {
	ref := wt.Spec.AppSecretRef
	s, err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: wt.Namespace, Name: ref.Name})
	if err != nil {
		return nil, finding{}, err
	}
	if s == nil {
		s = &corev1.Secret{}
	}
	secret, odd := wire.ReadAppSecret(s.Data[ref.KeyOrDefault()])
	if secret == "" {
		return nil, ofAppSecret(ref, odd), nil
	}
	return &wechat.Credentials{AppID: wt.Spec.AppID, AppSecret: secret}, finding{}, nil
}

// conflict says who else has the target Secret, or an older claim to it; empty if
// it is wt's. Of two WeChatTokens that name one target the older has it: it
// takes the Secret over if the younger was there first.
func (r *WeChatTokenReconciler) conflict(ctx context.Context, wt *v1alpha1.WeChatToken, s *corev1.Secret) (string, error) {
	var claimants v1alpha1.WeChatTokenList
	if err := r.Client.List(ctx, &claimants, client.InNamespace(wt.Namespace), client.MatchingFields{indexTarget: wt.TokenSecretName()}); err != nil {
		return "", err
	}
	younger := map[types.UID]bool{}
	for i := range claimants.Items {
		other := &claimants.Items[i]
		if other.UID == wt.UID || !other.DeletionTimestamp.IsZero() {
			continue
		}
		if older(other, wt) {
			return fmt.Sprintf("is claimed by the older WeChatToken %q", other.Name), nil
		}
		younger[other.UID] = true
	}
	if s == nil || metav1.IsControlledBy(s, wt) {
		return "", nil
	}
	owner := metav1.GetControllerOf(s)
	switch {
	case owner == nil:
		return "was not made by this operator", nil
	case owner.Kind == v1alpha1.Kind && owner.Name == wt.Name:
		return "belongs to an earlier WeChatToken of this name, and goes when the garbage collector has noticed", nil
	case younger[owner.UID]:
		return "", nil
	default:
		return fmt.Sprintf("belongs to %s %q", owner.Kind, owner.Name), nil
	}
}

func older(a, b *v1alpha1.WeChatToken) bool {
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.UID < b.UID
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp)
}

// observeOld looks for Secrets that the WeChatToken owns under names it no longer
// uses.
func (r *WeChatTokenReconciler) observeOld(ctx context.Context, o *observation) error {
	for _, name := range r.Secrets.OwnedBy(o.wt.Namespace, o.wt.UID) {
		if name == o.wt.TokenSecretName() || name == o.wt.Spec.AppSecretRef.Name {
			continue
		}
		s, err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: o.wt.Namespace, Name: name})
		if err != nil {
			return err
		}
		if s == nil || !metav1.IsControlledBy(s, o.wt) || s.Annotations[record.Annotation] == "" {
			continue // the watch is behind, or a person made it
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
