package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

const (
	concurrent = 32 // requests that the bench makes at once
	namespaces = 20 // the WeChatTokens are spread over them
)

// app is a WeChatToken and the Secrets of the same name: its own, and with
// "-app" behind it the one with the AppSecret.
type app struct{ namespace, name, appID string }

func (a app) key() string { return a.namespace + "/" + a.name }

// fleet is n apps, each with an appid of its own.
func fleet(n int) []app {
	apps := make([]app, n)
	for i := range apps {
		apps[i] = app{fmt.Sprintf("bench-%02d", i%namespaces), fmt.Sprintf("wt-%05d", i), fmt.Sprintf("wx%016x", 0xbe9c0000+i)}
	}
	return apps
}

// appSecret has the form of WeChat's: the operator sends no other.
func (a app) appSecret() string { return fmt.Sprintf("%032s", a.appID[2:]) }

// object is the WeChatToken of the app.
func (a app) object() *v1alpha1.WeChatToken {
	return &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name},
		Spec:       v1alpha1.WeChatTokenSpec{AppID: a.appID, AppSecretRef: v1alpha1.AppSecretReference{Name: a.name + "-app"}},
	}
}

// world is all that runs while something is measured: an API server of its own,
// WeChat, and managers. What fails in it ends it.
type world struct {
	testing.TB
	*bench

	apps []app
	free int // the apps before this one were forced

	plane   *testcluster.Cluster
	counted *requests // that the bench itself has made
	clients *kubernetes.Clientset
	cluster client.WithWatch // acts as the operator does
	bearer  string           // may read the metrics of managers
	news    chan change

	weChat  *wechattest.Server
	url     string
	manager *manager // the one that is at work
}

// newWorld starts all but managers, and puts the AppSecrets of apps there.
func (b *bench) newWorld(tb testing.TB, apps []app, cfg wechattest.Config) *world {
	tb.Helper()
	w := &world{TB: tb, bench: b, apps: apps, counted: &requests{made: counts{}}}
	p := begin("an API server starts", 0)
	var err error
	w.plane, err = testcluster.Start()
	p.end()
	w.must(err)
	w.Cleanup(func() {
		_ = w.plane.SignalAPIServer(syscall.SIGKILL) // faster than Stop alone
		_ = w.plane.Stop()                           // and so it says that it was killed
	})
	cfg.OpenAccounts = true
	w.weChat, w.url = testcluster.FakeWeChat(tb, cfg)

	c := rest.CopyConfig(w.plane.Config)
	c.Wrap(w.counted.count)
	w.cluster, err = client.NewWithWatch(c, client.Options{Scheme: testcluster.Scheme()})
	w.must(err)
	c.ContentType = runtime.ContentTypeProtobuf
	w.clients, err = kubernetes.NewForConfig(c)
	w.must(err)
	for i := range namespaces {
		w.must(w.cluster.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bench-%02d", i)}}))
	}
	w.kubectl("create serviceaccount bench")
	w.kubectl("create clusterrole bench --verb=get --non-resource-url=/metrics")
	w.kubectl("create clusterrolebinding bench --clusterrole=bench --serviceaccount=default:bench")
	w.bearer = w.kubectl("create token bench --duration=10h")
	w.warmUp()
	w.must(w.each("creating AppSecrets", apps, func(a app) error {
		return w.cluster.Create(w.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name + "-app"},
			StringData: map[string]string{"appsecret": a.appSecret()},
		})
	}))
	w.watch()
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) kubectl(args string) string {
	out, err := w.plane.Kubectl(strings.Fields(args)...).Output()
	w.must(err)
	return strings.TrimSpace(string(out))
}

// manager is a process of the operator.
type manager struct {
	*testcluster.Program

	metrics string // address
}

// launch starts a manager. Without other flags it is the only one.
func (w *world) launch(flags ...string) *manager {
	metrics, err := testcluster.FreeAddress()
	w.must(err)
	flags = append([]string{"--metrics-bind-address=" + metrics}, flags...)
	return &manager{w.plane.StartManager(w.TB, filepath.Join(w.managers, "manager"), w.url, flags...), metrics}
}

// start puts a new manager to work, and waits until it is ready.
func (w *world) start(flags ...string) {
	if w.manager != nil {
		w.manager.Terminate()
	}
	w.manager = w.launch(flags...)
	w.manager.AwaitReady()
}

// create creates the WeChatToken of an app.
func (w *world) create(a app) error { return w.cluster.Create(w.Context(), a.object()) }

// annotate gives the WeChatToken of an app an annotation.
func (w *world) annotate(a app, key string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"bench"}}}`, key)
	return w.cluster.Patch(w.Context(), a.object(), client.RawPatch("application/merge-patch+json", []byte(patch)))
}

// force asks for a new token of an app.
func (w *world) force(a app) error { return w.annotate(a, v1alpha1.AnnotationRefreshRequestedAt) }

// unforced are n apps that were not forced yet, and are about to be: WeChat and the
// operator allow one forced refresh of an account in 30 s.
func (w *world) unforced(n int) []app {
	w.free += n
	return w.apps[w.free-n : w.free]
}

// each calls do for all apps, some of them at once, until one fails. It tells how
// far it is if what it does has a name.
func (w *world) each(what string, apps []app, do func(app) error) error {
	if what != "" {
		p := begin(what, len(apps))
		defer p.end()
		next := do
		do = func(a app) error { p.Add(1); return next(a) }
	}
	g, ctx := errgroup.WithContext(w.Context())
	g.SetLimit(concurrent)
	for _, a := range apps {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return do(a)
		})
	}
	return g.Wait()
}
