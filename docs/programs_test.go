package docs_test

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// samples is where the files are that pages show.
const samples = "config/samples"

// shown are the files that a page shows, and its Chinese one too.
var shown = map[string][]string{
	"docs/invalid-tokens.md": {
		"report-invalid-token/report.sh", "report-invalid-token/server.yaml",
	},
	"docs/outside-the-cluster.md": {
		"token-server/Client.java", "token-server/client.go", "token-server/client.mjs",
		"token-server/client.php", "token-server/client.py", "token-server/client.sh",
	},
	"docs/use/dotnet.md": {"use/dotnet/WeChat.cs", "use/dotnet/InvalidToken.cs"},
	"docs/use/go.md":     {"use/go/wechat.go", "report-invalid-token/report.go"},
	"docs/use/java.md":   {"use/java/WeChat.java", "report-invalid-token/InvalidToken.java"},
	"docs/use/nodejs.md": {"use/nodejs/wechat.mjs", "report-invalid-token/report.mjs"},
	"docs/use/php.md":    {"use/php/wechat.php", "report-invalid-token/report.php"},
	"docs/use/python.md": {"use/python/wechat.py", "report-invalid-token/report.py"},
}

// What is shown is what is tested.
func TestThePagesShowTheProgramsAsTheyAre(t *testing.T) {
	t.Parallel()
	for english, files := range shown {
		for _, name := range []string{english, chineseOf(english)} {
			p := pages[name]
			if p == nil {
				t.Errorf("there is no %s", name)
				continue
			}
			for _, file := range files {
				text := sourceOf(t, path.Join(samples, file))
				blocks := 0
				for _, b := range p.blocks {
					if strings.Count(b.code, "\n") > 10 && strings.Contains(text, b.code) {
						blocks++
					}
				}
				if blocks != 1 {
					t.Errorf("%s shows %d parts of %s as it stands, want 1", name, blocks, file)
				}
				leads := func(link string) bool { return path.Join(path.Dir(name), link) == path.Join(samples, file) }
				if !slices.ContainsFunc(p.links, leads) {
					t.Errorf("%s does not link to %s", name, file)
				}
			}
		}
	}
}

// A program that no page shows is one that nobody finds.
func TestEveryProgramIsShown(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"report-invalid-token", "token-server", "use/*"} {
		files, err := filepath.Glob(filepath.Join(root, samples, folder, "*.*"))
		if err != nil || len(files) == 0 {
			t.Errorf("there is nothing in %s: %v", folder, err)
		}
		for _, file := range files {
			file, err := filepath.Rel(filepath.Join(root, samples), file)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.ToLower(path.Base(file))
			found := path.Ext(name) == ".yaml" || strings.HasPrefix(name, "main.") // what runs the others
			for _, files := range shown {
				found = found || slices.Contains(files, filepath.ToSlash(file))
			}
			if !found {
				t.Errorf("no page shows %s", file)
			}
		}
	}
}

// The pages of languages show the part of the Deployment that matters there.
func TestThePodsOfThePagesAreThatOfTheSample(t *testing.T) {
	t.Parallel()
	whole, err := documents(sourceOf(t, path.Join(samples, "report-invalid-token/server.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for name, p := range pages {
		if !strings.HasPrefix(name, "docs/use/") && !strings.HasPrefix(name, "docs/zh/use/") {
			continue
		}
		for _, b := range p.blocks {
			if b.language != "yaml" {
				continue
			}
			tried++
			shown, err := documents(b.code)
			if err != nil || len(shown) != 1 || !slices.ContainsFunc(whole, func(o map[string]any) bool { return isPartOf(shown[0], o) }) {
				t.Errorf("%s: %v: this is no part of server.yaml:\n%s", name, err, b.code)
			}
		}
	}
	if tried == 0 {
		t.Error("found no Deployment on any page: are they read?")
	}
}

// isPartOf reports whether all that is in part is in whole, too.
func isPartOf(part, whole any) bool {
	switch part := part.(type) {
	case map[string]any:
		whole, _ := whole.(map[string]any)
		for key, value := range part {
			if within, ok := whole[key]; !ok || !isPartOf(value, within) {
				return false
			}
		}
		return true
	case []any:
		whole, _ := whole.([]any)
		for _, value := range part {
			if !slices.ContainsFunc(whole, func(within any) bool { return isPartOf(value, within) }) {
				return false
			}
		}
		return true
	default:
		return part == whole
	}
}
