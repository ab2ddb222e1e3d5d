package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"sigs.k8s.io/yaml"
)

// The release fills krew.yaml in; what comes out is a manifest.
func TestKrewManifestCanBeFilledIn(t *testing.T) {
	text, err := os.ReadFile("krew.yaml")
	if err != nil {
		t.Fatal(err)
	}
	archive := regexp.MustCompile(`kubectl-wechattoken_\w+_\w+`)
	sums := map[string]string{}
	for _, name := range archive.FindAllString(string(text), -1) {
		sums[name] = strings.Repeat("0", 64-len(name)) + name
	}
	manifest, err := template.New("krew.yaml").Option("missingkey=error").Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := manifest.Execute(&out, map[string]any{"TagName": "v0.1.0", "Home": "https://example.com", "BaseURL": "https://example.com/v0.1.0", "SHA256": sums}); err != nil {
		t.Fatal(err)
	}
	var plugin struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			Version   string `json:"version"`
			Homepage  string `json:"homepage"`
			Platforms []struct {
				Selector struct {
					MatchLabels struct{ OS, Arch string } `json:"matchLabels"`
				} `json:"selector"`
				URI    string `json:"uri"`
				SHA256 string `json:"sha256"`
				Bin    string `json:"bin"`
			} `json:"platforms"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(out.Bytes(), &plugin); err != nil {
		t.Fatal(err)
	}
	if plugin.Metadata.Name != "wechattoken" || plugin.Spec.Version != "v0.1.0" || plugin.Spec.Homepage != "https://example.com" || len(plugin.Spec.Platforms) != 5 {
		t.Errorf("got %+v", plugin)
	}
	for _, p := range plugin.Spec.Platforms {
		name := "kubectl-wechattoken_" + p.Selector.MatchLabels.OS + "_" + p.Selector.MatchLabels.Arch
		if p.URI != "https://example.com/v0.1.0/"+name+".tar.gz" || p.SHA256 != sums[name] || !strings.HasPrefix(p.Bin, "kubectl-wechattoken") {
			t.Errorf("got %+v for %s", p, name)
		}
	}
}
