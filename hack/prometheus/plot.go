package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// panel is a plot over the time of the story.
type panel struct {
	title string
	query string // in PromQL
	label string // names a line
	bars  bool   // draw when there are values, not how large they are

	lines []line
}

type line struct {
	name   string
	points []point
}

// point is a value at a time, in seconds from the beginning.
type point struct{ at, value float64 }

// panels are what is drawn, with what Prometheus knows.
func (s *story) panels(ctx context.Context) ([]panel, error) {
	all := []panel{
		{title: "seconds until the token expires", label: "name", query: `max by (name) (wechattoken_expiration_timestamp_seconds) - time()`},
		{title: "reason of Ready", label: "who", bars: true, query: `label_join(max by (name, reason) (wechattoken_ready_reason), "who", " ", "name", "reason")`},
		{title: "calls for a token in 10 s, by result", label: "result", query: `sum by (result) (increase(wechattoken_refreshes_total[10s]))`},
		{title: "alerts that fire", label: "who", bars: true, query: `label_join(max by (alertname, name) (ALERTS{alertstate="firing"}), "who", " ", "name", "alertname")`},
	}
	for i := range all {
		p := &all[i]
		got, _, _, err := s.api.QueryRange(ctx, p.query, promv1.Range{Start: s.begin, End: s.end, Step: scrape})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.query, err)
		}
		matrix, ok := got.(model.Matrix)
		if !ok || len(matrix) == 0 {
			return nil, fmt.Errorf("there is nothing in Prometheus of %s", p.query)
		}
		for _, series := range matrix {
			l := line{name: strings.TrimSpace(string(series.Metric[model.LabelName(p.label)]))}
			for _, v := range series.Values {
				l.points = append(l.points, point{v.Timestamp.Time().Sub(s.begin).Seconds(), float64(v.Value)})
			}
			p.lines = append(p.lines, l)
		}
		slices.SortFunc(p.lines, func(a, b line) int { return cmp.Compare(a.name, b.name) })
	}
	return all, nil
}

// The size of the picture and its margins, in pixels.
const (
	width               = 900
	left, right         = 250, 20
	plotHeight          = 130
	barHeight           = 17
	titleHeight, bottom = 30, 30
)

// colours are those of the lines: the same name has the same one everywhere.
var colours = []string{"#2a7f3f", "#b5541c", "#3465a4", "#b00020", "#8f5fbf", "#777", "#2aa1b3"}

func (p panel) height() int {
	if p.bars {
		return titleHeight + barHeight*len(p.lines) + 12
	}
	return titleHeight + plotHeight + 12
}

// plot draws the panels one below the other, on white: the page around may be
// dark.
func plot(panels []panel, spans []span, length time.Duration) []byte {
	height := bottom + 20
	for _, p := range panels {
		height += p.height()
	}
	x := func(seconds float64) float64 { return left + seconds/length.Seconds()*(width-left-right) }
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for _, s := range spans {
		from, to := x(s.from.Seconds()), x(s.to.Seconds())
		fmt.Fprintf(&b, `<rect x="%.1f" y="22" width="%.1f" height="%d" fill="#fbeee6"/><text x="%.1f" y="16" text-anchor="middle" fill="#b5541c">%s</text>`+"\n",
			from, to-from, height-bottom-22, (from+to)/2, html.EscapeString(s.what))
	}
	for t := 0.0; t <= length.Seconds(); t += 30 {
		fmt.Fprintf(&b, `<path d="M%.1f 22 V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle" fill="#333">%.0f s</text>`+"\n",
			x(t), height-bottom, x(t), height-bottom+16, t)
	}
	y := 20
	names := map[string]string{}
	for _, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)"><text x="10" y="20" font-weight="bold">%s</text>`+"\n", y, html.EscapeString(p.title))
		if p.bars {
			p.drawBars(&b, x, names)
		} else {
			p.drawLines(&b, x, names)
		}
		b.WriteString("</g>\n")
		y += p.height()
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// colour is that of a name, whose first word counts.
func colour(name string, names map[string]string) string {
	word, _, _ := strings.Cut(name, " ")
	if names[word] == "" {
		names[word] = colours[len(names)%len(colours)]
	}
	return names[word]
}

func (p panel) drawBars(b *bytes.Buffer, x func(float64) float64, names map[string]string) {
	for i, l := range p.lines {
		y, paint := titleHeight+barHeight*i, colour(l.name, names)
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end" fill="%s">%s</text>`+"\n", left-8, y+12, paint, html.EscapeString(l.name))
		for _, run := range runs(l.points) {
			fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="11" fill="%s"/>`+"\n", x(run[0].at), y+2, x(run[len(run)-1].at+scrape.Seconds())-x(run[0].at), paint)
		}
	}
}

func (p panel) drawLines(b *bytes.Buffer, x func(float64) float64, names map[string]string) {
	low, high := 0.0, 0.0
	for _, l := range p.lines {
		for _, at := range l.points {
			low, high = min(low, at.value), max(high, at.value)
		}
	}
	y := func(v float64) float64 { return titleHeight + (high-v)/(high-low)*plotHeight }
	step := math.Pow(10, math.Floor(math.Log10(high-low)))
	for v := math.Ceil(low/step) * step; v <= high; v += step {
		fmt.Fprintf(b, `<path d="M%d %.1f H%d" stroke="%s"/><text x="%d" y="%.1f" text-anchor="end" fill="#333">%g</text>`+"\n",
			left, y(v), width-right, map[bool]string{true: "#777", false: "#ddd"}[v == 0], left-8, y(v)+4, v)
	}
	for i, l := range p.lines {
		paint := colour(l.name, names)
		for _, run := range runs(l.points) {
			var path strings.Builder
			for i, at := range run {
				fmt.Fprintf(&path, "%s%.1f %.1f ", map[bool]string{true: "M", false: "L"}[i == 0], x(at.at), y(at.value))
			}
			fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.TrimSpace(path.String()), paint)
		}
		fmt.Fprintf(b, `<text x="10" y="%d" fill="%s">%s</text>`+"\n", titleHeight+16*(i+1), paint, html.EscapeString(l.name))
	}
}

// runs are the parts of points without a gap.
func runs(points []point) [][]point {
	var all [][]point
	for i, p := range points {
		if i == 0 || p.at-points[i-1].at > 1.5*scrape.Seconds() {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], p)
	}
	return all
}
