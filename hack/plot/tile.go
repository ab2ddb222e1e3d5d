package plot

import (
	"image/color"
	"strings"
	"unicode/utf8"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// tile is a panel that is ready to be drawn.
type tile struct {
	title  string
	legend []entry
	drawn  *plot.Plot
	inside vg.Length // how high it is without title and legend
}

// entry is one of a legend.
type entry struct {
	name  string
	thumb plot.Thumbnailer
	wide  vg.Length
}

// The sizes of an entry.
const (
	thumbWidth = 30
	thumbGap   = 6
	entryGap   = 18
)

var fonts = font.NewCache(liberation.Collection())

var (
	plain = style(xfont.WeightNormal)
	bold  = style(xfont.WeightBold)
)

func style(weight xfont.Weight) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Weight: weight}
	return text.Style{Color: color.Black, Font: font.From(f, textSize), Handler: text.Plain{Fonts: fonts}}
}

// Width is that of a text in Arial, whose letters are as wide as those of Liberation
// Sans. What that does not have, such as Chinese, is as wide as high.
func Width(said string, size float64, bold bool) float64 {
	f := font.Font{Typeface: "Liberation", Variant: "Sans"}
	if bold {
		f.Weight = xfont.WeightBold
	}
	latin := strings.Map(func(c rune) rune {
		if c >= 0x2e80 {
			return -1
		}
		return c
	}, said)
	face := fonts.Lookup(f, font.Length(size))
	return float64(face.Width(latin)) + size*float64(utf8.RuneCountInString(said)-utf8.RuneCountInString(latin))
}

// add puts an entry into the legend.
func (t *tile) add(name string, thumb plot.Thumbnailer) {
	t.legend = append(t.legend, entry{name, thumb, thumbWidth + thumbGap + vg.Length(Width(name, textSize, false)) + entryGap})
}

// rows are those of the legend in a width.
func (t *tile) rows(width vg.Length) (rows [][]entry) {
	var at vg.Length
	for _, e := range t.legend {
		if at += e.wide; len(rows) == 0 || at > width+entryGap {
			rows, at = append(rows, nil), e.wide
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], e)
	}
	return rows
}

func (t *tile) height(width vg.Length) vg.Length {
	return vg.Length(1+len(t.rows(width)))*textHeight + t.inside + ticksHeight
}

// margins are what the axes and the widest of their texts take at the left and at
// the right, so that all panels can have the same.
func margins(tiles []*tile, area draw.Canvas) (left, right vg.Length) {
	for _, t := range tiles {
		inner := t.drawn.DataCanvas(area)
		left, right = max(left, inner.Min.X-area.Min.X), max(right, area.Max.X-inner.Max.X)
	}
	return left, right
}

// draw draws the tile at the upper end of an area, and returns the rest of it.
func (t *tile) draw(p *pen, area draw.Canvas, left, right vg.Length) draw.Canvas {
	wide := area.Max.X - area.Min.X
	end := area.Max.Y - t.height(wide)
	area = p.say(area, t.title, bold)
	for _, row := range t.rows(wide) {
		at := area.Min.X
		for _, e := range row {
			thumb := area
			thumb.Min.X, thumb.Max.X = at, at+thumbWidth
			thumb.Min.Y, thumb.Max.Y = area.Max.Y-textSize, area.Max.Y-3
			e.thumb.Thumbnail(&thumb)
			area.FillText(plain, vg.Point{X: at + thumbWidth + thumbGap, Y: area.Max.Y - textSize + 1}, e.name)
			at += e.wide
		}
		area.Max.Y -= textHeight
	}
	inner := area
	inner.Min.Y = end + ticksHeight/3
	own := t.drawn.DataCanvas(inner)
	t.drawn.Draw(draw.Crop(inner, left-(own.Min.X-inner.Min.X), -right+(inner.Max.X-own.Max.X), 0, 0))
	area.Max.Y = end
	return area
}

// say writes a line at the upper end of an area, and returns the rest of it.
func (*pen) say(area draw.Canvas, said string, how text.Style) draw.Canvas {
	area.FillText(how, vg.Point{X: area.Min.X, Y: area.Max.Y - textSize}, said)
	area.Max.Y -= textHeight
	return area
}
