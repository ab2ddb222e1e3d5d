//go:build integration

package main

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Who has the permission gets what the Secret holds, in WeChat's words, and learns how
// long to keep it; who asks again with its ETag gets no body.
func TestATokenIsServedInWeChatsWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop(func(wt *v1alpha1.WeChatToken) { wt.Spec.Tickets = []v1alpha1.TicketType{v1alpha1.TicketJSAPI} })
	reader := w.reader("shop")
	got, secret := w.awaitToken(reader), w.secret()
	if want := string(secret.Data["access_token"]); got.AccessToken != want {
		t.Errorf("got another token than the Secret holds")
	}
	if got.AppID != appID || got.ExpiresAt != string(secret.Data["expires_at"]) || got.ExpiresIn < 7000 || got.ExpiresIn > 7200 {
		t.Errorf("appid %q, expires_at %q, expires_in %d", got.AppID, got.ExpiresAt, got.ExpiresIn)
	}

	resp, _ := w.server.Get(t, w.path("shop", "token"), reader)
	if fp := w.get().Status.TokenFingerprint; resp.Header.Get("ETag") != `W/"`+fp+`"` {
		t.Errorf("ETag %q, fingerprint %q", resp.Header.Get("ETag"), fp)
	}
	if age := maxAge(resp); age < 50 || age > 60 {
		t.Errorf("max-age %d, want a fifth of the 5 minutes for which two tokens work", age)
	}
	again, body := w.server.Get(t, w.path("shop", "token"), reader, "If-None-Match", resp.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified || body != "" || maxAge(again) < 50 {
		t.Errorf("with its ETag: %s, %q, max-age %d; want 304 and how long to keep it", again.Status, body, maxAge(again))
	}
	if resp, _ := w.server.Get(t, w.path("shop", "token"), reader, "If-None-Match", `W/"0000000000000000"`); resp.StatusCode != http.StatusOK {
		t.Errorf("with another ETag: %s", resp.Status)
	}

	resp, body = w.server.Get(t, w.path("shop", "token")+"?ticket=jsapi", reader)
	if ticket := read(t, body); resp.StatusCode != http.StatusOK || ticket.Ticket == "" || ticket.Ticket != string(w.secret().Data["jsapi_ticket"]) || ticket.AccessToken != "" {
		t.Errorf("the ticket: %s, as in the Secret: %t", resp.Status, ticket.Ticket == string(w.secret().Data["jsapi_ticket"]))
	}
	if resp, body := w.server.Get(t, w.path("shop", "token")+"?ticket=wx_card", reader); resp.StatusCode != http.StatusNotFound || read(t, body).Reason != "TicketNotRequested" {
		t.Errorf("a ticket that nobody asked for: %s: %s", resp.Status, body)
	}
}

// maxAge is how long a client may keep an answer, in seconds; -1 if it does not say.
func maxAge(resp *http.Response) int {
	_, age, _ := strings.Cut(resp.Header.Get("Cache-Control"), "max-age=")
	n, err := strconv.Atoi(age)
	if err != nil {
		return -1
	}
	return n
}

