// Package plot draws the pictures of docs as SVG, each in English and in Chinese.
package plot

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Picture is panels one below the other that share the axis from left to right.
type Picture struct {
	// X names that axis, with its unit.
	X string
	// Log makes it logarithmic.
	Log bool
	// Step is from one point of a line to the next; where one is missing, the line
	// is not connected. 0 connects all.
	Step float64
	// Bands are times of which something is told.
	Bands  []Band
	Panels []Panel
	// Chinese has the texts, by the English ones. What it does not have, such as a
	// name of Kubernetes, stays.
	Chinese map[string]string
}

// A Band is a part of the axis from left to right.
type Band struct {
	Name     string
	From, To float64
}

// A Panel has lines, or for each line a bar where it has points.
type Panel struct {
	// Title says what is drawn, with its unit.
	Title string
	Bars  bool
	// Log makes the upright axis logarithmic.
	Log   bool
	Lines []Line
}

// A Line has its points from left to right.
type Line struct {
	Name   string
	Points plotter.XYs
	// Jumps keeps a value until the next point.
	Jumps bool
}

// The sizes of a picture, in points.
const (
	width       = 900
	panelHeight = 210
	legendWidth = 240
	titleHeight = 20
)

// Write draws the picture into a file that ends in .svg, and its Chinese edition
// into one beside it that ends in .zh.svg.
func (p *Picture) Write(file string) error {
	chinese := strings.TrimSuffix(file, ".svg") + ".zh.svg"
	for file, texts := range map[string]map[string]string{file: nil, chinese: p.Chinese} {
		svg, err := p.draw(texts)
		if err != nil {
			return fmt.Errorf("draw %s: %w", file, err)
		}
		if err := os.WriteFile(file, svg, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (p *Picture) draw(texts map[string]string) ([]byte, error) {
	pen := newPen(p, texts)
	plots := make([][]*plot.Plot, len(p.Panels))
	for i := range p.Panels {
		drawn, err := pen.panel(i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Panels[i].Title, err)
		}
		plots[i] = []*plot.Plot{drawn}
	}
	canvas := vgsvg.New(width, vg.Length(panelHeight*len(plots)))
	tiles := draw.Tiles{Rows: len(plots), Cols: 1, PadX: 5, PadY: 15, PadTop: 5, PadBottom: 5, PadLeft: 5, PadRight: legendWidth}
	paper := draw.New(canvas)
	fill(paper, color.White, paper.Min.X, paper.Min.Y, paper.Max.X, paper.Max.Y) // the page around may be dark
	for i, row := range plot.Align(plots, tiles, paper) {
		legend := plots[i][0].Legend
		plots[i][0].Legend = plot.NewLegend()
		plots[i][0].Draw(row[0])
		beside := row[0]
		beside.Min.X, beside.Max.X = width-legendWidth+15, width
		beside.Max.Y -= titleHeight
		legend.Draw(beside)
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	// A viewer that does not have the font by which texts were measured takes another
	// one without serifs, and for Chinese in any case.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,sans-serif;")), nil
}

// extent is from where to where there are points.
func (p *Picture) extent() (from, to float64) {
	from, to = math.Inf(1), math.Inf(-1)
	for _, panel := range p.Panels {
		for _, l := range panel.Lines {
			for _, at := range l.Points {
				from, to = min(from, at.X), max(to, at.X+p.Step)
			}
		}
	}
	return from, to
}

// runs are the parts of a line in which no point is missing.
func (p *Picture) runs(points plotter.XYs) []plotter.XYs {
	var all []plotter.XYs
	for i, at := range points {
		if i == 0 || p.Step > 0 && at.X-points[i-1].X > 1.5*p.Step {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], at)
	}
	return all
}
