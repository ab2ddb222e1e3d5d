package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// point is a figure at a number of WeChatTokens.
type point struct{ n, y float64 }

// series is a line of a panel.
type series struct {
	name   string
	colour string
	dashed bool
	points []point
}

// panel is a plot with logarithmic axes.
type panel struct {
	title  string
	series []series
}

// The colours, for us and for what we are compared with.
const (
	green = "#2a7f3f"
	brown = "#b5541c"
	grey  = "#777"
)

// The size of a panel and of its margins, in pixels.
const (
	panelWidth, panelHeight = 400, 330
	marginLeft, marginRight = 52, 24
	marginTop, marginBottom = 82, 40 // a title and three lines of legend
	columns                 = 2
)

// plot draws the panels, on white: the page around may be dark.
func plot(panels []panel) []byte {
	rows := (len(panels) + columns - 1) / columns
	width, height := columns*panelWidth, rows*panelHeight+24
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%columns*panelWidth, i/columns*panelHeight)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">number of WeChatTokens</text>`+"\n", width/2, height-10)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// draw draws a panel into its corner of the plot.
func (p panel) draw(b *bytes.Buffer) {
	fmt.Fprintf(b, `<text x="%d" y="20" font-weight="bold">%s</text>`+"\n", marginLeft, html.EscapeString(p.title))
	var ns, ys []float64
	for _, s := range p.series {
		for _, at := range s.points {
			ns, ys = append(ns, at.n), append(ys, at.y)
		}
	}
	if len(ns) == 0 {
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">not measured</text>`+"\n", marginLeft, panelHeight/2, grey)
		return
	}
	xs, vs := axisOver(ns), axisOver(ys)
	x := func(n float64) float64 {
		return marginLeft + xs.share(n)*(panelWidth-marginLeft-marginRight)
	}
	y := func(v float64) float64 {
		return panelHeight - marginBottom - vs.share(v)*(panelHeight-marginTop-marginBottom)
	}
	slices.Sort(ns)
	for _, tick := range slices.Compact(ns) {
		fmt.Fprintf(b, `<path d="M%.1f %d V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle" fill="#333">%s</text>`+"\n",
			x(tick), marginTop, panelHeight-marginBottom, x(tick), panelHeight-marginBottom+16, thousands(tick))
	}
	for _, tick := range vs.ticks() {
		fmt.Fprintf(b, `<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#333">%s</text>`+"\n",
			marginLeft, y(tick), panelWidth-marginRight, marginLeft-6, y(tick)+4, thousands(tick))
	}
	for i, s := range p.series {
		s.draw(b, x, y)
		dash := ""
		if s.dashed {
			dash = ` stroke-dasharray="5 3"`
		}
		at := 38 + 16*i
		fmt.Fprintf(b, `<path d="M%d %d h22" stroke="%s" stroke-width="2"%s/><text x="%d" y="%d" fill="%s">%s</text>`+"\n",
			marginLeft, at-4, s.colour, dash, marginLeft+30, at, s.colour, html.EscapeString(s.name))
	}
}

// draw draws a line with its points.
func (s series) draw(b *bytes.Buffer, x, y func(float64) float64) {
	if len(s.points) == 0 {
		return
	}
	var path strings.Builder
	for i, at := range s.points {
		fmt.Fprintf(&path, "%s%.1f %.1f ", map[bool]string{true: "M", false: "L"}[i == 0], x(at.n), y(at.y))
	}
	dash := ""
	if s.dashed {
		dash = ` stroke-dasharray="5 3"`
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>`+"\n", strings.TrimSpace(path.String()), s.colour, dash)
	for _, at := range s.points {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s at %s</title></circle>`+"\n",
			x(at.n), y(at.y), s.colour, html.EscapeString(s.name), thousands(at.y), thousands(at.n))
	}
}

// axis is a logarithmic one.
type axis struct{ from, to float64 }

// axisOver has room for all values, and for some more on each side.
func axisOver(values []float64) axis {
	return axis{slices.Min(values) / 1.5, slices.Max(values) * 1.5}
}

func (a axis) share(v float64) float64 {
	return math.Log(v/a.from) / math.Log(a.to/a.from)
}

// ticks are at the powers of ten, and between them where these are few.
func (a axis) ticks() []float64 {
	var steps []float64
	switch decades := math.Log10(a.to / a.from); {
	case decades > 3:
		steps = []float64{1}
	case decades > 1.2:
		steps = []float64{1, 2, 5}
	default:
		steps = []float64{1, 1.5, 2, 3, 5, 7}
	}
	var all []float64
	for exp := math.Floor(math.Log10(a.from)); exp <= math.Log10(a.to); exp++ {
		for _, step := range steps {
			if v := step * math.Pow(10, exp); v >= a.from && v <= a.to {
				all = append(all, v)
			}
		}
	}
	return all
}

// thousands writes a number with commas, and with few digits.
func thousands(v float64) string {
	s := fmt.Sprintf("%.3g", v)
	if v >= 1000 {
		s = fmt.Sprintf("%.0f", v)
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
	}
	return s
}