// A permission is for one WeChatToken and one verb. Who has none learns nothing: not even
// whether the WeChatToken is there.
func TestPlainRBACGrantsOneToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	both := w.reader("shop")
	w.awaitToken(both)
	onlyReports := w.allowed("reports", "shop", rbacv1.PolicyRule{Resources: []string{"wechattokens/invalid"}, Verbs: []string{"create"}})
	nobody := w.ServiceAccountToken("nobody", "wechattoken.io")
	forAPIServer := w.ServiceAccountToken("reader-of-shop")
	ofOthers := w.ServiceAccountToken("reader-of-shop", "somebody-else")
	ofMissing := w.reader("missing")
	const report = `{"fingerprint":"0123456789abcdef"}`
	testcluster.Eventually(t, "permissions count", func() error {
		a, _ := w.server.Get(t, w.path("missing", "token"), ofMissing)
		b, _ := w.server.Post(t, w.path("shop", "invalid"), onlyReports, strings.NewReader(report))
		if a.StatusCode != http.StatusNotFound || b.StatusCode != http.StatusAccepted {
			return fmt.Errorf("%s, %s", a.Status, b.Status)
		}
		return nil
	})
	cases := map[string]struct {
		reason     string
		method     string
		name, what string
		credential string
		code       int
	}{
		"Reader":           {"RBAC lets them", "GET", "shop", "token", both, 200},
		"OfTheAPIServer":   {"it is for the API server, and RBAC lets them", "GET", "shop", "token", forAPIServer, 200},
		"OtherAudience":    {"it was given to show it to somebody else", "GET", "shop", "token", ofOthers, 401},
		"None":             {"nobody asks", "GET", "shop", "token", "", 401},
		"Forged":           {"no cluster has signed it", "GET", "shop", "token", both[:len(both)-8] + "AAAAAAAA", 401},
		"Garbage":          {"it is no credential", "GET", "shop", "token", "x", 401},
		"NoPermission":     {"RBAC does not let them", "GET", "shop", "token", nobody, 403},
		"NoPermissionGone": {"what they may not see may as well not be there", "GET", "missing", "token", nobody, 403},
		"OtherName":        {"it is for one name", "GET", "missing", "token", both, 403},
		"Missing":          {"they may know that it is not there", "GET", "missing", "token", ofMissing, 404},
		"ReportOnly":       {"to report is not to read", "GET", "shop", "token", onlyReports, 403},
		"Reports":          {"RBAC lets them", "POST", "shop", "invalid", onlyReports, 202},
		"ReportAndRead":    {"the answer would be the token", "POST", "shop", "invalid?wait=1s", onlyReports, 403},
		"MayNotReport":     {"RBAC does not let them", "POST", "shop", "invalid", nobody, 403},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			get := func() (*http.Response, string) {
				if tc.method == "POST" {
					return w.server.Post(t, w.path(tc.name, tc.what), tc.credential, strings.NewReader(report))
				}
				return w.server.Get(t, w.path(tc.name, tc.what), tc.credential)
			}
			if resp, body := get(); resp.StatusCode != tc.code {
				t.Errorf("%s: got %s, want %d: %s", tc.reason, resp.Status, tc.code, body)
			}
		})
	}
	_, there := w.server.Get(t, w.path("shop", "token"), nobody)
	_, gone := w.server.Get(t, w.path("missing", "token"), nobody)
	if want := strings.ReplaceAll(gone, "missing", "shop"); there != want {
		t.Errorf("who may not know can tell what is there from what is not:\n%s%s", there, gone)
	}
}

// A permission that is taken away, and a ServiceAccount that is deleted, end within the
// time for which the API server's word counts.
func TestAPermissionTakenAwayEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	w.awaitToken(reader)
	remove := func(what string) {
		t.Helper()
		if out, err := w.Kubectl("delete", what, "-n", w.Name, "reader-of-shop").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	remove("rolebinding")
	w.await("no permission any more", http.StatusForbidden, "", reader)
	remove("serviceaccount")
	w.await("nobody any more", http.StatusUnauthorized, "", reader)
}

// Requests cost the API server no reads: the two questions who asks every 5 s, and
// nothing else.
func TestARequestCostsNoRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	w.awaitToken(reader)

	var mu sync.Mutex
	asked := map[string]int{}
	soFar := func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(asked)
	}
	counted := *w.Cluster
	counted.Kubeconfig = w.Proxy(t, func(api http.RoundTripper) testcluster.RoundTrip {
		return func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			asked[r.Method+" "+r.URL.Path]++
			mu.Unlock()
			return api.RoundTrip(r)
		}
	})
	server := counted.StartTokenServer(t, tokenServer, "--namespaces="+w.Name)
	server.AwaitReady()
	before := soFar()
	const requests = 200
	begun := time.Now()
	for range requests {
		if resp, body := server.Get(t, w.path("shop", "token"), reader); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", resp.Status, body)
		}
	}
	most := 1 + int(time.Since(begun)/(5*time.Second)) // from then on an answer that still counts is renewed
	questions := 0
	for what, n := range soFar() {
		n -= before[what]
		if n == 0 {
			continue
		}
		questions++
		if !strings.HasSuffix(what, "reviews") || n > most {
			t.Errorf("%d %s for %d requests", n, what, requests)
		}
	}
	if questions == 0 {
		t.Error("nobody was asked")
	}
}

