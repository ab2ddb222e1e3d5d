//go:build integration

package main

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// grant gives a user what the operator needs in the namespace.
func (n *namespace) grant(user string) {
	n.T.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "operator"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"wechattoken.io"}, Resources: []string{"wechattokens"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"wechattoken.io"}, Resources: []string{"wechattokens/status"}, Verbs: []string{"patch"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}},
		{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "operator"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}
	if err := n.Create(n.T.Context(), role); err != nil {
		n.T.Fatal(err)
	}
	if err := n.Create(n.T.Context(), binding); err != nil {
		n.T.Fatal(err)
	}
}

// A namespace whose RoleBinding is gone keeps no other one from being served. It is
// named, and served once it can be read.
func TestANamespaceThatCannotBeReadStopsNoOther(t *testing.T) {
	t.Parallel()
	web, pay := newNamespace(t), newNamespace(t)
	user := "operator-of-" + web.Name
	cfg, err := web.User(user)
	if err != nil {
		t.Fatal(err)
	}
	limited := *web.Cluster
	limited.Kubeconfig = testcluster.WriteKubeconfig(t, cfg)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	for i, n := range []*namespace{web, pay} {
		a := newApp(v1alpha1.ModeStable, 4000+i)
		fake.AddAccount(a.appID, a.secret)
		n.create(a)
	}
	start := func() *testcluster.Program {
		return limited.StartManager(t, program, url, "--namespaces="+web.Name+","+pay.Name)
	}

	if m := start(); m.AwaitEnd() == 0 || !strings.Contains(m.Output.String(), "in none of --namespaces") {
		t.Errorf("one that may read nothing should end, and say so; it said:\n%s", m.Output)
	}
	web.grant(user)
	m := start()
	web.awaitReady()
	m.AwaitReady()
	if said := m.Output.String(); !strings.Contains(said, `"namespaces":["`+pay.Name+`"]`) {
		t.Errorf("it does not name %s; it said:\n%s", pay.Name, said)
	}
	pay.grant(user)
	if code := m.AwaitEnd(); code != 0 {
		t.Errorf("the exit code is %d when it ends to start anew", code)
	}
	start()
	pay.awaitReady()
}
