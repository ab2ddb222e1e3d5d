//go:build integration

package config_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// The clients that docs/outside-the-cluster.md shows work with the real token-server and
// the real operator: over several refreshes, after a report of an invalid token, and not
// without permission.
func TestClientsWorkWithTheTokenServer(t *testing.T) {
	t.Parallel()
	const window = 20 * time.Second // a client keeps a token for a fifth of it
	n := testcluster.NewNamespace(t)
	dir := t.TempDir()
	if err := testcluster.BuildCommands(dir, "manager", "token-server"); err != nil {
		t.Fatal(err)
	}
	secrets := &testcluster.Canaries{}
	fake, url := secrets.FakeWeChat(t, wechattest.Config{Life: 2 * window, Window: window, Overlap: window})
	n.StartManager(t, filepath.Join(dir, "manager"), url, "--namespaces="+n.Name, "--stable-window="+window.String())
	server := n.StartTokenServer(t, filepath.Join(dir, "token-server"), "--namespaces="+n.Name)
	server.AwaitReady()
	all := clients(t)
	number := 0
	for language, program := range all {
		number++
		wt := &v1alpha1.WeChatToken{
			ObjectMeta: metav1.ObjectMeta{Name: "shop-" + string(rune('0'+number))},
			Spec:       v1alpha1.WeChatTokenSpec{AppID: "wx012345678900000" + string(rune('0'+number)), AppSecretRef: v1alpha1.AppSecretReference{Name: "shop-app"}},
		}
		fake.AddAccount(wt.Spec.AppID, appSecret)
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := &tokenServer{
				url: server.URL, weChatToken: n.Name + "/" + wt.Name, caFile: server.CAFile,
				credentialFile: filepath.Join(t.TempDir(), "credential"), weChat: fake, weChatURL: url,
			}
			account := "reader-of-" + wt.Name
			write(t, s.credentialFile, n.ServiceAccountToken(account, "wechattoken.io"))
			if said, ok := s.start(t, program).call(t); ok {
				t.Errorf("without permission the client got %q", said)
			}
			for _, obj := range []client.Object{
				wt,
				&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: account}, Rules: []rbacv1.PolicyRule{
					{APIGroups: []string{v1alpha1.GroupVersion.Group}, ResourceNames: []string{wt.Name}, Resources: []string{"wechattokens/token"}, Verbs: []string{"get"}},
					{APIGroups: []string{v1alpha1.GroupVersion.Group}, ResourceNames: []string{wt.Name}, Resources: []string{"wechattokens/invalid"}, Verbs: []string{"create"}},
				}},
				&rbacv1.RoleBinding{
					ObjectMeta: metav1.ObjectMeta{Name: account},
					RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
					Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: n.Name, Name: account}},
				},
			} {
				if err := n.Create(t.Context(), obj); err != nil {
					t.Fatal(err)
				}
			}
			testcluster.Eventually(t, "there is a token, and the permission counts", func() error {
				if err := n.Get(t.Context(), client.ObjectKeyFromObject(wt), wt); err != nil || !meta.IsStatusConditionTrue(wt.Status.Conditions, v1alpha1.ConditionReady) {
					return errors.Join(err, errors.New("it is not Ready"))
				}
				if resp, body := server.Get(t, "/v1/namespaces/"+n.Name+"/wechattokens/"+wt.Name+"/token", read(t, s.credentialFile)); resp.StatusCode != http.StatusOK {
					return errors.New(body)
				}
				return nil
			})
			s.calls(t, program, wt.Spec.AppID, func() string {
				secret := &corev1.Secret{}
				if err := n.Get(t.Context(), client.ObjectKeyFromObject(wt), secret); err != nil {
					t.Fatal(err)
				}
				return string(secret.Data["access_token"])
			})
		})
	}
	n.T = t
	if err := n.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop-app"}, StringData: map[string]string{"appsecret": appSecret}}); err != nil {
		t.Fatal(err)
	}
}

// calls has a client call WeChat over three refreshes, and behind an invalid token.
func (s *tokenServer) calls(t *testing.T, program []string, appID string, current func() string) {
	t.Helper()
	p := s.start(t, program)
	rotations := func() int { return s.weChat.Counts(appID).Stable.Rotations }
	for first := rotations(); rotations() < first+3; time.Sleep(100 * time.Millisecond) {
		p.succeeds(t)
	}
	if n := s.weChat.Counts(appID).InvalidTokens; n != 0 {
		t.Errorf("%d calls with an invalid token over three refreshes", n)
	}
	// It may take the next token just before its own is revoked: then once more.
	testcluster.Eventually(t, "the client uses an invalid token, and goes on", func() error {
		p.succeeds(t)
		token := current()
		if used := s.lastUsed(appID); used != record.Fingerprint(token) {
			return errors.New("it has " + used)
		}
		s.weChat.Revoke(token)
		p.succeeds(t)
		if s.weChat.Counts(appID).InvalidTokens == 0 {
			return errors.New("it had another token by then")
		}
		return nil
	})
}

// lastUsed is the token of the last business call of an account.
func (s *tokenServer) lastUsed(appID string) (fingerprint string) {
	for _, c := range s.weChat.Calls() {
		if c.AppID == appID && c.Endpoint == wechattest.Business {
			fingerprint = c.Token
		}
	}
	return fingerprint
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
