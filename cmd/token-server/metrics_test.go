//go:build integration

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/internal/testcluster"
)

// The pages name the metrics that are there to be scraped, and no others; and who may not
// read them gets none.
func TestDocumentedMetricsAreThere(t *testing.T) {
	t.Parallel()
	n := testcluster.NewNamespace(t)
	address, err := testcluster.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	server := n.StartTokenServer(t, tokenServer, "--namespaces="+n.Name, "--metrics-bind-address="+address)
	server.AwaitReady()
	w := &world{Namespace: n, server: server}
	reader, scraper := w.reader("shop"), w.scraper()
	w.await("an answer to count", http.StatusNotFound, "NotFound", reader)

	var scraped []string
	testcluster.Eventually(t, "the permission to read the metrics counts", func() error {
		code, body := w.scrape(address, scraper)
		scraped = names(`(?m)^# TYPE (wechattoken_server_[a-z_]+) `, body)
		if code != http.StatusOK || len(scraped) == 0 {
			return fmt.Errorf("%d: %.200s", code, body)
		}
		return nil
	})
	if code, body := w.scrape(address, reader); code == http.StatusOK {
		t.Errorf("who may not read the metrics gets them: %.200s", body)
	}
	for _, page := range []string{"../../docs/metrics.md", "../../docs/zh/metrics.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(scraped, names("`(wechattoken_server_[a-z_]+)`", string(text))); diff != "" {
			t.Errorf("metrics (-scraped +on %s):\n%s", page, diff)
		}
	}
}

// names are the distinct ones that a pattern finds in a text, in order.
func names(pattern, text string) []string {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// scraper is a credential of a ServiceAccount that may read the metrics.
func (w *world) scraper() string {
	w.T.Helper()
	credential := w.ServiceAccountToken("scraper")
	role := metav1.ObjectMeta{Name: "scraper-of-" + w.Name}
	w.create(
		&rbacv1.ClusterRole{ObjectMeta: role, Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: role,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.Name, Name: "scraper"}},
		})
	return credential
}

// scrape reads the metrics. Their certificate is signed by nobody.
func (w *world) scrape(address, credential string) (code int, body string) {
	w.T.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(w.T.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
	if err != nil {
		w.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+credential)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		w.T.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
