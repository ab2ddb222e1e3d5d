package plot

import (
	"fmt"
	"image/color"
	"slices"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Board is a dashboard as Grafana has it: panels on a grid of 24 columns.
type Board struct {
	Title    string
	Subtitle string
	// Step is from one point of a line to the next.
	Step  float64
	Tiles []Tile
	// Chinese has the texts, by the English ones. What it does not have stays.
	Chinese map[string]string
}

// A Tile of a board is a headline if it has nothing but a title.
type Tile struct {
	X, Y, W, H int
	Title      string
	// Stat is one large text.
	Stat string `json:",omitempty"`
	// Alarm paints it red.
	Alarm bool `json:",omitempty"`
	// Table has rows, the first of which has the names of the columns.
	Table [][]string `json:",omitempty"`
	// Unit is that of the lines.
	Unit  string `json:",omitempty"`
	Lines []Line `json:",omitempty"`
}

// The sizes of a board.
const (
	boardWidth = 1200
	column     = boardWidth / 24
	boardRow   = 31
	boardGap   = 4
	boardHead  = 60
)

var (
	huge  = style(xfont.WeightBold)
	grey  = color.RGBA{0xf0, 0xf1, 0xf2, 255}
	alarm = color.RGBA{0xf9, 0xd0, 0xd0, 255}
)

// Write draws the board into a file that ends in .svg, and its Chinese edition into
// one beside it that ends in .zh.svg.
func (b *Board) Write(file string) error { return write(file, b.Chinese, b.draw) }

func (b *Board) draw(texts map[string]string) ([]byte, error) {
	all := &Picture{Step: b.Step}
	rows := 0
	for _, t := range b.Tiles {
		wide := float64(t.W*column - 2*boardGap - 2*border)
		all.Panels = append(all.Panels, Panel{Title: fit(t.Title, wide, true), Unit: t.Unit, Lines: t.shown(wide - thumbWidth - thumbGap)})
		rows = max(rows, t.Y+t.H)
	}
	canvas := vgsvg.New(boardWidth, vg.Length(rows*boardRow+boardHead))
	paper := draw.New(canvas)
	fill(paper, grey, paper.Min.X, paper.Min.Y, paper.Max.X, paper.Max.Y)
	head := newPen(all, texts)
	area := head.say(draw.Crop(paper, border, -border, 0, -border), head.text(b.Title), bold)
	head.say(area, head.text(b.Subtitle), plain)
	for i, t := range b.Tiles {
		left, top := vg.Length(t.X*column), paper.Max.Y-vg.Length(boardHead+t.Y*boardRow)
		area := draw.Crop(paper, left+boardGap, left+vg.Length(t.W*column)-boardGap-boardWidth, 0, 0)
		area.Max.Y, area.Min.Y = top-boardGap, top-vg.Length(t.H*boardRow)+boardGap
		if err := t.draw(newPen(all, texts), i, area); err != nil {
			return nil, fmt.Errorf("%s: %w", t.Title, err)
		}
	}
	return finish(canvas)
}

// shown are the lines with names that fit. Of many, as Grafana has behind a scrollbar,
// those that are zero throughout are left out.
func (t Tile) shown(wide float64) (all []Line) {
	const many = 8
	for _, l := range t.Lines {
		zero := !slices.ContainsFunc(l.Points, func(at plotter.XY) bool { return at.Y != 0 })
		if len(t.Lines) > many && zero {
			continue
		}
		l.Name = fit(l.Name, wide, false)
		all = append(all, l)
	}
	return all
}

// fit is a text, or as much of it as there is room for.
func fit(said string, wide float64, bold bool) string {
	if Width(said, textSize, bold) <= wide {
		return said
	}
	letters := []rune(said)
	for len(letters) > 0 && Width(string(letters)+"…", textSize, bold) > wide {
		letters = letters[:len(letters)-1]
	}
	return string(letters) + "…"
}

// draw draws the tile, which is the panel i of the pen's picture, into its area.
func (t Tile) draw(p *pen, i int, area draw.Canvas) error {
	if t.Stat == "" && t.Table == nil && t.Lines == nil {
		p.say(draw.Crop(area, border, 0, 0, 0), t.Title, bold)
		return nil
	}
	paint := color.Color(color.White)
	if t.Alarm {
		paint = alarm
	}
	fill(area, paint, area.Min.X, area.Min.Y, area.Max.X, area.Max.Y)
	area = draw.Crop(area, border, -border, border, -border)
	switch {
	case t.Stat != "":
		p.say(area, t.Title, bold)
		large := huge
		large.Font.Size = 2.4 * textSize
		wide := vg.Length(Width(t.Stat, 2.4*textSize, true))
		area.FillText(large, vg.Point{X: (area.Min.X + area.Max.X - wide) / 2, Y: area.Min.Y + border}, t.Stat)
	case t.Table != nil:
		t.table(p, p.say(area, t.Title, bold))
	default:
		drawn, err := p.tile(i)
		if err != nil {
			return err
		}
		drawn.inside = 0
		drawn.inside = area.Max.Y - area.Min.Y - drawn.height(area.Max.X-area.Min.X)
		left, right := margins([]*tile{drawn}, area)
		drawn.draw(p, area, left, right)
	}
	return nil
}

func (t Tile) table(p *pen, area draw.Canvas) {
	const last = 1.6 // the last column is wider
	wide := float64(area.Max.X-area.Min.X) / (float64(len(t.Table[0])) - 1 + last)
	for i, row := range t.Table {
		how := plain
		if i == 0 {
			how = bold
		}
		for n, said := range row {
			p.say(draw.Crop(area, vg.Length(wide*float64(n)), 0, 0, 0), said, how)
		}
		area.Max.Y -= textHeight
	}
}
