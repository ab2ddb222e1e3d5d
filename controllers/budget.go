package controllers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
)

// The operator stops itself before WeChat does. What was spent stands on the
// Secret with the token that it bought, and so survives a restart.
const (
	// forcedPerDay and forcedSpacing are WeChat's limits of force_refresh
	// ("getStableAccessToken"). When its day begins is not documented, so any 24
	// hours count. Classic mode keeps the spacing too: each of its calls ends a
	// token that consumers may just have read.
	forcedPerDay  = v1alpha1.ForcedRefreshesPerDay
	forcedSpacing = v1alpha1.ForcedRefreshSpacing

	// forcedSlack is kept beside the spacing. The Secret has whole seconds, so a
	// call is remembered as up to 1 s earlier than it was, and it may have been
	// longer on its way than the next one. A forced call that comes too soon is
	// refused, counts, and begins another wait.
	forcedSlack = 2 * time.Second

	// classicPerDay is WeChat's limit of /cgi-bin/token for a new account. The
	// last classicReserve calls of a day are not for forced refreshes, so that
	// no flood of them keeps a token from being replaced in time.
	classicPerDay  = v1alpha1.ClassicCallsPerDay
	classicReserve = v1alpha1.ClassicCallsReserved

	day = 24 * time.Hour
)

// beijing is the time zone of WeChat's days. They presumably begin at midnight
// there; no page says so.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// spend adds one forced call and forgets those that no longer count: in Classic
// mode only the spacing counts here, and so the last.
func spend(mode v1alpha1.Mode, forced []time.Time, now time.Time) []time.Time {
	if mode == v1alpha1.ModeClassic {
		return []time.Time{now}
	}
	kept := slices.DeleteFunc(slices.Clone(forced), func(t time.Time) bool { return now.Sub(t) >= day })
	return append(kept, now)
}

// union merges two lists of forced calls. Times on a Secret have whole seconds,
// so two in one second are one call: calls keep 30 s between them.
func union(a, b []time.Time) []time.Time {
	all := slices.Concat(a, b)
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, func(a, b time.Time) bool { return a.Unix() == b.Unix() })
}

// nextForced is the earliest time at which another forced call is allowed, and
// whether it is the daily limit that makes it wait.
func nextForced(mode v1alpha1.Mode, forced []time.Time, classic dayCount, now time.Time) (at time.Time, exhausted bool) {
	if mode == v1alpha1.ModeClassic && classic.on(now) >= classicPerDay-classicReserve {
		return nextDay(now), true
	}
	spent := spentOn(forced, now)
	if len(spent) == 0 {
		return now, false
	}
	if mode == v1alpha1.ModeStable && len(spent) >= forcedPerDay {
		return spent[len(spent)-forcedPerDay].Add(day), true
	}
	return spent[len(spent)-1].Add(forcedSpacing + forcedSlack), false
}

// spentOn are those of the forced calls that count now.
func spentOn(forced []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(forced), func(t time.Time) bool {
		return now.Sub(t) >= day || t.After(now.Add(clockSlack)) // one in the future is of a clock that was wrong
	})
}

// forcedLeft is how many forced calls the budget still has.
func forcedLeft(mode v1alpha1.Mode, forced []time.Time, classic dayCount, now time.Time) int {
	if mode == v1alpha1.ModeClassic {
		return max(classicLeft(classic, now)-classicReserve, 0)
	}
	return max(forcedPerDay-len(spentOn(forced, now)), 0)
}

// classicLeft is how many calls of the day of now are left.
func classicLeft(classic dayCount, now time.Time) int {
	return max(classicPerDay-classic.on(now), 0)
}

// dayCount is the number of calls made on one day of WeChat's.
type dayCount struct {
	day string // as 2006-01-02
	n   int
}

func dayOf(t time.Time) string { return t.In(beijing).Format(time.DateOnly) }

// nextDay is when the day of now ends.
func nextDay(now time.Time) time.Time {
	y, m, d := now.In(beijing).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, beijing)
}

// on is how many calls of the day of now are counted.
func (c dayCount) on(now time.Time) int {
	if c.day != dayOf(now) {
		return 0
	}
	return c.n
}

// add counts one call more.
func (c dayCount) add(now time.Time) dayCount { return dayCount{day: dayOf(now), n: c.on(now) + 1} }

// later is the count of the later day, or the larger one of the same day.
func (c dayCount) later(other dayCount) dayCount {
	if other.day > c.day || (other.day == c.day && other.n > c.n) {
		return other
	}
	return c
}

// String writes the count as the Secret holds it, such as "2026-11-22 37".
func (c dayCount) String() string {
	if c.day == "" {
		return ""
	}
	return fmt.Sprintf("%s %d", c.day, c.n)
}

// readDayCount reads what String wrote; anything else counts as nothing spent.
func readDayCount(s string) dayCount {
	date, count, _ := strings.Cut(s, " ")
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return dayCount{}
	}
	return dayCount{day: date, n: n}
}
