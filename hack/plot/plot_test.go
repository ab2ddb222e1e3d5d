package plot_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/plot/plotter"

	"wechattoken.io/operator/hack/plot"
)

// draw draws a picture, and returns both editions.
func draw(t *testing.T, p *plot.Picture) (english, chinese string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "picture.svg")
	if err := p.Write(file); err != nil {
		t.Fatal(err)
	}
	var editions [2]string
	for i, f := range []string{file, strings.TrimSuffix(file, "svg") + "zh.svg"} {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for read := xml.NewDecoder(strings.NewReader(string(text))); ; {
			if _, err := read.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
		}
		if strings.Contains(string(text), "NaN") || strings.Contains(string(text), "Inf") {
			t.Errorf("%s has points nowhere:\n%s", f, text)
		}
		editions[i] = string(text)
	}
	return editions[0], editions[1]
}

var text = regexp.MustCompile(`<text [^>]*>([^<]*)</text>`)

func textsOf(svg string) (all []string) {
	for _, found := range text.FindAllStringSubmatch(svg, -1) {
		all = append(all, found[1])
	}
	return all
}

func TestPictureHasChineseEdition(t *testing.T) {
	points := plotter.XYs{{X: 100, Y: 1}, {X: 1000, Y: 2}, {X: 10_000, Y: 50}}
	english, chinese := draw(t, &plot.Picture{
		X: "number of <tokens>", Log: true,
		Panels:  []plot.Panel{{Title: "seconds", Log: true, Lines: []plot.Line{{Name: "ours", Points: points}, {Name: "Kubernetes", Points: points[:1]}}}},
		Chinese: map[string]string{"number of <tokens>": "数量", "seconds": "秒", "ours": "我们的"},
	})
	ticks := []string{"100", "200", "500", "1,000", "2,000", "5,000", "10,000", "1", "2", "5", "10", "20", "50"}
	for name, tc := range map[string]struct {
		svg   string
		words []string
	}{
		"English": {english, []string{"seconds", "number of &lt;tokens&gt;", "ours", "Kubernetes"}},
		"Chinese": {chinese, []string{"秒", "数量", "我们的", "Kubernetes"}},
	} {
		got := map[string]bool{}
		for _, text := range textsOf(tc.svg) {
			got[text] = true
		}
		want := map[string]bool{}
		for _, text := range append(tc.words, ticks...) {
			want[text] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// On a page that is dark, its black texts can be read.
func TestPictureIsOnWhite(t *testing.T) {
	svg, _ := draw(t, &plot.Picture{Panels: []plot.Panel{{Lines: []plot.Line{{Name: "a", Points: plotter.XYs{{}, {X: 1}}}}}}})
	box := regexp.MustCompile(`viewBox="0 0 (\d+) (\d+)"`).FindStringSubmatch(svg)
	first := regexp.MustCompile(`<path d="([^"]+)" style="fill:#FFFFFF" />`).FindStringSubmatch(svg)
	if box == nil || first == nil || first[1] != "M0,0L"+box[1]+",0L"+box[1]+","+box[2]+"L0,"+box[2]+"Z" {
		t.Errorf("of the picture %q, %q is white", box, first)
	}
}

// A value that is missing leaves a gap, in a line and in a bar.
func TestMissingPointsAreNotDrawn(t *testing.T) {
	var whole plotter.XYs
	for i := range 20 { // too many for marks
		whole = append(whole, plotter.XY{X: float64(i)})
	}
	for name, bars := range map[string]bool{"Lines": false, "Bars": true} {
		picture := func(points plotter.XYs) string {
			svg, _ := draw(t, &plot.Picture{Step: 1, Panels: []plot.Panel{{Bars: bars, Lines: []plot.Line{{Name: "a", Points: points}, {Name: "b", Points: whole}}}}})
			return svg
		}
		without, with := picture(whole), picture(append(whole[:10:10], whole[11:]...))
		if strings.Count(with, "<path") != strings.Count(without, "<path")+1 {
			t.Errorf("%s: there is no gap", name)
		}
	}
}
