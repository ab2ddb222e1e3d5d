package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/hack/svgtest"
)

func TestTheDrawingIsAsGenerated(t *testing.T) {
	t.Parallel()
	for _, e := range editions {
		got, err := os.ReadFile(filepath.Join("../../docs", e.file))
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.draw()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what `make generate` writes (-generated +file):\n%s", e.file, diff)
		}
	}
}

func TestTheDrawingCanBeRead(t *testing.T) {
	t.Parallel()
	for _, e := range editions {
		drawn, err := e.draw()
		if err != nil {
			t.Fatal(err)
		}
		texts, err := svgtest.Read(drawn)
		if err != nil {
			t.Fatal(err)
		}
		if err := svgtest.Check(texts); err != nil || len(texts) < 30 {
			t.Errorf("%s has %d texts: %v", e.file, len(texts), err)
		}
		if len(drawn) > 20_000 {
			t.Errorf("%s has %d bytes", e.file, len(drawn))
		}
	}
}

// Names are English in Chinese, too; three words in a row are a sentence.
var (
	sentence = regexp.MustCompile(`[A-Za-z]+ [A-Za-z]+ [A-Za-z]+`)
	markup   = regexp.MustCompile(`(?s)<!--.*?-->|<[^>]*>`)
)

func TestTheChineseDrawingIsInChinese(t *testing.T) {
	t.Parallel()
	for _, e := range editions {
		drawn, err := e.draw()
		if err != nil {
			t.Fatal(err)
		}
		all := sentence.FindAllString(markup.ReplaceAllString(string(drawn), "\n"), -1)
		if (e.texts == nil) != (len(all) > 0) {
			t.Errorf("%s in %s has the English %q", e.file, e.Lang, all)
		}
		for english := range chinese {
			if e.texts == nil && !strings.Contains(string(drawn), ">"+english+"<") {
				t.Errorf("%s does not have %q, which chinese.go translates", e.file, english)
			}
		}
	}
}
