package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

var (
	startControlPlane = sync.OnceValues(testcluster.Start)
	planeStarted      atomic.Bool
)

func stopControlPlane() {
	if !planeStarted.Load() {
		return
	}
	if plane, err := startControlPlane(); err == nil {
		if err := plane.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// namespace is of one test, on the API server that all share. What it
// makes there is gone when the next test begins, so that the managers can watch
// the whole cluster, and the API server's counts can be read.
type namespace struct {
	*testcluster.Cluster
	client.Client

	t       *testing.T
	name    string
	clients *kubernetes.Clientset
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	planeStarted.Store(true)
	plane, err := startControlPlane()
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(plane.Config, client.Options{Scheme: scheme, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatal(err)
	}
	clients, err := kubernetes.NewForConfig(plane.Config)
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, kind := range []client.Object{&v1alpha1.WeChatToken{}, &corev1.Secret{}} {
			if err := c.DeleteAllOf(context.Background(), kind, client.InNamespace(ns.Name)); err != nil {
				t.Error(err)
			}
		}
	})
	return &namespace{plane, client.NewNamespacedClient(c, ns.Name), t, ns.Name, clients}
}

// serve serves a fake WeChat on loopback.
func serve(t *testing.T, cfg wechattest.Config) (*wechattest.Server, string) {
	t.Helper()
	fake := wechattest.New(cfg)
	server := httptest.NewServer(fake)
	t.Cleanup(server.CloseClientConnections) // those that hang would hold up Close
	t.Cleanup(server.Close)
	return fake, server.URL
}

// app is an account at WeChat together with what names it in the cluster: a
// WeChatToken and its AppSecret's Secret.
type app struct {
	name   string
	appID  string
	secret string
	mode   v1alpha1.Mode

	tickets []v1alpha1.TicketType
	labels  map[string]string
	target  string // the Secret for the token; that of the name when empty
}

// newApp is an app whose appid and AppSecret follow from a number.
func newApp(mode v1alpha1.Mode, number int) app {
	return app{
		name:   fmt.Sprintf("%s-%d", strings.ToLower(string(mode)), number),
		appID:  fmt.Sprintf("wx%016x", number),
		secret: fmt.Sprintf("%032x", number),
		mode:   mode,
	}
}

// fleet is count apps of each mode.
func fleet(count int) []app {
	var apps []app
	for i := range count {
		apps = append(apps, newApp(v1alpha1.ModeStable, 1000+i), newApp(v1alpha1.ModeClassic, 2000+i))
	}
	return apps
}

// create creates the AppSecrets and the WeChatTokens of apps.
func (n *namespace) create(apps ...app) {
	n.t.Helper()
	for _, a := range apps {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: a.name + "-app"},
			StringData: map[string]string{"appsecret": a.secret},
		}
		wt := &v1alpha1.WeChatToken{
			ObjectMeta: metav1.ObjectMeta{Name: a.name, Labels: a.labels},
			Spec: v1alpha1.WeChatTokenSpec{
				AppID:        a.appID,
				AppSecretRef: v1alpha1.AppSecretReference{Name: secret.Name},
				Mode:         a.mode,
				Tickets:      a.tickets,
			},
		}
		if a.target != "" {
			wt.Spec.Secret = &v1alpha1.TokenSecret{Name: a.target}
		}
		for _, obj := range []client.Object{secret, wt} {
			if err := n.Create(n.t.Context(), obj); err != nil {
				n.t.Fatal(err)
			}
		}
	}
}

// weChatTokens are those of the namespace, by name.
func (n *namespace) weChatTokens() map[string]v1alpha1.WeChatToken {
	n.t.Helper()
	var list v1alpha1.WeChatTokenList
	if err := n.List(n.t.Context(), &list); err != nil {
		n.t.Fatal(err)
	}
	byName := map[string]v1alpha1.WeChatToken{}
	for _, wt := range list.Items {
		byName[wt.Name] = wt
	}
	return byName
}

// awaitReady waits until every WeChatToken of the namespace is Ready.
func (n *namespace) awaitReady() {
	n.t.Helper()
	eventually(n.t, "all WeChatTokens are Ready", func() error {
		var not []string
		for name, wt := range n.weChatTokens() {
			if !meta.IsStatusConditionTrue(wt.Status.Conditions, v1alpha1.ConditionReady) {
				not = append(not, name)
			}
		}
		if len(not) > 0 {
			slices.Sort(not)
			return fmt.Errorf("%d are not, such as %s", len(not), not[0])
		}
		return nil
	})
}

// tokens are the tokens in the Secrets of the namespace, by the Secret's name.
func (n *namespace) tokens() (map[string]string, error) {
	var secrets corev1.SecretList
	if err := n.List(n.t.Context(), &secrets, client.HasLabels{"app.kubernetes.io/managed-by"}); err != nil {
		return nil, err
	}
	tokens := map[string]string{}
	for _, s := range secrets.Items {
		tokens[s.Name] = string(s.Data["access_token"])
	}
	return tokens, nil
}

func (n *namespace) deleteSecret(name string) {
	n.t.Helper()
	if err := n.Delete(n.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		n.t.Fatal(err)
	}
}

// kubectl returns what a kubectl command prints.
func (n *namespace) kubectl(args ...string) string {
	n.t.Helper()
	out, err := n.Kubectl(append([]string{"--namespace", n.name}, args...)...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// writes are the requests to write that the API server has had so far, failed
// ones too, by what they were for, as "APPLY secrets". They are those on
// Secrets, WeChatTokens and events: all that the manager may write, but for the
// lease.
func (n *namespace) writes() map[string]int {
	n.t.Helper()
	metrics, err := n.clients.RESTClient().Get().AbsPath("/metrics").DoRaw(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	reading := []string{"GET", "LIST", "WATCH", "WATCHLIST", "CONNECT"}
	writes := testcluster.RequestsIn(string(metrics))
	maps.DeleteFunc(writes, func(what string, _ int) bool {
		verb, resource, _ := strings.Cut(what, " ")
		resource, _, _ = strings.Cut(resource, "/")
		return slices.Contains(reading, verb) || !slices.Contains([]string{"secrets", "wechattokens", "events"}, resource)
	})
	return writes
}

// awaitWrites waits until want, or more, has been written since before.
func (n *namespace) awaitWrites(before, want map[string]int) {
	n.t.Helper()
	eventually(n.t, "the API server has counted everything", func() error {
		got := since(before, n.writes())
		for what, count := range want {
			if got[what] < count {
				return fmt.Errorf("%d %s of %d", got[what], what, count)
			}
		}
		return nil
	})
}

// since is what has been added to counts since before.
func since(before, now map[string]int) map[string]int {
	added := maps.Clone(now)
	for what, count := range before {
		if added[what] -= count; added[what] == 0 {
			delete(added, what)
		}
	}
	return added
}

// calls is how often the fake was asked for a token.
func calls(fake *wechattest.Server) int {
	c := fake.Counts("")
	return c.Stable.Calls + c.Classic.Calls
}
