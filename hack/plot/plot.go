// Package plot draws the pictures of docs as SVG, each in English and in Chinese.
package plot

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Picture is panels one below the other that share the axis from left to right.
type Picture struct {
	// Title says what it is about.
	Title string
	// X names that axis, with its unit.
	X string
	// Log makes it logarithmic.
	Log bool `json:",omitempty"`
	// Marks are values that it shows beside those which it chooses.
	Marks []float64 `json:",omitempty"`
	// Step is from one point of a line to the next; where one is missing, the line
	// is not connected. 0 connects all.
	Step float64 `json:",omitempty"`
	// Bands are times in which something happens.
	Bands  []Band `json:",omitempty"`
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
	Bars  bool `json:",omitempty"`
	// Unit follows each number of the upright axis.
	Unit string `json:",omitempty"`
	// Log makes the upright axis logarithmic.
	Log   bool `json:",omitempty"`
	Lines []Line
}

// A Line has its points from left to right.
type Line struct {
	Name   string
	Points Points
	// Jumps keeps a value until the next point.
	Jumps bool `json:",omitempty"`
}

// The sizes of a picture. It is narrow, so that its texts can be read on a phone.
const (
	width       = 640
	border      = 10
	textSize    = 15
	textHeight  = 22
	lowPanel    = 80 // with one line
	highPanel   = 150
	barHeight   = 38 // with its name
	ticksHeight = 30
)

// Write draws the picture into a file that ends in .svg, and its Chinese edition
// into one beside it that ends in .zh.svg.
func (p *Picture) Write(file string) error { return write(file, p.Chinese, p.draw) }

func write(file string, chinese map[string]string, draw func(texts map[string]string) ([]byte, error)) error {
	for file, texts := range map[string]map[string]string{file: nil, strings.TrimSuffix(file, ".svg") + ".zh.svg": chinese} {
		svg, err := draw(texts)
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
	height := vg.Length(border + 1.5*textHeight)
	tiles := make([]*tile, len(p.Panels))
	for i := range p.Panels {
		var err error
		if tiles[i], err = pen.tile(i); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Panels[i].Title, err)
		}
		height += tiles[i].height(width - 2*border)
	}
	height += textHeight
	canvas := vgsvg.New(width, height)
	paper := draw.New(canvas)
	fill(paper, color.White, paper.Min.X, paper.Min.Y, paper.Max.X, paper.Max.Y) // the page around may be dark
	area := draw.Crop(paper, border, -border, 0, -border)
	area = pen.say(area, pen.text(p.Title), bold)
	area.Max.Y -= textHeight / 2
	left, right := margins(tiles, area)
	for _, t := range tiles {
		area = t.draw(pen, area, left, right)
	}
	x := pen.text(p.X)
	area.FillText(plain, vg.Point{X: area.Max.X - vg.Length(Width(x, textSize, false)), Y: area.Max.Y - textSize}, x)
	return finish(canvas)
}

func finish(canvas *vgsvg.Canvas) ([]byte, error) {
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
func (p *Picture) runs(points Points) []Points {
	var all []Points
	for i, at := range points {
		if i == 0 || p.Step > 0 && at.X-points[i-1].X > 1.5*p.Step {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], at)
	}
	return all
}
