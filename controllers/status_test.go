package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Ready follows the token also while the cluster fails the operator.
func TestReadyFollowsTheTokenWhileTheClusterFails(t *testing.T) {
	t.Parallel()
	t.Run("Read", func(t *testing.T) {
		inWorld(t, wechattest.Config{}, func(w *world) {
			w.create(appSecret(testAppSecret), weChatToken())
			w.run(time.Minute)
			w.restart() // what it has read would do for hours
			w.refuseRead = func() error { return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("no RBAC")) }
			w.run(3 * time.Hour)
			if w.ready().Status != metav1.ConditionFalse {
				t.Errorf("Ready = %s %s with a token invalid since %s", w.ready().Status, w.ready().Reason, time.Since(w.get("shop").Status.ExpirationTime.Time))
			}
		})
	})
	t.Run("Write", func(t *testing.T) {
		inWorld(t, wechattest.Config{}, func(w *world) {
			w.create(appSecret(testAppSecret), weChatToken())
			w.run(time.Minute)
			w.refuse = func() error { return apierrors.NewServiceUnavailable("webhook: try later") }
			w.run(3 * time.Hour)
			if w.ready().Status != metav1.ConditionFalse {
				t.Errorf("Ready = %s %s with a token invalid since %s", w.ready().Status, w.ready().Reason, time.Since(w.get("shop").Status.ExpirationTime.Time))
			}
		})
	})
}

// The status that was written between two versions of the object.
func TestStatusIsNotStuck(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.change(requesting("1"))
		w.run(time.Second)

		// The cache is one version behind: the user takes the second request back
		// while the operator is about to say that it waits.
		var behind *v1alpha1.WeChatToken
		armed := true
		c := w.r.Client
		w.r.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
			Get: func(ctx context.Context, _ client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if wt, ok := obj.(*v1alpha1.WeChatToken); ok && behind != nil {
					behind.DeepCopyInto(wt)
					return nil
				}
				return c.Get(ctx, key, obj, opts...)
			},
			SubResourcePatch: func(ctx context.Context, _ client.Client, sub string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if armed {
					armed = false
					wt := w.get("shop")
					requesting("1")(wt)
					if err := w.client.Update(ctx, wt); err != nil {
						return err
					}
					behind = w.get("shop") // what the cache holds for the next moment
					w.wake(client.ObjectKeyFromObject(wt))
				}
				return c.SubResource(sub).Patch(ctx, obj, p, opts...)
			},
		})
		w.change(requesting("2"))
		w.run(100 * time.Millisecond)
		behind = nil // the cache has caught up; a change of the status alone wakes nobody
		w.run(time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	})
}

// P7: a cache that is behind costs no second write and no second event.
func TestCacheBehindCostsNothing(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		behind := w.get("shop")
		c := w.r.Client
		w.r.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
			Get: func(ctx context.Context, _ client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if wt, ok := obj.(*v1alpha1.WeChatToken); ok {
					behind.DeepCopyInto(wt)
					return nil
				}
				return c.Get(ctx, key, obj, opts...)
			},
			Apply: func(ctx context.Context, _ client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
				return c.Apply(ctx, obj, opts...)
			},
			SubResourcePatch: func(ctx context.Context, _ client.Client, sub string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				return c.SubResource(sub).Patch(ctx, obj, p, opts...)
			},
		})
		for range 5 {
			w.wake(client.ObjectKeyFromObject(behind))
			w.run(5 * time.Second)
		}
		if w.statusWrites != 1 || len(w.events) != 1 {
			t.Errorf("%d writes of the status and %d events, want 1 each", w.statusWrites, len(w.events))
		}
	})
}

// A namespace that is being deleted is no refusal: it is told once in the status, and
// not by an event, which the API server would refuse there, too.
func TestTerminatingNamespaceIsQuiet(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.refuse = func() error {
			err := apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("namespace web is being terminated"))
			err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
			return err
		}
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(10 * time.Minute)
		if w.statusWrites != 1 || len(w.events) != 0 || len(w.queue) != 0 {
			t.Errorf("%d writes of the status, events %v, queue %v", w.statusWrites, w.events, w.queue)
		}
	})
}
