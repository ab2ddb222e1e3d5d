package consumers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
)

func TestTheMostSevereFindingIsReported(t *testing.T) {
	soon := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	late := soon.Add(time.Minute)
	type found struct {
		workload string
		finding
	}
	many := func(reason string, count int) (all []found) {
		for i := range count {
			all = append(all, found{fmt.Sprintf("d%02d", i), finding{reason: reason}})
		}
		return all
	}
	cases := map[string]struct {
		reason  string
		found   []found
		count   int
		want    string // the reason
		message []string
		wake    time.Time
	}{
		"None":     {reason: "Nobody uses the Secret.", want: v1alpha1.ReasonConsumersUpToDate, message: []string{"No workload"}},
		"Fine":     {reason: "There is nothing to say of them.", found: []found{{"a", finding{}}}, count: 1, want: v1alpha1.ReasonConsumersUpToDate, message: []string{"reach the workloads"}},
		"One":      {reason: "Its cause is reported.", found: []found{{"a", finding{reason: v1alpha1.ReasonRestartWaits, why: "it is paused"}}}, count: 1, want: v1alpha1.ReasonRestartWaits, message: []string{"The restart of a waits: it is paused"}},
		"Severe":   {reason: "A restart that goes on is no bad news.", found: []found{{"a", finding{reason: v1alpha1.ReasonRestarting}}, {"b", finding{reason: v1alpha1.ReasonConsumersStale}}}, count: 2, want: v1alpha1.ReasonConsumersStale, message: []string{"b: "}},
		"Earliest": {reason: "The earliest end counts, of whatever reason.", found: []found{{"a", finding{reason: v1alpha1.ReasonRestartRefused, wake: late}}, {"b", finding{reason: v1alpha1.ReasonRestarting, wake: soon}}}, count: 2, want: v1alpha1.ReasonRestartRefused, wake: soon},
		"Many":     {reason: "A message and a list are bounded.", found: many(v1alpha1.ReasonConsumersStale, 70), count: 70, want: v1alpha1.ReasonConsumersStale, message: []string{"d04 and 65 more", "first 64 of 70"}},
		"Long":     {reason: "A text of the API server may be long.", found: []found{{"a", finding{reason: v1alpha1.ReasonRestartRefused, why: strings.Repeat("字", 1000)}}}, count: 1, want: v1alpha1.ReasonRestartRefused, message: []string{"字…"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var all findings
			for _, f := range tc.found {
				all.add(f.workload, f.finding)
			}
			c := all.condition(tc.count)
			if c.Reason != tc.want || !all.wake.Equal(tc.wake) || len(c.Message) > 1024 {
				t.Errorf("%s got %s %q, wake %s", tc.reason, c.Reason, c.Message, all.wake)
			}
			for _, text := range tc.message {
				if !strings.Contains(c.Message, text) {
					t.Errorf("%s %q is not in %q", tc.reason, text, c.Message)
				}
			}
		})
	}
	var seventy []*workload
	for range 70 {
		seventy = append(seventy, &workload{name: fmt.Sprint(len(seventy))})
	}
	if got := len(listOf(seventy, nil, "shop")); got != maxConsumers {
		t.Errorf("%d listed, want %d", got, maxConsumers)
	}
}