// While there is no valid token, the answer is the reason of Ready. No token is served
// past its end.
func TestNoExpiredTokenIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{Life: 8 * time.Second, Window: 2 * time.Second, Overlap: 2 * time.Second})
	reader := w.reader("shop")
	w.await("there is no WeChatToken", http.StatusNotFound, "NotFound", reader)
	w.shop()
	w.awaitToken(reader)
	w.fake.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, Message: "system error"})
	w.operator.Signal(syscall.SIGSTOP) // so that the status goes on saying that all is well
	w.await("the token has expired", http.StatusConflict, v1alpha1.ReasonTokenExpired, reader)
	w.operator.Signal(syscall.SIGCONT)
	refused := w.await("the token has expired", http.StatusConflict, v1alpha1.ReasonWeChatUnavailable, reader)
	if !strings.Contains(refused.Message, "-1") {
		t.Errorf("the message is not that of the condition: %q", refused.Message)
	}
	w.fake.ClearFaults()
	w.awaitToken(reader)
	for range 100 {
		resp, body := w.server.Get(t, w.path("shop", "token"), reader)
		if resp.StatusCode != http.StatusOK {
			continue
		}
		a := read(t, body)
		end, err := time.Parse(time.RFC3339, a.ExpiresAt)
		if err != nil {
			t.Fatal(err)
		}
		if at, err := http.ParseTime(resp.Header.Get("Date")); err != nil || at.After(end) || at.Add(time.Duration(maxAge(resp))*time.Second).After(end) {
			t.Errorf("served at %s with max-age %d, and it ends at %s", at, maxAge(resp), end)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// What somebody has written into the Secret by hand is not served; the operator writes its
// own again.
func TestASecretEditedByHandIsNotServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	w.awaitToken(reader)
	w.operator.Signal(syscall.SIGSTOP)
	secret := w.secret()
	secret.Data["access_token"] = []byte("by-hand")
	if err := w.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.await("no token that somebody has written", http.StatusConflict, "TokenPending", reader)
	w.operator.Signal(syscall.SIGCONT)
	w.awaitToken(reader)
}

// While the API server is away, who has had a yes is served, and nobody else.
func TestTheAPIServerAway(t *testing.T) {
	t.Parallel()
	cluster, err := testcluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := worldOn(t, cluster.NewNamespace(t), wechattest.Config{})
	w.shop()
	reader, nobody := w.reader("shop"), w.ServiceAccountToken("nobody", "wechattoken.io")
	before := w.awaitToken(reader)
	w.await("no permission", http.StatusForbidden, "", nobody)
	if err := cluster.SignalAPIServer(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(11 * time.Second) // what it has said counts for 10 s
	for range 3 {
		if got := w.awaitToken(reader); got.AccessToken != before.AccessToken {
			t.Error("got another token")
		}
	}
	if resp, body := w.server.Get(t, w.path("shop", "token"), nobody); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("who had a no: %s: %s, want 503", resp.Status, body)
	}
	if resp, body := w.server.Get(t, w.path("shop", "token"), "never-seen"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("who was never asked about: %s: %s, want 503", resp.Status, body)
	}
	if err := cluster.SignalAPIServer(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.await("no permission", http.StatusForbidden, "", nobody)
}

// A certificate that is replaced is served, without a restart.
func TestTheCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	n := testcluster.NewNamespace(t)
	server := n.StartTokenServer(t, tokenServer, "--namespaces="+n.Name)
	server.AwaitReady()
	server.Get(t, "/", "")
	server.WriteCertificate(t) // from now on its Client trusts no other
	testcluster.Eventually(t, "the new certificate", func() error {
		resp, err := server.Client.Get(server.URL)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	if strings.Contains(server.Output.String(), "has signed a certificate itself") {
		t.Error("it says that it has no certificate")
	}
}
