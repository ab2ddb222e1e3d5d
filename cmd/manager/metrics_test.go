//go:build integration

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// bearerForMetrics returns a token of a new service account that may read the metrics.
func (n *namespace) bearerForMetrics() string {
	n.T.Helper()
	bearer := n.ServiceAccountToken("scraper")
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "scraper-of-" + n.Name},
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: role.ObjectMeta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: n.Name, Name: "scraper"}},
	}
	for _, obj := range []client.Object{role, binding} {
		if err := n.Create(n.T.Context(), obj); err != nil {
			n.T.Fatal(err)
		}
	}
	return bearer
}

// broken stands for a connection that brought no answer.
const broken = 0

// scrape reads the manager's metrics. Its certificate is made at its start and
// signed by nobody.
func scrape(tb testing.TB, url, bearer string) (status int, body string) {
	tb.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return broken, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return broken, err.Error()
	}
	return resp.StatusCode, string(b)
}

// value is the sum of a metric in what scrape has read.
func value(tb testing.TB, metrics, name string) float64 {
	tb.Helper()
	var sum float64
	for _, line := range regexp.MustCompile(`(?m)^`+name+`\{.*\} (\S+)$`).FindAllStringSubmatch(metrics, -1) {
		v, err := strconv.ParseFloat(line[1], 64)
		if err != nil {
			tb.Fatal(err)
		}
		sum += v
	}
	return sum
}

// Who may not get /metrics learns nothing, and nobody reads them unencrypted.
func TestMetricsAreForThoseWhoMayReadThem(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{OpenAccounts: true})
	address := freeAddress(t)
	anybody, scraper := ns.ServiceAccountToken("anybody"), ns.bearerForMetrics()
	ns.create(newApp(v1alpha1.ModeStable, 1))
	ns.start(url, "--metrics-bind-address="+address).AwaitReady()
	ns.awaitReady()

	testcluster.Eventually(t, "the right that was just given holds", func() error {
		if status, body := scrape(t, "https://"+address+"/metrics", scraper); status != http.StatusOK {
			return fmt.Errorf("status %d: %.200s", status, body)
		}
		return nil
	})

	cases := map[string]struct {
		reason   string
		url      string
		bearer   string
		statuses []int
	}{
		"Nobody":    {"without credentials", "https://" + address + "/metrics", "", []int{401}},
		"Forged":    {"with a token of nobody", "https://" + address + "/metrics", "forged", []int{401}},
		"NoRight":   {"with a right to nothing", "https://" + address + "/metrics", anybody, []int{403}},
		"PlainHTTP": {"without TLS, with any credential", "http://" + address + "/metrics", scraper, []int{400, broken}},
		"PlainRoot": {"another path is no way in", "https://" + address + "/", anybody, []int{401, 403, 404}},
		"Profiles":  {"pprof shows memory", "https://" + address + "/debug/pprof/heap", scraper, []int{401, 403, 404}},
		"Scraper":   {"with the right", "https://" + address + "/metrics", scraper, []int{200}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body := scrape(t, tc.url, tc.bearer)
			if !slices.Contains(tc.statuses, status) {
				t.Errorf("%s: status %d, want %v: %.200s", tc.reason, status, tc.statuses, body)
			}
			if got, want := strings.Contains(body, "controller_runtime_reconcile_total"), status == http.StatusOK; got != want {
				t.Errorf("metrics shown: %t, want %t", got, want)
			}
		})
	}
}
