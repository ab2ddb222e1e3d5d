package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/controllers/metrics"
)

// The pages say what the definitions say. After a change of these, make generate
// writes the pages.
func TestPagesAreUpToDate(t *testing.T) {
	for _, p := range pages {
		text, err := os.ReadFile(filepath.Join("../..", p.file))
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.write(string(text), metrics.Definitions())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(text)); diff != "" {
			t.Errorf("%s is not what make generate writes (-want +got):\n%s", p.file, diff)
		}
	}
}

// There is no Chinese text for a metric that there is not.
func TestChineseHasNoOthers(t *testing.T) {
	there := map[string]bool{}
	for _, d := range metrics.Definitions() {
		there[d.Name] = true
	}
	for name := range chinese {
		if !there[name] {
			t.Errorf("there is no metric %s", name)
		}
	}
}

func TestTableNeedsItsPlaceAndItsWords(t *testing.T) {
	place := "before\n" + begin + "old\n" + end + "after\n"
	cases := map[string]struct {
		reason string
		text   string
		metric metrics.Definition
		want   string // a part of the page, or of the error
	}{
		"Replaced":     {"The old table goes.", place, metrics.Definitions()[0], "before\n" + begin + "\n| 指标"},
		"NoPlace":      {"A page without the lines is not touched.", "before\nafter\n", metrics.Definitions()[0], "no place"},
		"NoEnd":        {"Nor one with one of them.", begin, metrics.Definitions()[0], "no place"},
		"Untranslated": {"A new metric needs a translation.", place, metrics.Definition{Name: "wechattoken_new"}, "chinese.go does not have wechattoken_new"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := pages[1].write(tc.text, []metrics.Definition{tc.metric})
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tc.want) || strings.Contains(got, "old") {
				t.Errorf("%s\ngot %q, want something with %q", tc.reason, got, tc.want)
			}
		})
	}
}
