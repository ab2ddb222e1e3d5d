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
	const title, x = "files with the new token (%)", "time from the new token in the Secret to the new token in the file (s)"
	return &plot.Picture{
		X:   x,
		Log: true,
		Panels: []plot.Panel{{Title: title, Lines: []plot.Line{
			share("Touch", touched),
			share("Watch", watched),
		}}},
		Chinese: map[string]string{title: "已有新 token 的文件（%）", x: "从 Secret 到文件的时间（秒）"},
	}
}

func share(way string, sorted []time.Duration) plot.Line {
	const from, to = 0.01, 200.0 // seconds
	l := plot.Line{Name: fmt.Sprintf("%s, n=%d", way, len(sorted)), Jumps: true, Points: plotter.XYs{{X: from}}}
	for i, d := range sorted {
		l.Points = append(l.Points, plotter.XY{X: max(from, d.Seconds()), Y: 100 * float64(i+1) / float64(len(sorted))})
	}
	l.Points = append(l.Points, plotter.XY{X: to, Y: 100})
	return l
}
