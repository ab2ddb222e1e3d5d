package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPercentilesOf(t *testing.T) {
	var hundred []time.Duration
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i)*time.Millisecond)
	}
	cases := map[string]struct {
		reason string
		delays []time.Duration
		want   percentiles
	}{
		"None":    {"nothing was measured", nil, percentiles{}},
		"One":     {"one is all of them", []time.Duration{1500 * time.Microsecond}, percentiles{1, 1.5, 1.5, 1.5, 1.5}},
		"Two":     {"the median of two is the smaller", []time.Duration{2 * time.Millisecond, time.Millisecond}, percentiles{2, 1, 2, 2, 2}},
		"Hundred": {"in whatever order", hundred, percentiles{100, 50, 90, 99, 100}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, percentilesOf(tc.delays)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// The ratio is to the mean of the ceilings.
func TestRatioIsToTheMeanOfTheCeilings(t *testing.T) {
	var r result
	r.took(6*time.Second, 3*time.Second, 5*time.Second)
	if r.Ratio != 1.5 {
		t.Errorf("6 s beside 3 s and 5 s is a ratio of %g, want 1.5", r.Ratio)
	}
}
