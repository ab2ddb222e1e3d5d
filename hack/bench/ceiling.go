package main

import (
	"crypto/rand"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// operator is the field manager whose writes the ceiling makes.
const operator = client.FieldOwner("wechat-token-operator")

// made is a token that no WeChat has given: as long as the fake's are.
func made() string {
	return "98_" + (rand.Text() + rand.Text() + rand.Text() + rand.Text() + rand.Text() + rand.Text())[:133]
}

// key signs the records that the ceiling writes.
var key = record.NewKey("of the ceiling")

// applySecret makes the write by which the operator puts a token into a Secret.
func (w *world) applySecret(wt *v1alpha1.WeChatToken, token string) error {
	now := time.Now().UTC().Truncate(time.Second)
	return w.cluster.Apply(w.Context(), testcluster.Application(record.Render(wt, record.Record{Token: record.Token{
		Value: token, AppID: wt.Spec.AppID, Mode: v1alpha1.ModeStable, ObtainedAt: now, ExpiresAt: now.Add(2 * time.Hour),
	}}, key)), operator, client.ForceOwnership)
}

// patchStatus makes the write by which the operator tells of a token.
func (w *world) patchStatus(wt *v1alpha1.WeChatToken, token string) error {
	before := wt.DeepCopy()
	now := metav1.Now()
	wt.Status.ObservedGeneration = wt.Generation
	wt.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: wt.Generation,
		Reason: v1alpha1.ReasonTokenValid, Message: "The Secret holds a valid token", LastTransitionTime: now,
	}}
	wt.Status.SecretName = wt.Name
	wt.Status.ExpirationTime = new(metav1.NewTime(now.Add(2 * time.Hour)))
	wt.Status.NextRefreshTime = new(metav1.NewTime(now.Add(115 * time.Minute)))
	wt.Status.LastRefreshTime = &now
	wt.Status.TokenFingerprint = record.Fingerprint(token)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return w.cluster.Status().Patch(w.Context(), wt, patch, operator)
}

// refresh makes both writes.
func (w *world) refresh(wt *v1alpha1.WeChatToken) error {
	token := made()
	if err := w.applySecret(wt, token); err != nil {
		return err
	}
	return w.patchStatus(wt, token)
}

// warmUp makes each write once: the first of a kind takes the API server a second
// or two, with which nothing that is measured has to do.
func (w *world) warmUp() {
	wt := fleet(1)[0].object()
	w.must(w.cluster.Create(w.Context(), wt))
	w.must(w.refresh(wt))
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: wt.Namespace, Name: wt.Name}}
	w.must(errors.Join(w.cluster.Delete(w.Context(), wt), w.cluster.Delete(w.Context(), secret)))
}

// ceilingOfApply makes the three writes for each app, in a world of its own, until
// all Secrets are seen.
func (b *bench) ceilingOfApply(r *result) error {
	return b.inWorld(fleet(r.n), wechattest.Config{}, func(w *world) {
		p := begin("apply, ceiling", r.n)
		defer p.end()
		_, took := w.collect(r.n, p, func() error {
			return w.each("", w.apps, func(a app) error {
				wt := a.object()
				if err := w.cluster.Create(w.Context(), wt, operator); err != nil {
					return err
				}
				return w.refresh(wt)
			})
		})
		r.ceiling(took)
	})
}
