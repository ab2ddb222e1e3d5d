package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
)

// budget is what is left of WeChat's limits.
type budget struct {
	forced int       // forced refreshes that are left; in mode Classic those of the day
	calls  int       // calls of mode Classic that are left in the day
	next   time.Time // when the next forced refresh is possible if none is left
}

// beijing is the time zone of WeChat's days.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// budgetIn reads the annotations of the Secret that holds a token.
func budgetIn(annotations map[string]string, mode v1alpha1.Mode, now time.Time) budget {
	if mode == v1alpha1.ModeClassic {
		day, count, _ := strings.Cut(annotations[v1alpha1.AnnotationClassicCalls], " ")
		n, err := strconv.Atoi(count)
		if err != nil || day != now.In(beijing).Format(time.DateOnly) {
			n = 0
		}
		calls := max(0, v1alpha1.ClassicCallsPerDay-n)
		y, m, d := now.In(beijing).Date()
		return budget{forced: max(0, calls-v1alpha1.ClassicCallsReserved), calls: calls, next: time.Date(y, m, d+1, 0, 0, 0, 0, beijing)}
	}
	const day = 24 * time.Hour
	var spent []time.Time
	for part := range strings.SplitSeq(annotations[v1alpha1.AnnotationForcedCalls], ",") {
		seconds, err := strconv.ParseInt(part, 10, 64)
		if at := time.Unix(seconds, 0); err == nil && now.Sub(at) < day {
			spent = append(spent, at)
		}
	}
	slices.SortFunc(spent, time.Time.Compare)
	b := budget{forced: max(0, v1alpha1.ForcedRefreshesPerDay-len(spent))}
	if b.forced == 0 {
		b.next = spent[len(spent)-v1alpha1.ForcedRefreshesPerDay].Add(day)
	}
	return b
}
