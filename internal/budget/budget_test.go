package budget

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ago(ds ...time.Duration) (times []time.Time) {
	for _, d := range ds {
		times = append(times, noon.Add(-d))
	}
	return times
}

func fullDay() []time.Time {
	var all []time.Time
	for i := range ForcedPerDay {
		all = append(all, noon.Add(-23*time.Hour+time.Duration(i)*time.Minute))
	}
	return all
}

func TestNextForced(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason    string
		mode      v1alpha1.Mode
		spent     Spent
		want      time.Duration // from now
		exhausted bool
		left      int
	}{
		"Never":       {"Nothing was spent.", v1alpha1.ModeStable, Spent{}, 0, false, 20},
		"LongAgo":     {"Yesterday does not count.", v1alpha1.ModeStable, Spent{Forced: ago(25 * time.Hour)}, 0, false, 20},
		"Future":      {"A clock was wrong.", v1alpha1.ModeStable, Spent{Forced: ago(-time.Hour)}, 0, false, 20},
		"JustNow":     {"30 s between two, and a bit.", v1alpha1.ModeStable, Spent{Forced: ago(10 * time.Second)}, 22 * time.Second, false, 19},
		"Full":        {"20 in any 24 hours; the first of them frees a place.", v1alpha1.ModeStable, Spent{Forced: fullDay()}, time.Hour, true, 0},
		"OverFull":    {"More than 20, as after a merge: still 20 in any 24 hours.", v1alpha1.ModeStable, Spent{Forced: append(ago(23*time.Hour+time.Minute), fullDay()...)}, time.Hour, true, 0},
		"FullClassic": {"Mode Classic has no such limit.", v1alpha1.ModeClassic, Spent{Forced: fullDay()}, -22*time.Hour - 11*time.Minute, false, 1800},
		"ClassicDay":  {"But one of its own, until midnight in Beijing.", v1alpha1.ModeClassic, Spent{Classic: Calls{"2026-01-02", 1800}}, 4 * time.Hour, true, 0},
		"ClassicPast": {"Another day's count is past.", v1alpha1.ModeClassic, Spent{Classic: Calls{"2026-01-01", 2000}}, 0, false, 1800},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, exhausted := tc.spent.NextForced(tc.mode, noon)
			if got := at.Sub(noon); exhausted != tc.exhausted || (got != tc.want && (got > 0 || tc.want > 0)) {
				t.Errorf("%s\nNextForced() = now%+v, %t; want now%+v, %t", tc.reason, got, exhausted, tc.want, tc.exhausted)
			}
			if got := tc.spent.ForcedLeft(tc.mode, noon); got != tc.left {
				t.Errorf("%s\n%d are left, want %d", tc.reason, got, tc.left)
			}
		})
	}
}

// A budget that somebody has edited blocks no more than a day's use would.
func TestBounded(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason      string
		spent, want Spent
	}{
		"Usual":      {"It stays as it is.", Spent{Forced: ago(time.Hour), Classic: Calls{"2026-01-02", 37}}, Spent{Forced: ago(time.Hour), Classic: Calls{"2026-01-02", 37}}},
		"TooMany":    {"WeChat counts 20.", Spent{Forced: append(ago(23*time.Hour+time.Minute), fullDay()...)}, Spent{Forced: fullDay()}},
		"Future":     {"Nobody can have made these.", Spent{Forced: ago(-time.Hour), Classic: Calls{"2030-01-01", 2000}}, Spent{Forced: []time.Time{}}},
		"TooOften":   {"WeChat allows 2,000.", Spent{Forced: []time.Time{}, Classic: Calls{"2026-01-02", 1 << 30}}, Spent{Forced: []time.Time{}, Classic: Calls{"2026-01-02", 2000}}},
		"Negative":   {"Calls do not come back.", Spent{Forced: []time.Time{}, Classic: Calls{"2026-01-02", -5}}, Spent{Forced: []time.Time{}}},
		"ForeignDay": {"Only today counts.", Spent{Forced: []time.Time{}, Classic: Calls{"2026-01-01", 5}}, Spent{Forced: []time.Time{}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, tc.spent.Bounded(noon)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSpendingIsNotForgotten(t *testing.T) {
	t.Parallel()
	spent := Spent{Forced: ago(25*time.Hour, time.Hour)}.Force(v1alpha1.ModeStable, noon)
	if diff := cmp.Diff(ago(time.Hour, 0), spent.Forced); diff != "" {
		t.Errorf("forced calls of this day (-want +got):\n%s", diff)
	}
	more, fewer := Spent{Classic: Calls{"2026-01-02", 9}}, Spent{Forced: ago(time.Hour), Classic: Calls{"2026-01-02", 3}}
	if got := more.Merge(fewer); got.Classic.Calls != 9 || len(got.Forced) != 1 {
		t.Errorf("merged to %+v, want the larger count and the forced call", got)
	}
	if got := fewer.Merge(fewer); len(got.Forced) != 1 {
		t.Errorf("one call counts as %d", len(got.Forced))
	}
}
