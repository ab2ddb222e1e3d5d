package main

import (
	"cmp"
	"slices"

	"gonum.org/v1/plot/plotter"

	"wechattoken.io/operator/hack/plot"
)

// keep keeps a picture of what depends on the number of WeChatTokens in a file, if
// one is named.
func (r *report) keep(file string) error {
	if file == "" {
		return nil
	}
	return plot.Save(r.picture(), file)
}

func (r *report) picture() *plot.Picture {
	p := &plot.Picture{Title: "One replica, by the number of WeChatTokens", X: "WeChatTokens", Log: true, Chinese: chinese, Panels: []plot.Panel{
		{Title: "time until all Secrets hold a token (s)", Lines: []plot.Line{
			r.line("operator", "apply", secretsThere),
			r.line("ceiling: a client that only makes the same writes", "apply", ceilingTook),
		}},
		{Title: "time until a Secret is refreshed (ms)", Lines: []plot.Line{
			r.line("operator, p99", "forced", forcedMs+", p99"),
			r.line("operator, p50", "forced", forcedMs+", p50"),
			r.line("ceiling, p50", "forced", forcedCeiling+", p50"),
		}},
		{Title: "memory (MB)", Lines: []plot.Line{
			r.line("right after all were applied", "apply", residentMemory),
			r.line("a minute after a start", "idle", residentMemory),
		}},
		{Title: "CPU time for a new token (ms)", Lines: []plot.Line{
			r.line("applied", "apply", cpuOfToken),
			r.line("due", "due", cpuOfToken),
			r.line("forced", "forced", cpuOfToken),
		}},
	}}
	for i := range p.Panels {
		p.Panels[i].Log = true
	}
	return p
}

// line has a figure of a scenario at each number of WeChatTokens.
func (r *report) line(name, scenario, what string) plot.Line {
	l := plot.Line{Name: name}
	for _, f := range r.Figures {
		if f.Scenario == scenario && f.What == what && f.Value > 0 {
			l.Points = append(l.Points, plotter.XY{X: float64(f.N), Y: f.Value})
		}
	}
	slices.SortFunc(l.Points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	return l
}

var chinese = map[string]string{
	"One replica, by the number of WeChatTokens": "一个副本，随 WeChatToken 数量的变化",
	"WeChatTokens": "WeChatToken 数量",
	"time until all Secrets hold a token (s)":           "所有 Secret 都有 token 所需时间（秒）",
	"time until a Secret is refreshed (ms)":             "刷新一个 Secret 所需时间（毫秒）",
	"memory (MB)":                                       "内存（MB）",
	"CPU time for a new token (ms)":                     "每个新 token 的 CPU 时间（毫秒）",
	"ceiling: a client that only makes the same writes": "上限：只做同样写入的客户端",
	"operator, p99":                                     "operator，p99",
	"operator, p50":                                     "operator，p50",
	"ceiling, p50":                                      "上限，p50",
	"right after all were applied":                      "刚全部创建完",
	"a minute after a start":                            "启动一分钟后",
	"applied":                                           "新建",
	"due":                                               "到期",
	"forced":                                            "强制刷新",
}
