package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// The plot is XML, on white, and shows each point, also where only one number of
// WeChatTokens was measured or nothing at all.
func TestPlotIsWellFormed(t *testing.T) {
	measured := func(counts ...int) *report {
		r := &report{}
		for _, n := range counts {
			s := r.result("apply", n)
			s.add(secretsThere, float64(n)/200, "s")
			s.add(ceilingTook, float64(n)/300, "s")
			s.used(used{cpuSeconds: float64(n) / 400, residentMB: 40 + float64(n)/100, peakMB: 45 + float64(n)/90}, n)
		}
		return r
	}
	for name, tc := range map[string]struct {
		report *report
		points int
	}{
		"Three":   {measured(100, 1000, 10_000), 3 * 5},
		"One":     {measured(100), 5},
		"Nothing": {&report{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			drawn := plot(tc.report.panels())
			read := xml.NewDecoder(bytes.NewReader(drawn))
			for {
				_, err := read.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%v in\n%s", err, drawn)
				}
			}
			text := string(drawn)
			if got := strings.Count(text, "<circle"); got != tc.points {
				t.Errorf("there are %d points, want %d", got, tc.points)
			}
			if !strings.Contains(text, `fill="white"`) || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Errorf("the plot is not on white, or has points nowhere:\n%s", text)
			}
		})
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0.05: "0.05", 1: "1", 12.345: "12.3", 999: "999", 1000: "1,000", 50_000: "50,000", 1e6: "1,000,000"} {
		if got := thousands(v); got != want {
			t.Errorf("%g is written %s, want %s", v, got, want)
		}
	}
}
