//go:build e2e

package e2e

import (
	"fmt"
	"time"

	"gonum.org/v1/plot/plotter"

	"wechattoken.io/operator/hack/plot"
)

// picture shows which share of the files had the new token after which time. Both
// lists are sorted.
func picture(touched, watched []time.Duration) *plot.Picture {
	const title, y, x = "From the Secret to the file", "files that have the new token (%)", "time since the Secret has it (s)"
	return &plot.Picture{
		Title: title,
		X:     x,
		Log:   true,
		Marks: []float64{60},
		Panels: []plot.Panel{{Title: y, Lines: []plot.Line{
			share("Touch", touched),
			share("Watch", watched),
		}}},
		Chinese: map[string]string{title: "从 Secret 到文件", y: "已有新 token 的文件（%）", x: "Secret 里有新 token 之后的时间（秒）"},
	}
}

func share(way string, sorted []time.Duration) plot.Line {
	const from, to = 0.01, 200.0 // seconds
	l := plot.Line{Name: fmt.Sprintf("%s, n=%d", way, len(sorted)), Jumps: true, Points: plot.Points{{X: from}}}
	for i, d := range sorted {
		l.Points = append(l.Points, plotter.XY{X: max(from, d.Seconds()), Y: 100 * float64(i+1) / float64(len(sorted))})
	}
	l.Points = append(l.Points, plotter.XY{X: to, Y: 100})
	return l
}
