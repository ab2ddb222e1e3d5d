package testcluster

import (
	"net/http"
	"testing"
)

// A request that a client counts has the name that the API server gives it, or it
// could not be taken off.
func TestRequestsHaveTheNamesOfTheMetrics(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		method, url, content string
		want                 string
	}{
		"Get":         {"GET", "/api/v1/namespaces/a/secrets/x", "", "GET secrets"},
		"List":        {"GET", "/api/v1/namespaces/a/secrets?limit=1", "", "LIST secrets"},
		"ListAll":     {"GET", "/apis/wechattoken.io/v1alpha1/wechattokens", "", "LIST wechattokens"},
		"Watch":       {"GET", "/api/v1/secrets?watch=true", "", "WATCH secrets"},
		"Create":      {"POST", "/apis/wechattoken.io/v1alpha1/namespaces/a/wechattokens", "", "POST wechattokens"},
		"Apply":       {"PATCH", "/api/v1/namespaces/a/secrets/x?force=true", "application/apply-patch+yaml", "APPLY secrets"},
		"PatchStatus": {"PATCH", "/apis/wechattoken.io/v1alpha1/namespaces/a/wechattokens/x/status", "application/merge-patch+json", "PATCH wechattokens/status"},
		"Delete":      {"DELETE", "/api/v1/namespaces/a/secrets/x", "", "DELETE secrets"},
		"DeleteAll":   {"DELETE", "/api/v1/namespaces/a/secrets", "", "DELETECOLLECTION secrets"},
		"Namespace":   {"POST", "/api/v1/namespaces", "", "POST namespaces"},
		"Other":       {"GET", "/metrics", "", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequest(tc.method, "https://127.0.0.1"+tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", tc.content)
			if got := RequestOf(req); got != tc.want {
				t.Errorf("%s %s is %q, want %q", tc.method, tc.url, got, tc.want)
			}
		})
	}
}
