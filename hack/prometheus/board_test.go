//go:build integration

package prometheus

import (
	"cmp"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
	"gonum.org/v1/plot/plotter"

	"wechattoken.io/operator/hack/plot"
)

// units are what follows a number, by their names in Grafana.
var units = map[string]string{"s": " s", "reqps": "/s", "bytes": " MB"}

// board keeps a picture of the dashboard as it looks at a time, which is drawn without
// Grafana: the panels are those of dashboard.json, with the answers to their queries.
func (w *world) board(begin, end time.Time) {
	w.t.Helper()
	d, subtitle := readDashboard(w.t), "drawn from dashboard.json and the answers of a real Prometheus; not a screenshot of Grafana"
	b := &plot.Board{Title: operator, Subtitle: subtitle, Step: scrape.Seconds(), Chinese: map[string]string{
		subtitle: "由 dashboard.json 和真实 Prometheus 的查询结果绘制，不是 Grafana 截图",
	}}
	for _, p := range d.Panels {
		t := plot.Tile{X: p.GridPos.X, Y: p.GridPos.Y, W: p.GridPos.W, H: p.GridPos.H, Title: p.Title, Unit: units[p.FieldConfig.Defaults.Unit]}
		switch p.Type {
		case "stat":
			s := w.at(p.Targets[0], end)[0]
			t.Stat = cmp.Or(named(p.Targets[0], s.Metric), said(float64(s.Value))+t.Unit)
			// Times are shorter here than those of the thresholds.
			t.Alarm = p.FieldConfig.Defaults.Unit != "s" && isRed(p.FieldConfig.Defaults.Thresholds.Steps, float64(s.Value))
		case "table":
			t.Table = w.table(p.Targets, end)
		case "timeseries":
			for _, q := range p.Targets {
				t.Lines = append(t.Lines, w.answers(q, begin, end, t.Unit)...)
			}
			if len(t.Lines) == 0 {
				w.t.Errorf("%s has nothing to show", p.Title)
			}
		case "row":
		default:
			w.t.Errorf("%s is a %s, which cannot be drawn", p.Title, p.Type)
		}
		b.Tiles = append(b.Tiles, t)
	}
	w.keep(b, "dashboard.json")
}

// at is the answer to a query at a time.
func (w *world) at(q target, end time.Time) model.Vector {
	w.t.Helper()
	got, _, _, err := w.api.Query(w.t.Context(), q.query("10s"), end)
	all, ok := got.(model.Vector)
	if err != nil || !ok || len(all) == 0 {
		w.t.Fatalf("%s: %v, %v", q.Expr, got, err)
	}
	return all
}

// answers are the lines of a query.
func (w *world) answers(q target, begin, end time.Time, unit string) (all []plot.Line) {
	w.t.Helper()
	got, _, _, err := w.api.QueryRange(w.t.Context(), q.query("10s"), promv1.Range{Start: begin, End: end, Step: scrape})
	if err != nil {
		w.t.Fatalf("%s: %v", q.Expr, err)
	}
	matrix, _ := got.(model.Matrix)
	for _, series := range matrix {
		l := plot.Line{Name: named(q, series.Metric)}
		for _, v := range series.Values {
			if value := float64(v.Value); !math.IsNaN(value) {
				if unit == " MB" {
					value /= 1e6
				}
				l.Points = append(l.Points, plotter.XY{X: v.Timestamp.Time().Sub(begin).Seconds(), Y: value})
			}
		}
		if len(l.Points) > 0 {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b plot.Line) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

var label = regexp.MustCompile(`{{(\w+)}}`)

// named is the name of a series in the legend.
func named(q target, of model.Metric) string {
	return strings.TrimSpace(label.ReplaceAllStringFunc(q.Legend, func(found string) string {
		return string(of[model.LabelName(strings.Trim(found, "{}"))])
	}))
}

// table is that of the WeChatTokens: its three queries, merged.
func (w *world) table(queries []target, end time.Time) [][]string {
	w.t.Helper()
	type key [2]model.LabelValue
	rows := map[key][]string{}
	left := map[key]float64{}
	for i, q := range queries {
		for _, s := range w.at(q, end) {
			of := key{s.Metric["namespace"], s.Metric["name"]}
			if i == 0 {
				left[of], rows[of] = float64(s.Value), []string{string(of[0]), string(of[1])}
			}
			if i < 2 {
				rows[of] = append(rows[of], english.Sprint(number.Decimal(float64(s.Value), number.MaxFractionDigits(0)))+" s")
			} else {
				rows[of] = append(rows[of], string(s.Metric["reason"]))
			}
		}
	}
	all := [][]string{{"Namespace", "Name", "Time left", "Until refresh", "Reason"}}
	for _, of := range slices.SortedFunc(maps.Keys(left), func(a, b key) int { return cmp.Compare(left[a], left[b]) }) {
		all = append(all, rows[of])
	}
	return all
}

var english = message.NewPrinter(language.English)

func said(v float64) string { return english.Sprint(number.Decimal(v, number.MaxFractionDigits(1))) }

func isRed(steps []threshold, v float64) bool {
	colour := ""
	for _, s := range steps {
		if s.Value == nil || v >= *s.Value {
			colour = s.Color
		}
	}
	return colour == "red"
}
