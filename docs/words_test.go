package docs_test

import (
	"strings"
	"testing"
)

// searched are the words of the field by which people look for something, in English and
// in Chinese.
var searched = map[string][]string{
	"English": {"backup", "CRD", "expire", "multi-cluster", "permission", "revoke", "rollout", "uninstall"},
	"Chinese": {"备份", "CRD", "过期", "多集群", "权限", "吊销", "滚动", "卸载"},
}

// A reader who searches for a word of the field finds it in the headings of the pages, and on
// the front pages.
func TestTheWordsOfTheFieldAreFound(t *testing.T) {
	t.Parallel()
	headings := map[string]string{}
	for name, p := range pages {
		language := "English"
		if strings.HasPrefix(name, "docs/zh/") {
			language = "Chinese"
		}
		if strings.HasPrefix(name, "docs/") {
			for _, h := range p.headings {
				headings[language] += h.text + "\n"
			}
		}
	}
	for language, texts := range map[string]map[string]string{
		"English": {"the headings": headings["English"], "README.md": sourceOf(t, "README.md"), "docs/README.md": sourceOf(t, "docs/README.md")},
		"Chinese": {"the headings": headings["Chinese"], "README.zh-CN.md": sourceOf(t, "README.zh-CN.md"), "docs/zh/README.md": sourceOf(t, "docs/zh/README.md")},
	} {
		for where, text := range texts {
			for _, word := range searched[language] {
				if !strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
					t.Errorf("%s in %s: the word %q is not there", where, language, word)
				}
			}
		}
	}
}
