package plot

import (
	"cmp"
	"image/color"
	"math"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// colours are those of Okabe and Ito, which the colour-blind tell apart, without
// yellow and with grey.
var colours = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 255}, color.RGBA{0xd5, 0x5e, 0x00, 255}, color.RGBA{0x00, 0x9e, 0x73, 255},
	color.RGBA{0xcc, 0x79, 0xa7, 255}, color.RGBA{0xe6, 0x9f, 0x00, 255}, color.RGBA{0x56, 0xb4, 0xe9, 255},
	color.RGBA{0x77, 0x77, 0x77, 255},
}

var bandColours = []color.Color{color.RGBA{0xfb, 0xe6, 0xd8, 255}, color.RGBA{0xdd, 0xea, 0xf6, 255}}

// dashes tell lines apart where there are no colours, and let see what is behind.
var dashes = [][]vg.Length{nil, {7, 4}, {2, 2}, {10, 3, 2, 3}}

// mostMarked is how many points a line may have that shows each.
const mostMarked = 10

// pen draws one edition of a picture.
type pen struct {
	*Picture

	texts    map[string]string
	colours  map[string]color.Color // a name has the same in all panels
	from, to float64
}

func newPen(p *Picture, texts map[string]string) *pen {
	from, to := p.extent()
	return &pen{Picture: p, texts: texts, colours: map[string]color.Color{}, from: from, to: to}
}

// text is a text in the language of the edition.
func (p *pen) text(english string) string { return cmp.Or(p.texts[english], english) }

func (p *pen) colour(name string) color.Color {
	if p.colours[name] == nil {
		p.colours[name] = colours[len(p.colours)%len(colours)]
	}
	return p.colours[name]
}

// tile makes a panel ready to be drawn.
func (p *pen) tile(i int) (*tile, error) {
	panel, drawn := p.Panels[i], plot.New()
	t := &tile{title: p.text(panel.Title), drawn: drawn, inside: highPanel}
	for _, style := range []*text.Style{&drawn.X.Tick.Label, &drawn.Y.Tick.Label} {
		style.Font = plain.Font
	}
	p.scale(&drawn.X, p.Log, p.Marks, "")
	p.scale(&drawn.Y, panel.Log, nil, panel.Unit)
	for n, b := range p.Bands {
		behind := band{b, bandColours[n%len(bandColours)]}
		drawn.Add(behind)
		if i == 0 {
			t.add(p.text(b.Name), behind)
		}
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xbb}, color.Gray{0xbb}
	drawn.Add(grid)
	if panel.Bars {
		t.inside = barHeight * vg.Length(len(panel.Lines))
		p.bars(drawn, panel.Lines)
	} else if err := p.lines(t, panel); err != nil {
		return nil, err
	}
	drawn.X.Min, drawn.X.Max = p.from, p.to
	return t, nil
}

func (*pen) scale(a *plot.Axis, log bool, marks []float64, unit string) {
	ticks := linearTicks
	if log {
		a.Scale, ticks = plot.LogScale{}, logTicks
	}
	a.Tick.Marker = plot.TickerFunc(func(from, to float64) []plot.Tick {
		all := ticks(from, to)
		for _, v := range marks {
			all = append(all, tick(v))
		}
		for i := range all {
			all[i].Label += unit
		}
		return all
	})
}

// lines draws each line thinner than those before and over them: where they are the
// same, all can be seen.
func (p *pen) lines(t *tile, panel Panel) error {
	if len(panel.Lines) == 1 {
		t.inside = lowPanel
	}
	drawn := t.drawn
	for i, l := range panel.Lines {
		style := draw.LineStyle{Color: p.colour(l.Name), Dashes: dashes[i%len(dashes)], Width: max(1.5, 4.2-1.4*vg.Length(i))}
		for n, run := range p.runs(l.Points) {
			line, marks, err := plotter.NewLinePoints(plotter.XYs(run))
			if err != nil {
				return err
			}
			line.LineStyle = style
			if l.Jumps {
				line.StepStyle = plotter.PostStep
			}
			drawn.Add(line)
			if n == 0 && l.Name != "" {
				t.add(p.text(l.Name), line)
			}
			if len(l.Points) <= mostMarked {
				marks.GlyphStyle = draw.GlyphStyle{Color: style.Color, Radius: 3, Shape: plotutil.Shape(i)}
				drawn.Add(marks)
			}
		}
	}
	if panel.Log {
		drawn.Y.Min, drawn.Y.Max = drawn.Y.Min/1.15, drawn.Y.Max*1.15
	} else {
		drawn.Y.Min = min(0, drawn.Y.Min)
	}
	return nil
}

