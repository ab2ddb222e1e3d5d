package docs_test

import (
	"os"
	"path"
	"strings"
	"testing"
)

// What is shown is what is tested.
func TestThePagesShowTheClientsAsTheyAre(t *testing.T) {
	t.Parallel()
	const samples = "config/samples/token-server/"
	files := map[string]string{
		"go": "client.go", "java": "Client.java", "js": "client.mjs", "php": "client.php", "python": "client.py", "sh": "client.sh",
	}
	for _, name := range []string{"docs/outside-the-cluster.md", chineseOf("docs/outside-the-cluster.md")} {
		p := pages[name]
		if p == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		shown := map[string]int{}
		for _, b := range p.blocks {
			if !strings.Contains(b.code, "42001") {
				continue // about something else
			}
			shown[b.language]++
			file, err := os.ReadFile(path.Join(root, samples, files[b.language]))
			if err != nil || !strings.Contains(string(file), b.code) {
				t.Errorf("%s: the block is not in %s as it stands: %v\n%s", name, files[b.language], err, b.code)
			}
		}
		linked := map[string]bool{}
		for _, link := range p.links {
			linked[path.Join(path.Dir(name), link)] = true
		}
		for language, file := range files {
			if shown[language] != 1 {
				t.Errorf("%s shows %d blocks of %s, want 1 of %s", name, shown[language], language, file)
			}
			if !linked[samples+file] {
				t.Errorf("%s does not link to %s", name, file)
			}
		}
	}
}
