//go:build integration

package docs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/internal/testcluster"
)

// foreignGroups are the API groups of others that pages speak of, and this API
// server does not know.
var foreignGroups = regexp.MustCompile(`^(argoproj\.io|external-secrets\.io|generators\.external-secrets\.io|kustomize\.config\.k8s\.io|monitoring\.coreos\.com|[a-z.]+\.toolkit\.fluxcd\.io|apiserver\.config\.k8s\.io|audit\.k8s\.io|kubelet\.config\.k8s\.io)/`)

// What a page shows in YAML the API server takes, without a field that it does
// not know: whole objects, and the spec of a WeChatToken.
func TestManifestsAreAccepted(t *testing.T) {
	t.Parallel()
	c := testcluster.Shared(t)
	kind, err := kindSchema()
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for name, p := range pages {
		for _, b := range p.blocks {
			if b.language != "yaml" && b.language != "yml" && b.language != "json" {
				continue
			}
			docs, err := documents(b.code)
			if err != nil && b.language != "json" { // there it may be a part
				t.Errorf("%s: %v in\n%s", name, err, b.code)
			}
			for _, doc := range docs {
				if spec, ok := doc["spec"].(map[string]any); ok && len(doc) == 1 && isOurs(spec, kind.Properties["spec"].Properties) {
					doc = wholeOf(spec)
				}
				if doc["kind"] == "WeChatToken" {
					tried["WeChatToken"] = true
				}
				if why := refusal(c, doc); why != "" {
					t.Errorf("%s: %s in\n%s", name, why, b.code)
				}
			}
		}
	}
	if !tried["WeChatToken"] {
		t.Error("found no WeChatToken on any page: are they read?")
	}
}

// isOurs reports whether a spec can be that of a WeChatToken.
func isOurs[T any](spec map[string]any, fields map[string]T) bool {
	for field := range spec {
		if _, ok := fields[field]; ok && field != "replicas" {
			return true
		}
	}
	return false
}

// wholeOf is a WeChatToken with what a page shows of its spec.
func wholeOf(spec map[string]any) map[string]any {
	whole := map[string]any{"appID": "wx0123456789abcdef", "appSecretRef": map[string]any{"name": "shop-app"}}
	maps.Copy(whole, spec)
	return map[string]any{
		"apiVersion": "wechattoken.io/v1alpha1", "kind": "WeChatToken",
		"metadata": map[string]any{"name": "shown"}, "spec": whole,
	}
}

// refusal is why the API server does not take an object; empty if it does, or if
// this is none, or another's.
func refusal(c *testcluster.Cluster, doc map[string]any) string {
	version, _ := doc["apiVersion"].(string)
	if version == "" || doc["kind"] == nil || foreignGroups.MatchString(version) {
		return ""
	}
	metadata, _ := doc["metadata"].(map[string]any)
	if metadata == nil {
		return fmt.Sprintf("the %v has no metadata", doc["kind"])
	}
	metadata["namespace"] = "default"
	body, err := yaml.Marshal(doc)
	if err != nil {
		return err.Error()
	}
	cmd := c.Kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
	cmd.Stdin = strings.NewReader(string(body))
	if out, err := cmd.CombinedOutput(); err != nil {
		return strings.TrimSpace(string(out))
	}
	return ""
}

func TestWrongManifestsAreFound(t *testing.T) {
	t.Parallel()
	c := testcluster.Shared(t)
	for name, tc := range map[string]struct{ doc, want string }{
		"Good":       {`{"apiVersion":"wechattoken.io/v1alpha1","kind":"WeChatToken","metadata":{"name":"x"},"spec":{"appID":"wx0123456789abcdef","appSecretRef":{"name":"x-app"}}}`, ""},
		"BadField":   {`{"apiVersion":"wechattoken.io/v1alpha1","kind":"WeChatToken","metadata":{"name":"x"},"spec":{"appId":"wx0123456789abcdef"}}`, "appId"},
		"BadVersion": {`{"apiVersion":"wechattoken.io/v1","kind":"WeChatToken","metadata":{"name":"x"}}`, "no matches for kind"},
		"BadGroup":   {`{"apiVersion":"app/v1","kind":"Deployment","metadata":{"name":"x"}}`, "no matches for kind"},
		"Foreign":    {`{"apiVersion":"argoproj.io/v1alpha1","kind":"Application","metadata":{"name":"x"}}`, ""},
		"Namespaced": {`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"x","namespace":"web"}}`, ""},
	} {
		var doc map[string]any
		if err := json.Unmarshal([]byte(tc.doc), &doc); err != nil {
			t.Fatal(err)
		}
		if got := refusal(c, doc); (tc.want == "" && got != "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}
