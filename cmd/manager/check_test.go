//go:build integration

package main

import (
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// An install that works passes the check, and each that does not fails it, with what to do.
func TestCheckFindsWhatDoesNotWork(t *testing.T) {
	t.Parallel()
	led, free, left, killed := newNamespace(t), newNamespace(t), newNamespace(t), newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	for _, n := range []*namespace{led, left, killed} {
		m := n.start(url, "--leader-elect=true", "--leader-election-namespace="+n.Name)
		n.lease("")
		switch n {
		case left:
			m.Terminate()
		case killed:
			m.Kill()
		}
	}
	user := "checker-of-" + led.Name
	cfg, err := led.User(user)
	if err != nil {
		t.Fatal(err)
	}
	led.grant(user) // and no lease
	stranger, err := led.User("stranger-to-" + led.Name)
	if err != nil {
		t.Fatal(err)
	}
	notInstalled := led.Proxy(t, func(api http.RoundTripper) testcluster.RoundTrip {
		return func(r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Path, "/apis/"+v1alpha1.GroupVersion.Group) {
				return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
			}
			return api.RoundTrip(r)
		}
	})
	silent := led.Proxy(t, func(http.RoundTripper) testcluster.RoundTrip {
		return func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
	})
	in := func(ns *namespace) []string {
		return []string{"--namespaces=" + ns.Name, "--leader-election-namespace=" + ns.Name}
	}
	const logs = "kubectl logs -n "
	cases := map[string]struct {
		reason     string
		kubeconfig string
		flags      []string
		code       int
		want       []string
	}{
		"Works": {"all is well", led.Kubeconfig, in(led), 0, []string{
			"ok    list wechattokens in namespace " + led.Name, "ok    list secrets in namespace " + led.Name, "ok    a replica leads"}},
		"WorksEverywhere": {"it works in all namespaces", led.Kubeconfig, []string{"--leader-election-namespace=" + led.Name}, 0, []string{
			"ok    list wechattokens in all namespaces", "ok    list secrets in all namespaces", "ok    a replica leads"}},
		"WorksAlone": {"there is no lease where nobody elects", free.Kubeconfig, []string{"--namespaces=" + free.Name, "--leader-elect=false"}, 0, []string{
			"ok    list wechattokens in namespace " + free.Name, "ok    list secrets in namespace " + free.Name}},
		"NeverLed": {"no manager ever ran", free.Kubeconfig, in(free), 1, []string{
			"FAIL  a replica leads: there is no lease " + free.Name + "/" + name + ", so no replica has ever led: " + logs + free.Name}},
		"Left": {"the only replica has ended", left.Kubeconfig, in(left), 1, []string{
			"FAIL  a replica leads: nobody holds the lease " + left.Name + "/" + name + ": " + logs + left.Name}},
		"Killed": {"the leader could not give the lease back", killed.Kubeconfig, in(killed), 1, []string{
			" holds the lease " + killed.Name + "/" + name + ", and does not renew it: " + logs + killed.Name}},
		"NoLeaseToRead": {"the Role of the leader election is missing", testcluster.WriteKubeconfig(t, cfg), in(led), 1, []string{
			"ok    list secrets", "FAIL  a replica leads: give the ServiceAccount this permission, as docs/rbac.md says: ", `cannot get resource "leases"`}},
		"NoPermissions": {"no Role is bound", testcluster.WriteKubeconfig(t, stranger), in(led), 1, []string{
			"FAIL  list wechattokens in namespace " + led.Name + ": give the ServiceAccount this permission, as docs/rbac.md says: ", "FAIL  list secrets in namespace " + led.Name + ": give"}},
		"NoCRD": {"the API server does not know it", notInstalled, in(led), 1, []string{
			"FAIL  list wechattokens in namespace " + led.Name + ": the cluster does not know WeChatToken of wechattoken.io/v1alpha1: install the CRD", "ok    list secrets", "ok    a replica leads"}},
		"NoAPIServer": {"nothing answers", testcluster.WriteKubeconfig(t, &rest.Config{Host: "http://" + freeAddress(t)}), in(led), 1, []string{
			"FAIL  list secrets in namespace " + led.Name + ": let the pod reach the API server, as docs/helm.md says in its part on the network: ", "FAIL  a replica leads: let the pod reach the API server"}},
		"SilentAPIServer": {"there is an end all the same", silent, in(led), 1, []string{
			"FAIL  list wechattokens in namespace " + led.Name + ": let the pod reach the API server", "FAIL  a replica leads: the API server does not answer"}},
	}
	for what, tc := range cases {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := runManager(t, []string{"KUBECONFIG=" + tc.kubeconfig}, append(tc.flags, "--check")...)
			if code != tc.code {
				t.Errorf("%s: exit code %d, want %d; it said %q and %q", tc.reason, code, tc.code, stdout, stderr)
			}
			if (tc.code == 0) != !strings.Contains(stdout, "FAIL  ") || (tc.code != 0) != strings.Contains(stderr, "manager: failed checks: ") {
				t.Errorf("%s: it said %q and %q", tc.reason, stdout, stderr)
			}
			for _, part := range tc.want {
				if !strings.Contains(stdout, part) {
					t.Errorf("%s: no %q in\n%s", tc.reason, part, stdout)
				}
			}
		})
	}
}
