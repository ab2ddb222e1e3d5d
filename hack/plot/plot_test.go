package plot_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/plot/plotter"

	"wechattoken.io/operator/hack/plot"
)

// draw draws a picture, and returns both editions.
func draw(t *testing.T, p interface{ Write(file string) error }) (english, chinese string) {
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
	points := plot.Points{{X: 100, Y: 1}, {X: 1000, Y: 2}, {X: 10_000, Y: 50}}
	english, chinese := draw(t, &plot.Picture{
		Title: "A title", X: "number of <tokens>", Log: true, Marks: []float64{300},
		Panels:  []plot.Panel{{Title: "seconds", Log: true, Lines: []plot.Line{{Name: "ours", Points: points}, {Name: "Kubernetes", Points: points[:1]}}}},
		Chinese: map[string]string{"A title": "标题", "number of <tokens>": "数量", "seconds": "秒", "ours": "我们的"},
	})
	ticks := []string{"100", "200", "300", "500", "1,000", "2,000", "5,000", "10,000", "1", "2", "5", "10", "20", "50"}
	for name, tc := range map[string]struct {
		svg   string
		words []string
	}{
		"English": {english, []string{"A title", "seconds", "number of &lt;tokens&gt;", "ours", "Kubernetes"}},
		"Chinese": {chinese, []string{"标题", "秒", "数量", "我们的", "Kubernetes"}},
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
	svg, _ := draw(t, &plot.Picture{Panels: []plot.Panel{{Lines: []plot.Line{{Name: "a", Points: plot.Points{{}, {X: 1}}}}}}})
	box := regexp.MustCompile(`viewBox="0 0 (\d+) (\d+)"`).FindStringSubmatch(svg)
	first := regexp.MustCompile(`<path d="([^"]+)" style="fill:#FFFFFF" />`).FindStringSubmatch(svg)
	if box == nil || first == nil || first[1] != "M0,0L"+box[1]+",0L"+box[1]+","+box[2]+"L0,"+box[2]+"Z" {
		t.Errorf("of the picture %q, %q is white", box, first)
	}
}

// A value that is missing leaves a gap, in a line and in a bar.
func TestMissingPointsAreNotDrawn(t *testing.T) {
	var whole plot.Points
	for i := range 20 { // too many for marks
		whole = append(whole, plotter.XY{X: float64(i)})
	}
	for name, bars := range map[string]bool{"Lines": false, "Bars": true} {
		picture := func(points plot.Points) string {
			svg, _ := draw(t, &plot.Picture{Step: 1, Panels: []plot.Panel{{Bars: bars, Lines: []plot.Line{{Name: "a", Points: points}, {Name: "b", Points: whole}}}}})
			return svg
		}
		without, with := picture(whole), picture(append(whole[:10:10], whole[11:]...))
		if strings.Count(with, "<path") != strings.Count(without, "<path")+1 {
			t.Errorf("%s: there is no gap", name)
		}
	}
}

// What was measured is kept, and drawn again without another measurement.
func TestAPictureIsKept(t *testing.T) {
	want := &plot.Picture{
		Title: "kept", Step: 1, Marks: []float64{60}, Bands: []plot.Band{{Name: "band", From: 1, To: 2}}, Chinese: map[string]string{"kept": "保存"},
		Panels: []plot.Panel{{Title: "panel", Log: true, Lines: []plot.Line{{Name: "line", Points: plot.Points{{X: 0.25, Y: -1}, {X: 12345, Y: 1e-7}}, Jumps: true}}}},
	}
	file := filepath.Join(t.TempDir(), "picture.json")
	if err := plot.Save(want, file); err != nil {
		t.Fatal(err)
	}
	got, err := plot.Load[plot.Picture](file)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-kept +read):\n%s", err, diff)
	}
	if err := new(plot.Points).UnmarshalText([]byte("1,2 3")); err == nil {
		t.Error("a point without a height was read")
	}
}

// Each kind of tile shows what it has, at its place on the grid.
func TestABoardShowsItsTiles(t *testing.T) {
	b := &plot.Board{Title: "board", Subtitle: "drawn", Step: 1, Chinese: map[string]string{"drawn": "绘制"}, Tiles: []plot.Tile{
		{W: 24, H: 1, Title: "Now"},
		{Y: 1, W: 4, H: 4, Title: "Not Ready", Stat: "17", Alarm: true},
		{Y: 5, W: 12, H: 8, Title: "Worst", Table: [][]string{{"Name", "Left"}, {"shop", "3 s"}}},
		{X: 12, Y: 5, W: 12, H: 8, Title: "Memory", Unit: " MB", Lines: []plot.Line{{Name: "pod-0", Points: plot.Points{{X: 0, Y: 10}, {X: 9, Y: 30}}}}},
	}}
	svg, chinese := draw(t, b)
	shown := textsOf(svg)
	for _, want := range []string{"board", "drawn", "Now", "Not Ready", "17", "Worst", "Name", "Left", "shop", "3 s", "Memory", "pod-0", "20 MB"} {
		if !slices.Contains(shown, want) {
			t.Errorf("the board does not show %q, but %q", want, shown)
		}
	}
	if !slices.Contains(textsOf(chinese), "绘制") {
		t.Error("its Chinese edition has no Chinese")
	}
}
