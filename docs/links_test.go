package docs_test

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnchorsAreThoseOfGitHub(t *testing.T) {
	t.Parallel()
	p := read("x.md", []byte("# A `b.c` d/e\n\n## 使用 token 的 Pod\n\n## Was, wenn?\n\n## -1\n\n## 出问题时：怎么办\n\n## -1\n\n### snake_case [link](x)\n"))
	var got []string
	for _, h := range p.headings {
		got = append(got, h.anchor)
	}
	want := []string{"a-bc-de", "使用-token-的-pod", "was-wenn", "-1", "出问题时怎么办", "-1-1", "snake_case-link"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("anchors (-want +got):\n%s", diff)
	}
}

// Every link within the project leads to a file or folder that is there, and to
// a heading that it has.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for name, p := range pages {
		for _, link := range p.links {
			if why := broken(p, link); why != "" {
				t.Errorf("%s: the link (%s): %s", name, link, why)
			}
		}
	}
}

// broken says what is wrong with a link of p; empty if nothing is.
func broken(p *page, link string) string {
	u, err := url.Parse(link)
	switch {
	case err != nil:
		return err.Error()
	case u.Scheme == "https":
		return "" // out of reach for a test
	case u.Scheme != "" || u.Host != "":
		return "want https, or a path in the project"
	case strings.HasPrefix(u.Path, "/"):
		return "want a path from the folder of the page"
	}
	to := p.name
	if u.Path != "" {
		to = path.Join(path.Dir(p.name), u.Path)
	}
	if strings.HasPrefix(to, "..") {
		return "it leaves the project"
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(to))); err != nil {
		return "there is no " + to
	}
	if u.Fragment == "" {
		return ""
	}
	target := pages[to]
	if target == nil {
		return to + " is no page, and so has no headings"
	}
	var anchors []string
	for _, h := range target.headings {
		anchors = append(anchors, h.anchor)
	}
	if !slices.Contains(anchors, u.Fragment) {
		return to + " has no such heading, but #" + strings.Join(anchors, ", #")
	}
	return ""
}

func TestBrokenLinksAreFound(t *testing.T) {
	t.Parallel()
	p := pages["docs/runbooks/reasons.md"]
	for link, want := range map[string]string{
		"errcodes.md":            "",
		"errcodes.md#40164":      "",
		"#ipnotallowed":          "",
		"../../config/crd":       "",
		"https://example.com/#x": "",
		"errcodes.md#40165":      "has no such heading",
		"#IPNotAllowed":          "has no such heading",
		"nowhere.md":             "there is no docs/runbooks/nowhere.md",
		"../../../x":             "it leaves the project",
		"/docs/api.md":           "want a path from the folder of the page",
		"http://example.com":     "want https",
		"../../Makefile#test":    "is no page",
	} {
		if got := broken(p, link); (want == "" && got != "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", link, got, want)
		}
	}
}
