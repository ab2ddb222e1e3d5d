//go:build integration

package prometheus

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"gonum.org/v1/plot/plotter"

	"wechattoken.io/operator/hack/plot"
)

// draw keeps a picture of what Prometheus has seen since begin.
func (w *world) draw(begin time.Time, bands ...plot.Band) {
	w.t.Helper()
	p := &plot.Picture{Title: "Two incidents, as Prometheus sees them", X: "time (s)", Step: scrape.Seconds(), Bands: bands, Chinese: chinese}
	for _, l := range w.lines(begin, "name", `max by (name) (wechattoken_expiration_timestamp_seconds) - time()`) {
		p.Panels = append(p.Panels, plot.Panel{Title: l.Name + ": time until the token expires (s)", Lines: []plot.Line{{Points: l.Points}}})
	}
	p.Panels = append(p.Panels,
		plot.Panel{Title: "reason of Ready", Bars: true, Lines: w.lines(begin, "what",
			`label_join(max by (name, reason) (wechattoken_ready_reason), "what", " ", "name", "reason")`)},
		plot.Panel{Title: "calls for a token in 10 s", Lines: w.lines(begin, "result",
			`sum by (result) (increase(wechattoken_refreshes_total[10s]))`)},
		plot.Panel{Title: "alerts that fire", Bars: true, Lines: w.lines(begin, "what",
			`label_join(max by (alertname, name) (ALERTS{alertstate="firing"}), "what", " ", "name", "alertname")`)},
	)
	w.keep(p, "monitoring.json")
}

func (w *world) keep(picture any, name string) {
	w.t.Helper()
	if err := plot.Save(picture, filepath.Join(*pictures, name)); err != nil {
		w.t.Fatal(err)
	}
}

// lines are what a query of PromQL has brought, each with the name in a label.
func (w *world) lines(begin time.Time, label model.LabelName, query string) (all []plot.Line) {
	w.t.Helper()
	got, _, _, err := w.api.QueryRange(w.t.Context(), query, promv1.Range{Start: begin, End: time.Now(), Step: scrape})
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	matrix, _ := got.(model.Matrix)
	for _, series := range matrix {
		l := plot.Line{Name: strings.TrimSpace(string(series.Metric[label]))}
		for _, v := range series.Values {
			l.Points = append(l.Points, plotter.XY{X: v.Timestamp.Time().Sub(begin).Seconds(), Y: float64(v.Value)})
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b plot.Line) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

var chinese = map[string]string{
	"Two incidents, as Prometheus sees them": "Prometheus 看到的两次故障",
	"time (s)":                               "时间（秒）",
	"blog: time until the token expires (s)": "blog：token 剩余时间（秒）",
	"club: time until the token expires (s)": "club：token 剩余时间（秒）",
	"shop: time until the token expires (s)": "shop：token 剩余时间（秒）",
	"reason of Ready":                        "Ready 的原因",
	"calls for a token in 10 s":              "10 秒内获取 token 的调用次数",
	"alerts that fire":                       "触发的告警",
	"WeChat is out of reach":                 "微信不可达",
	"blog: address refused":                  "blog：出口 IP 被拒",
	"success":                                "成功",
	"failure":                                "失败",
	"unchanged":                              "未变",
}
