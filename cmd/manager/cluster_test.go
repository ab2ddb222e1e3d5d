//go:build integration

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// namespace is of one test, on the API server that all share.
type namespace struct{ *testcluster.Namespace }

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	return &namespace{testcluster.NewNamespace(t)}
}

// start starts the manager for this namespace and a WeChat at url. Flags given replace
// those that are usual here.
func (n *namespace) start(url string, flags ...string) *testcluster.Program {
	n.T.Helper()
	return n.StartManager(n.T, program, url, append([]string{"--namespaces=" + n.Name}, flags...)...)
}

// freeAddress is an address on loopback that nobody listens on.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	address, err := testcluster.FreeAddress()
	if err != nil {
		tb.Fatal(err)
	}
	return address
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
	n.T.Helper()
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
			if err := n.Create(n.T.Context(), obj); err != nil {
				n.T.Fatal(err)
			}
		}
	}
}

// weChatTokens are those of the namespace, by name.
func (n *namespace) weChatTokens() map[string]v1alpha1.WeChatToken {
	n.T.Helper()
	var list v1alpha1.WeChatTokenList
	if err := n.List(n.T.Context(), &list); err != nil {
		n.T.Fatal(err)
	}
	byName := map[string]v1alpha1.WeChatToken{}
	for _, wt := range list.Items {
		byName[wt.Name] = wt
	}
	return byName
}

// awaitReady waits until every WeChatToken of the namespace is Ready.
func (n *namespace) awaitReady() {
	n.T.Helper()
	testcluster.Eventually(n.T, "all WeChatTokens are Ready", func() error {
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
	if err := n.List(n.T.Context(), &secrets, client.HasLabels{"app.kubernetes.io/managed-by"}); err != nil {
		return nil, err
	}
	tokens := map[string]string{}
	for _, s := range secrets.Items {
		tokens[s.Name] = string(s.Data["access_token"])
	}
	return tokens, nil
}

func (n *namespace) deleteSecret(name string) {
	n.T.Helper()
	if err := n.Delete(n.T.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		n.T.Fatal(err)
	}
}

// kubectl returns what a kubectl command prints.
func (n *namespace) kubectl(args ...string) string {
	n.T.Helper()
	out, err := n.Kubectl(append([]string{"--namespace", n.Name}, args...)...).CombinedOutput()
	if err != nil {
		n.T.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// calls is how often the fake was asked for a token.
func calls(fake *wechattest.Server) int {
	c := fake.Counts("")
	return c.Stable.Calls + c.Classic.Calls
}
