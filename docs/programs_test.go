package docs_test

import (
	"os"
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
		"report-invalid-token/report.go", "report-invalid-token/report.mjs", "report-invalid-token/report.py",
		"report-invalid-token/report.sh", "report-invalid-token/server.yaml",
	},
	"docs/outside-the-cluster.md": {
		"token-server/Client.java", "token-server/client.go", "token-server/client.mjs",
		"token-server/client.php", "token-server/client.py", "token-server/client.sh",
	},
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
				text, err := os.ReadFile(filepath.Join(root, samples, file))
				if err != nil {
					t.Fatal(err)
				}
				blocks := 0
				for _, b := range p.blocks {
					if strings.Count(b.code, "\n") > 10 && strings.Contains(string(text), b.code) {
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
	for _, folder := range []string{"report-invalid-token", "token-server"} {
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
