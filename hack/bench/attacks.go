package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
)

// attack is what a hostile tenant does with the permissions to write WeChatTokens
// and Secrets in a namespace of its own.
type attack struct {
	name    string
	prepare func(*world, context.Context) error // nil if there is nothing to prepare
	endless bool                                // it goes on until ctx ends

	// run returns how many WeChatTokens it has made, or how many AppSecrets of
	// WeChatTokens it has changed: that many deserve to be looked at.
	run func(*world, context.Context) (int, error)
}

// How much the attacks make.
const (
	wrongAppSecrets = 600
	ownedSecrets    = 4000
	oneTarget       = 800
	largeObjects    = 1300
	largeAnnotation = 240_000 // bytes; Kubernetes allows an object 256 KiB
)

// hostile is the tenant, and the one WeChatToken of it that has a valid AppSecret.
var hostile = app{namespace: "hostile", name: "own", appID: "wx00000000bad0bad0"}

// attacks are all that are measured.
func attacks() []attack {
	return []attack{
		{
			name: fmt.Sprintf("%d WeChatTokens with wrong AppSecrets", wrongAppSecrets),
			run:  func(w *world, ctx context.Context) (int, error) { return wrongAppSecrets, w.createWrong(ctx) },
		},
		{
			name: fmt.Sprintf("%d wrong AppSecrets that change without pause", wrongAppSecrets), endless: true,
			prepare: func(w *world, ctx context.Context) error {
				if err := w.createWrong(ctx); err != nil {
					return err
				}
				return w.quiet(ctx, w.present())
			},
			run: (*world).changeWrongForever,
		},
		{
			name: fmt.Sprintf("%d Secrets of one WeChatToken", ownedSecrets), prepare: (*world).createOwn,
			run: func(w *world, ctx context.Context) (int, error) { return 0, w.createOwned(ctx, hostile) },
		},
		{
			name: fmt.Sprintf("%d Secrets of another tenant's WeChatToken", ownedSecrets),
			run:  func(w *world, ctx context.Context) (int, error) { return 0, w.createOwned(ctx, w.apps[0]) },
		},
		{
			name: fmt.Sprintf("%d WeChatTokens with one target", oneTarget),
			run: func(w *world, ctx context.Context) (int, error) {
				return oneTarget, each(ctx, oneTarget, func(i int) error {
					wt := hostile.object()
					wt.Name, wt.Spec.Secret = fmt.Sprintf("claim-%03d", i), &v1alpha1.TokenSecret{Name: "target"}
					return w.cluster.Create(ctx, wt)
				})
			},
		},
	}
}

// wrongAppSecret has the form of WeChat's, and belongs to no account.
func wrongAppSecret() string {
	random := make([]byte, 16)
	rand.Read(random)
	return hex.EncodeToString(random)
}

// wrong is the i-th WeChatToken of the hostile tenant with a wrong AppSecret.
func wrong(i int) app {
	return app{namespace: hostile.namespace, name: fmt.Sprintf("wrong-%03d", i), appID: hostile.appID}
}

func (w *world) createWrong(ctx context.Context) error {
	return each(ctx, wrongAppSecrets, func(i int) error {
		a := wrong(i)
		if err := w.createAppSecret(ctx, a, wrongAppSecret()); err != nil {
			return err
		}
		return w.cluster.Create(ctx, a.object())
	})
}

func (w *world) changeWrongForever(ctx context.Context) (int, error) {
	var changed atomic.Int64
	for {
		err := each(ctx, wrongAppSecrets, func(i int) error {
			a, patch := wrong(i), fmt.Sprintf(`{"stringData":{"appsecret":%q}}`, wrongAppSecret())
			_, err := w.clients.CoreV1().Secrets(a.namespace).Patch(ctx, a.name+"-app", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			if err == nil {
				changed.Add(1)
			}
			return err
		})
		if err != nil {
			return int(changed.Load()), err
		}
	}
}

// createOwn creates the WeChatToken of the hostile tenant that is in order.
func (w *world) createOwn(ctx context.Context) error {
	if err := w.cluster.Create(ctx, hostile.object()); err != nil {
		return err
	}
	return w.quiet(ctx, w.present())
}

// createOwned creates Secrets that name a WeChatToken as their controller, in the
// namespace of the hostile tenant.
func (w *world) createOwned(ctx context.Context, by app) error {
	wt := &v1alpha1.WeChatToken{}
	if err := w.cluster.Get(ctx, types.NamespacedName{Namespace: by.namespace, Name: by.name}, wt); err != nil {
		return err
	}
	owner := *metav1.NewControllerRef(wt, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))
	return each(ctx, ownedSecrets, func(i int) error {
		_, err := w.clients.CoreV1().Secrets(hostile.namespace).Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("owned-%04d", i), OwnerReferences: []metav1.OwnerReference{owner}},
		}, metav1.CreateOptions{})
		return err
	})
}

// createLarge creates suspended WeChatTokens with as many annotations as
// Kubernetes allows.
func (w *world) createLarge(ctx context.Context, p *progress) error {
	defer p.end()
	return each(ctx, largeObjects, func(i int) error {
		wt := hostile.object()
		wt.Name, wt.Spec.Suspend = fmt.Sprintf("large-%04d", i), true
		wt.Annotations = map[string]string{"example.com/large": strings.Repeat(wrongAppSecret(), largeAnnotation/32)}
		p.Add(1)
		return w.cluster.Create(ctx, wt)
	})
}
