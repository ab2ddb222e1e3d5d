package main

import (
	"strings"
	"testing"
)

func TestVerdicts(t *testing.T) {
	small := &figures{ResidentMB: 50, Requests: counts{"APPLY secrets": 1, "PATCH wechattokens/status": 1, "POST events": 1}}
	cases := map[string]struct {
		reason  string
		results []*result
		met     int
		missed  []string // what the missed ones begin with
	}{
		"Nothing": {reason: "what was not measured is not judged"},
		"Apply": {
			reason:  "three requests for one token",
			results: []*result{{Scenario: "apply", N: 1000, Ratio: 1.5, Tokens: 1, Manager: small}},
			met:     3,
		},
		"SlowApply": {
			reason:  "beyond the ratio",
			results: []*result{{Scenario: "apply", N: 1000, Ratio: 1.6, Tokens: 1, Manager: small}},
			met:     2, missed: []string{"applied until"},
		},
		"LargeForced": {
			reason: "each row by itself",
			results: []*result{{
				Scenario: "forced", N: 10_000, Seconds: 4, Manager: &figures{ResidentMB: 151},
				Latency: []latency{{Ours: percentiles{P50: 16, P99: 51}}, {What: "500 forced at once"}},
			}},
			missed: []string{"forced refresh, p50", "forced refresh, p99", "500 forced at once", "resident memory"},
		},
		"Restart": {
			reason:  "nothing but what was forced",
			results: []*result{{Scenario: "restart", N: 100, Seconds: 1, Manager: small, Numbers: []number{{What: strayCalls}}}},
			met:     3,
		},
		"NoisyRestart": {
			reason: "a write too many and a call too many",
			results: []*result{{
				Scenario: "restart", N: 100, Seconds: 1, Numbers: []number{{What: strayCalls, Value: 1}},
				Manager: &figures{Requests: counts{"APPLY secrets": 2, "PATCH wechattokens/status": 1, "POST events": 1}},
			}},
			met: 1, missed: []string{"restart, WeChat calls", "restart, writes"},
		},
		"SilentRestart": {
			reason: "what was forced must be written",
			results: []*result{{
				Scenario: "restart", N: 100, Seconds: 1, Numbers: []number{{What: strayCalls}},
				Manager: &figures{Requests: counts{"APPLY secrets": 1}},
			}},
			met: 2, missed: []string{"restart, writes"},
		},
		"Tenants": {
			reason: "a number that is to reach something is judged, and what was not waited for is missed",
			results: []*result{{Scenario: "tenants", Numbers: []number{
				{What: "just", Value: 1, AtMost: new(1.0)},
				{What: "ended", Value: 1, AtMost: new(1.0), Ended: true},
				{What: "reads", Value: 2.1, AtMost: new(2.0)},
				{What: "of interest", Value: 3},
			}}},
			met: 1, missed: []string{"ended", "reads"},
		},
		"Failed": {
			reason:  "what could not be done is not judged",
			results: []*result{{Scenario: "apply", N: 1000, Manager: small, Error: "it broke"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			met, missed := 0, []string(nil)
			for _, v := range verdicts(&report{Results: tc.results}) {
				if v.Met {
					met++
				} else {
					missed = append(missed, v.What)
				}
			}
			if met != tc.met || len(missed) != len(tc.missed) {
				t.Fatalf("%s: %d are met and %q are not, want %d and %q", tc.reason, met, missed, tc.met, tc.missed)
			}
			for i, what := range missed {
				if !strings.HasPrefix(what, tc.missed[i]) {
					t.Errorf("%s: %q is not met, want %q", tc.reason, what, tc.missed[i])
				}
			}
		})
	}
}

// A ratio is in doubt when the machine did other things meanwhile.
func TestDoubt(t *testing.T) {
	for name, tc := range map[string]struct {
		ceilings []float64
		want     bool
	}{
		"Alike": {[]float64{3, 3.9}, false},
		"Apart": {[]float64{4, 3}, true},
		"One":   {[]float64{3}, false},
		"None":  {nil, false},
	} {
		if got := doubt(tc.ceilings) != ""; got != tc.want {
			t.Errorf("%s: doubt(%v) is %t, want %t", name, tc.ceilings, got, tc.want)
		}
	}
}
