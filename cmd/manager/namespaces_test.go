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
	n.bind(user, "operator",
		rbacv1.PolicyRule{APIGroups: []string{"wechattoken.io"}, Resources: []string{"wechattokens"}, Verbs: []string{"list", "watch"}},
		rbacv1.PolicyRule{APIGroups: []string{"wechattoken.io"}, Resources: []string{"wechattokens/status"}, Verbs: []string{"patch"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}},
		rbacv1.PolicyRule{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create"}},
	)
}

func (n *namespace) bind(user, name string, rules ...rbacv1.PolicyRule) {
	n.T.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
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

// grantWatch gives a user what --consumers needs there, beside that.
func (n *namespace) grantWatch(user string) {
	n.T.Helper()
	n.bind(user, "watch", rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets"}, Verbs: []string{"list", "watch"}})
}

// A namespace whose RoleBinding is gone keeps no other one from being served, and neither
// does one of which only the workloads cannot be read. It is named, and served once it can
// be read.
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
		return limited.StartManager(t, program, url, "--consumers", "--namespaces="+web.Name+","+pay.Name)
	}

	if m := start(); m.AwaitEnd() == 0 || !strings.Contains(m.Output.String(), "in none of --namespaces") {
		t.Errorf("one that may read nothing should end, and say so; it said:\n%s", m.Output)
	}
	web.grant(user)
	web.grantWatch(user)
	pay.grant(user)
	m := start()
	web.awaitReady()
	m.AwaitReady()
	if said := m.Output.String(); !strings.Contains(said, `"namespaces":["`+pay.Name+`"]`) {
		t.Errorf("it does not name %s; it said:\n%s", pay.Name, said)
	}
	pay.grantWatch(user)
	if code := m.AwaitEnd(); code != 0 {
		t.Errorf("the exit code is %d when it ends to start anew", code)
	}
	start()
	pay.awaitReady()
}
