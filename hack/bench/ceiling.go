package main

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
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
func (w *world) applySecret(ctx context.Context, wt *v1alpha1.WeChatToken, token string) error {
	now := time.Now().UTC().Truncate(time.Second)
	return w.cluster.Apply(ctx, record.Render(wt, record.Record{Token: record.Token{
		Value: token, AppID: wt.Spec.AppID, Mode: v1alpha1.ModeStable, ObtainedAt: now, ExpiresAt: now.Add(2 * time.Hour),
	}}, key), operator, client.ForceOwnership)
}

// patchStatus makes the write by which the operator tells of a token.
func (w *world) patchStatus(ctx context.Context, wt *v1alpha1.WeChatToken, token string) error {
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
	return w.cluster.Status().Patch(ctx, wt, patch, operator)
}

// warmUp makes each write once: the first of a kind takes the API server a second
// or two, with which nothing that is measured has to do.
func (w *world) warmUp(ctx context.Context) error {
	wt := fleet(1)[0].object()
	if err := w.cluster.Create(ctx, wt); err != nil {
		return err
	}
	if err := errors.Join(w.applySecret(ctx, wt, made()), w.patchStatus(ctx, wt, made())); err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: wt.Namespace, Name: wt.Name}}
	return errors.Join(w.cluster.Delete(ctx, wt), w.cluster.Delete(ctx, secret))
}

// ceilingOfApply makes the three writes for each app, in a world of its own, and
// returns how long it took until all Secrets were seen, and what one of them is.
func (b *bench) ceilingOfApply(ctx context.Context, n int) (took time.Duration, one *corev1.Secret, err error) {
	w, err := b.newWorld(ctx, fleet(n))
	if err != nil {
		return 0, nil, err
	}
	defer func() {
		if endErr := w.end(); err == nil {
			err = endErr
		}
	}()
	p := b.progress("apply, ceiling", n)
	defer p.end()
	begun := time.Now()
	wrote := make(chan error, 1)
	go func() {
		wrote <- each(ctx, n, func(i int) error {
			wt, token := w.apps[i].object(), made()
			if err := w.cluster.Create(ctx, wt, operator); err != nil {
				return err
			}
			if err := w.applySecret(ctx, wt, token); err != nil {
				return err
			}
			return w.patchStatus(ctx, wt, token)
		})
	}()
	seen, err := w.sight.collectWhile(ctx, n, p, wrote)
	if err != nil {
		return 0, nil, err
	}
	one, err = w.clients.CoreV1().Secrets(w.apps[0].namespace).Get(ctx, w.apps[0].name, metav1.GetOptions{})
	return last(seen).Sub(begun), one, err
}
