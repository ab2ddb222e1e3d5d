//go:build integration

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

const (
	appID     = "wx0123456789abcdef"
	appSecret = "0123456789abcdef0123456789abcdef"
)

// world is a namespace with an operator, a fake WeChat and a token-server.
type world struct {
	*testcluster.Namespace

	fake     *wechattest.Server
	operator *testcluster.Program
	server   *testcluster.TokenServer
}

// newWorld starts an operator, and a token-server with these flags. Both work in one
// namespace.
func newWorld(t *testing.T, cfg wechattest.Config, flags ...string) *world {
	t.Helper()
	return worldOn(t, testcluster.NewNamespace(t), cfg, flags...)
}

func worldOn(t *testing.T, n *testcluster.Namespace, cfg wechattest.Config, flags ...string) *world {
	t.Helper()
	w := &world{Namespace: n}
	cfg.OpenAccounts = true
	var url string
	w.fake, url = testcluster.FakeWeChat(t, cfg)
	window := "--stable-window=5m"
	if cfg.Window > 0 {
		window = "--stable-window=" + cfg.Window.String()
	}
	w.operator = n.StartManager(t, manager, url, "--namespaces="+n.Name, window)
	w.server = n.StartTokenServer(t, tokenServer, append([]string{"--namespaces=" + n.Name}, flags...)...)
	w.server.AwaitReady()
	return w
}

// shop makes a WeChatToken that is called shop, and waits for its token.
func (w *world) shop(modify ...func(*v1alpha1.WeChatToken)) {
	w.T.Helper()
	wt := &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec:       v1alpha1.WeChatTokenSpec{AppID: appID, AppSecretRef: v1alpha1.AppSecretReference{Name: "shop-app"}},
	}
	for _, m := range modify {
		m(wt)
	}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop-app"}, StringData: map[string]string{"appsecret": appSecret}}, wt)
	testcluster.Eventually(w.T, "shop is Ready", func() error {
		if wt := w.get(); !meta.IsStatusConditionTrue(wt.Status.Conditions, v1alpha1.ConditionReady) {
			return errors.New("it is not")
		}
		return nil
	})
}

func (w *world) create(objects ...client.Object) {
	w.T.Helper()
	for _, obj := range objects {
		if err := w.Create(w.T.Context(), obj); err != nil {
			w.T.Fatal(err)
		}
	}
}

func (w *world) get() *v1alpha1.WeChatToken {
	w.T.Helper()
	wt := &v1alpha1.WeChatToken{}
	if err := w.Get(w.T.Context(), client.ObjectKey{Name: "shop"}, wt); err != nil {
		w.T.Fatal(err)
	}
	return wt
}

func (w *world) secret() *corev1.Secret {
	w.T.Helper()
	s := &corev1.Secret{}
	if err := w.Get(w.T.Context(), client.ObjectKey{Name: "shop"}, s); err != nil {
		w.T.Fatal(err)
	}
	return s
}

// reader is a credential of a ServiceAccount that may read one token and report it.
func (w *world) reader(of string) string {
	w.T.Helper()
	return w.allowed("reader-of-"+of, of,
		rbacv1.PolicyRule{Resources: []string{"wechattokens/token"}, Verbs: []string{"get"}},
		rbacv1.PolicyRule{Resources: []string{"wechattokens/invalid"}, Verbs: []string{"create"}})
}

// allowed is a credential, for the token-server only, of a ServiceAccount with permissions
// for one WeChatToken.
func (w *world) allowed(account, of string, rules ...rbacv1.PolicyRule) string {
	w.T.Helper()
	credential := w.ServiceAccountToken(account, "wechattoken.io")
	for i := range rules {
		rules[i].APIGroups, rules[i].ResourceNames = []string{v1alpha1.GroupVersion.Group}, []string{of}
	}
	w.create(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: account}, Rules: rules},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: account},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.Name, Name: account}},
		})
	return credential
}

func (w *world) path(name, what string) string {
	return "/v1/namespaces/" + w.Name + "/wechattokens/" + name + "/" + what
}

// answer is the body of an answer of any sort.
type answer struct {
	AccessToken string `json:"access_token"`
	Ticket      string `json:"ticket"`
	ExpiresIn   int64  `json:"expires_in"`
	ExpiresAt   string `json:"expires_at"`
	AppID       string `json:"appid"`

	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// read is the body of an answer.
func read(tb testing.TB, body string) answer {
	tb.Helper()
	var a answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		tb.Fatalf("%v: %q", err, body)
	}
	return a
}

// awaitToken asks until there is a token, and returns it. A permission that was just
// given takes a while.
func (w *world) awaitToken(credential string) answer {
	w.T.Helper()
	return w.await("a token", http.StatusOK, "", credential)
}

// await asks for the token of shop until the answer is as wanted.
func (w *world) await(what string, code int, reason, credential string) (got answer) {
	w.T.Helper()
	testcluster.Eventually(w.T, what, func() error {
		resp, body := w.server.Get(w.T, w.path("shop", "token"), credential)
		if got = read(w.T, body); resp.StatusCode != code || reason != "" && got.Reason != reason {
			return fmt.Errorf("%s: %s", resp.Status, body)
		}
		return nil
	})
	return got
}

// report reports a token, and returns status and body of the answer.
func (w *world) report(credential, token, query string) (int, answer) {
	w.T.Helper()
	resp, body := w.server.Post(w.T, w.path("shop", "invalid")+query, credential, strings.NewReader(`{"fingerprint":"`+record.Fingerprint(token)+`"}`))
	return resp.StatusCode, read(w.T, body)
}