// bars draws the bars, each below its name. The first word of a name decides on the
// colour.
func (p *pen) bars(drawn *plot.Plot, lines []Line) {
	for i, l := range lines {
		y := float64(len(lines) - 1 - i)
		drawn.Add(name{p.text(l.Name), y + 0.5})
		word, _, _ := strings.Cut(l.Name, " ")
		for _, run := range p.runs(l.Points) {
			drawn.Add(bar{run[0].X, run[len(run)-1].X + p.Step, y, p.colour(word)})
		}
	}
	drawn.Y.Tick.Marker, drawn.Y.LineStyle.Width = plot.ConstantTicks{}, 0
	drawn.Y.Min, drawn.Y.Max = 0, float64(len(lines))
}

// Plot and Thumbnail are what gonum asks of what it draws and tells in a legend.
type (
	band struct {
		Band
		colour color.Color
	}
	bar struct {
		from, to, y float64
		colour      color.Color
	}
	name struct {
		said string
		y    float64
	}
)

func (n name) Plot(c draw.Canvas, drawn *plot.Plot) {
	_, y := drawn.Transforms(&c)
	c.FillText(plain, vg.Point{X: c.Min.X + 4, Y: y(n.y)}, n.said)
}

func (b band) Plot(c draw.Canvas, drawn *plot.Plot) {
	x, _ := drawn.Transforms(&c)
	fill(c, b.colour, x(b.From), c.Min.Y, x(b.To), c.Max.Y)
}

func (b band) Thumbnail(c *draw.Canvas) { fill(*c, b.colour, c.Min.X, c.Min.Y, c.Max.X, c.Max.Y) }

func (b bar) Plot(c draw.Canvas, drawn *plot.Plot) {
	x, y := drawn.Transforms(&c)
	fill(c, b.colour, x(b.from), y(b.y+0.1), x(b.to), y(b.y+0.4))
}

func fill(c draw.Canvas, paint color.Color, x0, y0, x1, y1 vg.Length) {
	c.FillPolygon(paint, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
}

// logTicks are at the powers of ten, and between them where these are few.
func logTicks(from, to float64) (all []plot.Tick) {
	steps := []float64{1}
	if to/from < 20 {
		steps = []float64{1, 1.5, 2, 3, 5, 7}
	} else if to/from <= 1000 {
		steps = []float64{1, 2, 5}
	}
	for exponent := math.Floor(math.Log10(from)); exponent <= math.Log10(to); exponent++ {
		for _, step := range steps {
			all = append(all, tick(step*math.Pow(10, exponent)))
		}
	}
	return slices.DeleteFunc(all, func(t plot.Tick) bool { return t.Value < from || t.Value > to })
}

// linearTicks are three to six, at round values.
func linearTicks(from, to float64) (all []plot.Tick) {
	const most = 6
	if to <= from {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(to-from))-1)
	for i := 0; (to-from)/step >= most; i++ {
		step *= []float64{2, 2.5, 2}[i%3] // 1, 2, 5, 10
	}
	for n := math.Ceil(from / step); n*step <= to; n++ {
		all = append(all, tick(n*step))
	}
	return all
}

var english = message.NewPrinter(language.English)

func tick(v float64) plot.Tick {
	return plot.Tick{Value: v, Label: english.Sprint(number.Decimal(v, number.MaxFractionDigits(3)))}
}
