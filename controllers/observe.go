package controllers

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// observe reads the Secrets a WeChatToken names. A missing one is an
// observation, not an error.
func (r *WeChatTokenReconciler) observe(ctx context.Context, wt *v1alpha1.WeChatToken) (observed, error) {
	o := observed{wt: wt}
	target := types.NamespacedName{Namespace: wt.Namespace, Name: wt.TokenSecretName()}
	r.secrets.name(client.ObjectKeyFromObject(wt), names{target: target.Name, appSecret: wt.Spec.AppSecretRef.Name})
	var err error
	// Of a WeChatToken that has just been made nobody has written a Secret yet.
	// Otherwise the watch's word is not enough that there is none: it may lag
	// behind what the last leader wrote.
	if isNew := len(wt.Status.Conditions) == 0; !isNew || !r.secrets.absent(target) {
		if o.secret, err = r.secret(ctx, wt, target.Name); err != nil {
			return o, err
		}
	}
	o.inSecret = tokenIn(o.secret)
	if o.holder, err = r.holder(ctx, wt, o.secret); err != nil || o.holder != "" {
		return o, err
	}
	if wt.Spec.Suspend {
		if o.inSecret != nil { // its end may be brought on by others
			o.account = o.inSecret.account
			r.look(&o, o.inSecret)
		}
		return o.judged(r.StableWindow), nil
	}
	if o.creds, o.missing, err = r.credentials(ctx, wt); err != nil || o.creds == nil {
		return o, err
	}
	if err := r.observeOld(ctx, &o); err != nil {
		return o, err
	}
	o.account = accountOf(*o.creds, wt.Spec.ModeOrDefault())
	if !r.accounts.surveyed(o.account) {
		found, err := r.siblings(ctx, wt)
		if err != nil {
			return o, err
		}
		r.accounts.survey(o.account, wt.Spec.AppID, found, time.Now())
	}
	r.look(&o, cmp.Or(o.inSecret, o.inOld))
	return o.judged(r.StableWindow), nil
}

// look tells the account of o what token was found, and takes from there what
// this process knows.
func (r *WeChatTokenReconciler) look(o *observed, found *issued) {
	var others []types.NamespacedName
	o.known, o.user, others = r.accounts.look(client.ObjectKeyFromObject(o.wt), o.account, o.wt, found, time.Now())
	for _, other := range others {
		r.wake(other, usual)
	}
}

// siblings reads the tokens in the Secrets of all other WeChatTokens that name
// the appid and mode of wt, in whatever namespace. Which of them are of the same
// account, and so may be shared, their accountIDs tell.
func (r *WeChatTokenReconciler) siblings(ctx context.Context, wt *v1alpha1.WeChatToken) ([]*issued, error) {
	var same v1alpha1.WeChatTokenList
	if err := r.Client.List(ctx, &same, client.MatchingFields{indexAppID: accountName(wt)}); err != nil {
		return nil, err
	}
	var found []*issued
	for i := range same.Items {
		other := &same.Items[i]
		if other.UID == wt.UID {
			continue
		}
		s, err := r.secret(ctx, other, other.TokenSecretName())
		if apierrors.IsForbidden(err) {
			continue // its namespace is not ours, and must not hold up those that are
		}
		if err != nil {
			return nil, err
		}
		if t := tokenIn(s); t != nil {
			found = append(found, t)
		}
	}
	return found, nil
}

// secret is a Secret as it is known, or else as it is read; nil if there is none.
func (r *WeChatTokenReconciler) secret(ctx context.Context, wt *v1alpha1.WeChatToken, name string) (*corev1.Secret, error) {
	id := types.NamespacedName{Namespace: wt.Namespace, Name: name}
	if known := r.secrets.recall(id); known != nil {
		return known, nil
	}
	var s corev1.Secret
	err := r.Secrets.Get(ctx, id, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %q: %w", name, err)
	}
	r.secrets.remember(&s)
	return &s, nil
}

// credentials reads the AppSecret. Without one it says what is missing.
func (r *WeChatTokenReconciler) credentials(ctx context.Context, wt *v1alpha1.WeChatToken) (*wechat.Credentials, string, error) {
	ref := wt.Spec.AppSecretRef
	s, err := r.secret(ctx, wt, ref.Name)
	if err != nil {
		return nil, "", err
	}
	if s == nil {
		return nil, fmt.Sprintf("There is no Secret %q in this namespace; create it with the AppSecret under the key %q", ref.Name, ref.KeyOrDefault()), nil
	}
	value := strings.TrimSpace(string(s.Data[ref.KeyOrDefault()])) // a line feed comes along easily
	if value == "" {
		return nil, fmt.Sprintf("Secret %q holds no AppSecret under the key %q", ref.Name, ref.KeyOrDefault()), nil
	}
	return &wechat.Credentials{AppID: wt.Spec.AppID, AppSecret: value}, "", nil
}

// holder says who else has the target Secret, or an older claim to it; empty if
// it is wt's. Of two WeChatTokens that name one target the older has it: it
// takes the Secret over if the younger was there first.
func (r *WeChatTokenReconciler) holder(ctx context.Context, wt *v1alpha1.WeChatToken, s *corev1.Secret) (string, error) {
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
	case owner.Kind == kind && owner.Name == wt.Name:
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

// observeOld looks for Secrets that wt owns under names it no longer uses.
func (r *WeChatTokenReconciler) observeOld(ctx context.Context, o *observed) error {
	for _, name := range r.secrets.ownedBy(o.wt.UID) {
		if name == o.wt.TokenSecretName() || name == o.wt.Spec.AppSecretRef.Name {
			continue
		}
		s, err := r.secret(ctx, o.wt, name)
		if err != nil {
			return err
		}
		if s == nil || !metav1.IsControlledBy(s, o.wt) || s.Annotations[annotationSeal] == "" {
			continue // the watch is behind, or a person made it
		}
		o.old = append(o.old, s)
		if t := tokenIn(s); t != nil && (o.inOld == nil || t.obtained.After(o.inOld.obtained)) {
			o.inOld = t
		}
	}
	return nil
}
