package main

import (
	"strings"
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	var hundred []time.Duration
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i)*time.Millisecond)
	}
	cases := map[string]struct {
		reason      string
		delays      []time.Duration
		share, want float64
	}{
		"One":    {"one is all of them", []time.Duration{1500 * time.Microsecond}, 0.5, 1.5},
		"Two":    {"the median of two is the smaller", []time.Duration{2 * time.Millisecond, time.Millisecond}, 0.5, 1},
		"Median": {"in whatever order", hundred, 0.5, 50},
		"P99":    {"one of a hundred is larger", hundred, 0.99, 99},
		"Max":    {"none is larger", hundred, 1, 100},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := percentile(tc.delays, tc.share); got != tc.want {
				t.Errorf("%s: it is %g, want %g", tc.reason, got, tc.want)
			}
		})
	}
}

// printed is the report of one scenario with 1,000 WeChatTokens.
func printed(t *testing.T, scenario string, measure func(*result)) string {
	t.Helper()
	r := &report{}
	measure(r.result(scenario, 1000))
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheReportSaysWhatWasMissed(t *testing.T) {
	cases := map[string]struct {
		reason  string
		measure func(*result)
		missed  []string
	}{
		"Reached": {"what is reached is not missed", func(r *result) { r.judge("just", 1, 1, "s") }, nil},
		"Missed":  {"beyond the target", func(r *result) { r.judge("beyond", 1.1, 1, "s") }, []string{"beyond"}},
		"Added":   {"a figure without a target is of interest only", func(r *result) { r.add("large", 1e9, "") }, nil},
		"Ratio": {"it is to the mean of the ceilings", func(r *result) {
			r.took = 4400 * time.Millisecond
			r.ceiling(3500 * time.Millisecond)
			r.ceiling(4500 * time.Millisecond)
		}, nil},
		"Slow": {"more than the ratio", func(r *result) {
			r.took = 4400 * time.Millisecond
			r.ceiling(3500 * time.Millisecond)
			r.ceiling(4 * time.Second)
		}, []string{besideCeiling}},
		"Busy": {"ceilings that lie apart are in doubt", func(r *result) {
			r.took = time.Second
			r.ceiling(4 * time.Second)
			r.ceiling(2 * time.Second)
		}, []string{"… the longer ceiling beside the shorter"}},
		"Memory":   {"the limit of 1,000", func(r *result) { r.used(used{residentMB: 51}, 0) }, []string{residentMemory}},
		"Requests": {"five for a token", func(r *result) { r.used(used{requests: counts{"GET secrets": 10}}, 2) }, []string{requestsEach}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out := printed(t, "apply", tc.measure)
			if n := strings.Count(out, "NOT MET"); n != len(tc.missed) {
				t.Errorf("%s: %d are missed, want %q:\n%s", tc.reason, n, tc.missed, out)
			}
			for _, what := range tc.missed {
				if !strings.Contains(out, "NOT MET: apply with 1000: "+what) {
					t.Errorf("%s: %q is not missed:\n%s", tc.reason, what, out)
				}
			}
		})
	}
}

func TestStrayWrites(t *testing.T) {
	cases := map[string]struct {
		reason string
		made   counts
		want   int
	}{
		"Forced":  {"a Secret, a status, an event, and any reads", counts{"APPLY secrets": 1, "PATCH wechattokens/status": 1, "POST events": 1, "GET secrets": 7}, 0},
		"More":    {"a write too many", counts{"APPLY secrets": 2, "PATCH wechattokens/status": 1, "POST events": 1}, 1},
		"Missing": {"what was forced must be written", counts{"APPLY secrets": 1}, 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := strayWrites(tc.made); got != tc.want {
				t.Errorf("%s: %d are stray, want %d", tc.reason, got, tc.want)
			}
		})
	}
}
