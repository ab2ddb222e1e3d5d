package main

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// concurrent is how many requests the bench makes at once.
const concurrent = 32

// app is a WeChatToken and the Secrets of the same name: its own, and with
// "-app" behind it the one with the AppSecret.
type app struct {
	namespace string
	name      string
	appID     string
}

func (a app) key() string { return a.namespace + "/" + a.name }

// namespaces is how many there are: the WeChatTokens are spread over them.
const namespaces = 20

// fleet is n apps, each with an appid of its own.
func fleet(n int) []app {
	apps := make([]app, n)
	for i := range apps {
		apps[i] = app{
			namespace: fmt.Sprintf("bench-%02d", i%namespaces),
			name:      fmt.Sprintf("wt-%05d", i),
			appID:     fmt.Sprintf("wx%016x", 0xbe9c0000+i),
		}
	}
	return apps
}

// appSecret has the form of WeChat's.
func (a app) appSecret() string { return fmt.Sprintf("%032s", a.appID[2:]) }

// object is the WeChatToken of the app.
func (a app) object() *v1alpha1.WeChatToken {
	return &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name},
		Spec: v1alpha1.WeChatTokenSpec{
			AppID:        a.appID,
			AppSecretRef: v1alpha1.AppSecretReference{Name: a.name + "-app"},
		},
	}
}

// seed creates the Secrets with the AppSecrets.
func (w *world) seed(ctx context.Context, p *progress) error {
	defer p.end()
	return each(ctx, len(w.apps), func(i int) error {
		p.Add(1)
		return w.createAppSecret(ctx, w.apps[i], w.apps[i].appSecret())
	})
}

// createAppSecret creates the Secret with the AppSecret of an app.
func (w *world) createAppSecret(ctx context.Context, a app, appSecret string) error {
	_, err := w.clients.CoreV1().Secrets(a.namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name + "-app"},
		Data:       map[string][]byte{"appsecret": []byte(appSecret)},
	}, metav1.CreateOptions{})
	return err
}

// create creates the WeChatTokens.
func (w *world) create(ctx context.Context) error {
	return each(ctx, len(w.apps), func(i int) error { return w.cluster.Create(ctx, w.apps[i].object()) })
}

// annotate gives the WeChatToken of an app an annotation.
func (w *world) annotate(ctx context.Context, a app, key, value string) error {
	wt := &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
	return w.cluster.Patch(ctx, wt, client.RawPatch("application/merge-patch+json", []byte(patch)))
}

// force asks for a new token of an app.
func (w *world) force(ctx context.Context, a app) error {
	return w.annotate(ctx, a, v1alpha1.AnnotationRefreshRequestedAt, "bench")
}

// each calls f for all numbers below n, some of them at once, until one fails.
func each(ctx context.Context, n int, f func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan int)
	var workers sync.WaitGroup
	for range min(concurrent, n) {
		workers.Go(func() {
			for i := range todo {
				if err := f(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		select {
		case todo <- i:
		case <-ctx.Done():
		}
	}
	close(todo)
	workers.Wait()
	return context.Cause(ctx)
}
