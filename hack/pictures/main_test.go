package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThePicturesAreAsGenerated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := drawAll(".", dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		for _, file := range []string{name + ".svg", name + ".zh.svg"} {
			want, err1 := os.ReadFile(filepath.Join(dir, file))
			got, err2 := os.ReadFile(filepath.Join("../../docs", file))
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s is not what `make generate` writes (-generated +file):\n%s", file, diff)
			}
		}
	}
}

// Names are English in Chinese, too; three words in a row are a sentence. The panels
// of the dashboard have English titles, in all languages.
func TestTheChinesePicturesAreInChinese(t *testing.T) {
	t.Parallel()
	text := regexp.MustCompile(`<text [^>]*>([^<]*)</text>`)
	sentence := regexp.MustCompile(`[A-Za-z]+ [A-Za-z]+ [A-Za-z]+`)
	for _, name := range names {
		if name == "dashboard" {
			continue
		}
		svg, err := os.ReadFile(filepath.Join("../../docs", name+".zh.svg"))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range text.FindAllSubmatch(svg, -1) {
			if sentence.Match(found[1]) {
				t.Errorf("%s.zh.svg has the English %q", name, found[1])
			}
		}
	}
}
