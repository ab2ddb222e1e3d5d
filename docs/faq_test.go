package docs_test

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// question is one of the FAQ, with the pages that its answer links to.
type question struct {
	asks  string
	links []string
}

// questions are those of a page.
func questions(t *testing.T, name string) (all []question) {
	t.Helper()
	for section := range strings.SplitSeq("\n"+sourceOf(t, name), "\n## ") {
		asks, answer, _ := strings.Cut(section, "\n")
		q := question{asks: asks}
		for _, link := range read(name, []byte(answer)).links {
			to, _, _ := strings.Cut(link, "#")
			q.links = append(q.links, path.Base(to))
		}
		all = append(all, q)
	}
	return all[1:] // behind the title
}

// Each question has an answer that leads on, and each answer in Chinese leads to the same
// pages as the one in English.
func TestBothLanguagesAnswerTheSameQuestions(t *testing.T) {
	t.Parallel()
	english, chinese := questions(t, "docs/faq.md"), questions(t, "docs/zh/faq.md")
	if len(english) < 13 || len(english) != len(chinese) {
		t.Fatalf("%d questions in English, and %d in Chinese", len(english), len(chinese))
	}
	for i, q := range english {
		zh := chinese[i]
		if !strings.HasSuffix(q.asks, "?") || !strings.HasSuffix(zh.asks, "？") {
			t.Errorf("%q and %q: want two questions", q.asks, zh.asks)
		}
		if len(q.links) == 0 {
			t.Errorf("%s: the answer leads to no page", q.asks)
		}
		if diff := cmp.Diff(q.links, zh.links); diff != "" {
			t.Errorf("%s: pages (-English +Chinese):\n%s", q.asks, diff)
		}
	}
}
