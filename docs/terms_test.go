package docs_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codeSpan  = regexp.MustCompile("`[^`]+`")
	linkTo    = regexp.MustCompile(`\]\([^)]*\)`)
)

// prose is a page without its code and its addresses, in lower case, with one
// space wherever there is white space.
func prose(source string) string {
	source = codeBlock.ReplaceAllString(source, "")
	source = codeSpan.ReplaceAllString(source, "")
	source = linkTo.ReplaceAllString(source, "]")
	return strings.ToLower(strings.Join(strings.Fields(source), " "))
}

// refused are the words in code type of the columns "not" and "不说" of the
// glossary.
func refused(t *testing.T) (words []string) {
	t.Helper()
	_, glossary, _ := strings.Cut(sourceOf(t, "CONTRIBUTING.md"), "\n## Words\n")
	glossary, _, _ = strings.Cut(glossary, "\n## ")
	for line := range strings.Lines(glossary) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 {
			continue
		}
		for _, span := range codeSpan.FindAllString(cells[2]+cells[4], -1) {
			words = append(words, strings.Trim(span, "`"))
		}
	}
	return words
}

// has reports whether text has a word: of letters as a word of its own, of
// Chinese characters anywhere.
func has(text, word string) bool {
	for rest := text; ; {
		before, after, found := strings.Cut(rest, word)
		if !found {
			return false
		}
		if unicode.Is(unicode.Han, []rune(word)[len([]rune(word))-1]) ||
			!strings.ContainsAny(last(before)+first(after), "abcdefghijklmnopqrstuvwxyz-_") {
			return true
		}
		rest = after
	}
}

func first(s string) string { return s[:min(1, len(s))] }
func last(s string) string  { return s[max(0, len(s)-1):] }

// A line of English prose is no wider than an editor shows beside a diff. Tables, HTML and
// what is generated cannot be wrapped.
func TestProseIsWrapped(t *testing.T) {
	t.Parallel()
	const widest = 140
	for name := range pages {
		if name == "docs/api.md" || strings.HasPrefix(name, "docs/zh/") || strings.HasSuffix(name, ".zh-CN.md") {
			continue
		}
		for line := range strings.Lines(codeBlock.ReplaceAllString(sourceOf(t, name), "")) {
			line = strings.TrimSpace(line)
			if n := utf8.RuneCountInString(line); n > widest && strings.Contains(line, " ") && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "<") {
				t.Errorf("%s: %d characters, want at most %d: wrap %.60s...", name, n, widest, line)
			}
		}
	}
}

// The READMEs are short: what is longer than this belongs on a page of its own.
func TestTheREADMEsAreShort(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		if lines := strings.Count(sourceOf(t, name), "\n"); lines > 150 {
			t.Errorf("%s has %d lines, want 150 at most", name, lines)
		}
	}
}

// One thing has one word on all pages: that of the glossary in CONTRIBUTING.md.
func TestPagesUseTheWordsOfTheGlossary(t *testing.T) {
	t.Parallel()
	words := refused(t)
	if len(words) < 20 {
		t.Fatalf("found %d refused words in the glossary: %q", len(words), words)
	}
	for name := range pages {
		before, glossary, _ := strings.Cut(sourceOf(t, name), "\n## Words\n")
		_, after, _ := strings.Cut(glossary, "\n## ")
		text := prose(before + after)
		for _, word := range words {
			if has(text, word) {
				t.Errorf("%s says %q: see the glossary in CONTRIBUTING.md", name, word)
			}
		}
	}
}

func TestRefusedWordsAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"All rights reserved.":                             true,
		"It is right, and outrightset":                     false,
		"```sh\nrights\n```\nand `rights`, [x](rights.md)": false,
		"the\nrights of RBAC":                              true,
	} {
		if got := has(prose(text), "rights"); got != want {
			t.Errorf("%q has rights: %t, want %t", text, got, want)
		}
	}
	if !has(prose("用 token 换新。"), "换新") {
		t.Error("换新 is not found")
	}
}
