//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// The size of the plot and of its margins, in pixels.
const (
	width, height = 720, 360
	left, bottom  = 60, 50
	right, top    = 20, 30
)

// plot draws which share of the files had the new token after which time, on a
// logarithmic axis. Both lists are sorted.
func plot(touched, watched []time.Duration) []byte {
	const from, to = 0.01, 200.0 // seconds
	x := func(seconds float64) float64 {
		share := (math.Log10(max(seconds, from)) - math.Log10(from)) / (math.Log10(to) - math.Log10(from))
		return left + share*(width-left-right)
	}
	y := func(share float64) float64 { return height - bottom - share*(height-bottom-top) }

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for _, s := range []float64{0.01, 0.1, 1, 10, 100} {
		fmt.Fprintf(&b, `<path d="M%.1f %d V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%g s</text>`+"\n", x(s), top, height-bottom, x(s), height-bottom+18, s)
	}
	for _, share := range []float64{0, 0.5, 1} {
		fmt.Fprintf(&b, `<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g %%</text>`+"\n", left, y(share), width-right, left-8, y(share)+4, share*100)
	}
	for _, line := range []struct {
		name, colour string
		delays       []time.Duration
		at           float64
	}{{"Touch", "#2a7f3f", touched, 0.85}, {"Watch", "#b5541c", watched, 0.7}} {
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="2" d="M%d %.1f`, line.colour, left, y(0))
		for i, d := range line.delays {
			fmt.Fprintf(&b, ` H%.1f V%.1f`, x(d.Seconds()), y(float64(i+1)/float64(len(line.delays))))
		}
		fmt.Fprintf(&b, ` H%d"/><text x="%d" y="%.1f" fill="%s" font-weight="bold">%s, n=%d</text>`+"\n", width-right, left+12, y(line.at), line.colour, line.name, len(line.delays))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">time from the new token in the Secret to the new token in the file</text>`+"\n", (width+left)/2, height-10)
	b.WriteString("</svg>\n")
	return b.Bytes()
}
