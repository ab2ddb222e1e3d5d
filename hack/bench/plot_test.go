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
	r := &report{}
	for i, n := range []int{100, 1000, 10_000} {
		r.Results = append(r.Results, &result{
			Scenario: "apply", N: n, Seconds: float64(n) / 200, Ratio: 1.4 + float64(i)/10, Tokens: n,
			Manager: &figures{CPUSeconds: float64(n) / 400, ResidentMB: 40 + float64(n)/100, PeakMB: 45 + float64(n)/90},
		})
	}
	for name, tc := range map[string]struct {
		results []*result
		points  int
	}{
		"Three":   {r.Results, 3 * 5},
		"One":     {r.Results[:1], 5},
		"Nothing": {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			drawn := plot((&report{Results: tc.results}).panels())
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
