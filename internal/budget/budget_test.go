package budget

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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
		"Both":        {"A place is free in a second, and the pause is longer.", v1alpha1.ModeStable, Spent{Forced: append(ago(day-time.Second), append(fullDay()[2:], ago(10*time.Second)...)...)}, 22 * time.Second, false, 0},
		"Unsorted":    {"The last call counts, wherever it is stored.", v1alpha1.ModeStable, Spent{Forced: ago(10*time.Second, time.Hour)}, 22 * time.Second, false, 18},
		"Twice":       {"One call counts once.", v1alpha1.ModeStable, Spent{Forced: slices.Repeat(ago(time.Hour), 20)}, 0, false, 19},
		"SlightlyFar": {"The clock of another replica may be a bit ahead.", v1alpha1.ModeStable, Spent{Forced: ago(-30 * time.Second)}, 62 * time.Second, false, 19},
		"ClassicEdit": {"Calls do not come back.", v1alpha1.ModeClassic, Spent{Classic: Calls{"2026-01-02", -5}}, 0, false, 1800},
		"ClassicPast": {"Another day's count is past.", v1alpha1.ModeClassic, Spent{Classic: Calls{"2026-01-01", 2000}}, 0, false, 1800},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, exhausted := tc.spent.NextForced(Terms{Mode: tc.mode}, noon)
			if got := at.Sub(noon); exhausted != tc.exhausted || (got != tc.want && (got > 0 || tc.want > 0)) {
				t.Errorf("%s\nNextForced() = now%+v, %t; want now%+v, %t", tc.reason, got, exhausted, tc.want, tc.exhausted)
			}
			if got := tc.spent.ForcedLeft(Terms{Mode: tc.mode}, noon); got != tc.left {
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
		"TooOften":   {"Nobody can have made so many.", Spent{Forced: []time.Time{}, Classic: Calls{"2026-01-02", 1 << 30}}, Spent{Forced: []time.Time{}, Classic: Calls{"2026-01-02", 1_000_000}}},
		"Negative":   {"Calls do not come back.", Spent{Forced: []time.Time{}, Classic: Calls{"2026-01-02", -5}}, Spent{Forced: []time.Time{}}},
		"Unsorted":   {"The last 20 stay.", Spent{Forced: append(fullDay(), ago(23*time.Hour+time.Minute)...)}, Spent{Forced: fullDay()}},
		"Twice":      {"One call counts once.", Spent{Forced: slices.Repeat(ago(time.Hour), 1000)}, Spent{Forced: ago(time.Hour)}},
		"Questions":  {"500 a day.", Spent{Verify: Calls{"2026-01-02", 501}}, Spent{Verify: Calls{"2026-01-02", 500}}},
		"Elsewhere":  {"Only the last 24 hours count.", Spent{Elsewhere: ago(25*time.Hour, time.Hour, -time.Hour)}, Spent{Elsewhere: ago(time.Hour)}},
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
	if got := more.Merge(Spent{Classic: Calls{"2026-01-01", 2000}}); got.Classic != more.Classic {
		t.Errorf("merged to %+v, want the later day", got)
	}
	asked := Spent{}.CallVerify(noon).SeenElsewhere(noon.Add(-time.Hour)).Merge(Spent{}.CallVerify(noon).CallVerify(noon)).SeenElsewhere(noon)
	if diff := cmp.Diff(Spent{Verify: Calls{"2026-01-02", 2}, Elsewhere: ago(time.Hour, 0)}, asked); diff != "" {
		t.Errorf("questions, and what was seen (-want +got):\n%s", diff)
	}
	if got := (Spent{Verify: Calls{"2026-01-02", VerifyPerDay}}); got.VerifyLeft(noon) != 0 || got.VerifyLeft(noon.Add(12*time.Hour)) != VerifyPerDay {
		t.Errorf("%d questions are left of a day that is used up, and %d of the next", got.VerifyLeft(noon), got.VerifyLeft(noon.Add(12*time.Hour)))
	}
}

// Mode Classic has no limit of 20, so its calls must not use up that of Stable.
func TestClassicKeepsTheLastForcedCall(t *testing.T) {
	t.Parallel()
	spent := Spent{Forced: ago(time.Hour)}.Force(v1alpha1.ModeClassic, noon).CallClassic(noon)
	if diff := cmp.Diff(Spent{Forced: ago(0), Classic: Calls{"2026-01-02", 1}}, spent); diff != "" {
		t.Errorf("spent (-want +got):\n%s", diff)
	}
	if got := (Spent{Classic: Calls{"2026-01-02", math.MaxInt}}).CallClassic(noon).ClassicLeft(Terms{}, noon); got != 0 {
		t.Errorf("%d calls are left of a day with too many", got)
	}
}

// A test account (测试号) has 200 calls a day, of which a tenth is kept for what is due.
func TestTestAccountsHaveFewCalls(t *testing.T) {
	t.Parallel()
	terms := Terms{v1alpha1.ModeClassic, 200}
	for calls, want := range map[int]struct {
		forced, left int
		exhausted    bool
	}{0: {180, 200, false}, 179: {1, 21, false}, 180: {0, 20, true}, 200: {0, 0, true}, 2000: {0, 0, true}} {
		spent := Spent{Classic: Calls{"2026-01-02", calls}}
		_, exhausted := spent.NextForced(terms, noon)
		if spent.ForcedLeft(terms, noon) != want.forced || spent.ClassicLeft(terms, noon) != want.left || exhausted != want.exhausted {
			t.Errorf("after %d calls %d forced refreshes and %d calls are left, exhausted %t, want %+v", calls, spent.ForcedLeft(terms, noon), spent.ClassicLeft(terms, noon), exhausted, want)
		}
	}
}

// What is remembered stays small, whatever it is merged with: it is written to each
// Secret of the account.
func TestSpentStaysSmall(t *testing.T) {
	t.Parallel()
	var spent Spent
	for i := range 1000 {
		now := noon.Add(time.Duration(i) * time.Minute)
		spent = spent.Merge(Spent{Forced: []time.Time{now, now.Add(time.Second)}}).Force(v1alpha1.ModeStable, now.Add(30*time.Second))
		if len(spent.Forced) > ForcedPerDay {
			t.Fatalf("%d forced calls are kept after %d rounds", len(spent.Forced), i+1)
		}
	}
	// A clock that was wrong does not use up the budget of later days.
	if got := (Spent{Forced: ago(-48 * time.Hour)}).Force(v1alpha1.ModeStable, noon).Forced; !slices.Equal(got, ago(0)) {
		t.Errorf("%v are kept, want only the call of now", got)
	}
}

func TestNextDayBeginsInBeijing(t *testing.T) {
	t.Parallel()
	for now, want := range map[string]string{
		"2026-01-02T15:59:59Z": "2026-01-02T16:00:00Z",
		"2026-01-02T16:00:00Z": "2026-01-03T16:00:00Z",
		"2026-12-31T17:00:00Z": "2027-01-01T16:00:00Z",
	} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := NextDay(at).UTC().Format(time.RFC3339); got != want {
			t.Errorf("after %s: got %s, want %s", now, got, want)
		}
	}
}

// Whatever is stored, the budget that counts is bounded, and a call is possible at
// the time that NextForced says.
func FuzzSpent(f *testing.F) {
	f.Add([]byte{}, int16(0), 0, false)
	f.Add([]byte("\x00\x00\x00\x07\xff\xff\x7f\xff\x80\x00"), int16(0), 1800, true)
	f.Add(bytes.Repeat([]byte("ab"), 30), int16(-1), -1, false)
	f.Fuzz(func(t *testing.T, stored []byte, days int16, calls int, isClassic bool) {
		mode := v1alpha1.ModeStable
		if isClassic {
			mode = v1alpha1.ModeClassic
		}
		terms := Terms{Mode: mode}
		raw := Spent{Classic: Calls{Day: dayOf(noon.AddDate(0, 0, int(days))), Calls: calls}}
		for i := 1; i < len(stored); i += 2 { // from 36 hours before noon to 36 hours after
			raw.Forced = append(raw.Forced, noon.Add(time.Duration(int16(stored[i-1])<<8|int16(stored[i]))*4*time.Second))
		}
		before := slices.Clone(raw.Forced)
		got := raw.Bounded(noon)
		if len(got.Forced) > ForcedPerDay || !slices.IsSortedFunc(got.Forced, time.Time.Compare) || got.Classic.Calls < 0 || got.Classic.Calls > mostPerDay {
			t.Errorf("%+v is not bounded", got)
		}
		for _, at := range got.Forced {
			if noon.Sub(at) >= day || at.After(noon.Add(clockSlack)) {
				t.Errorf("%s counts at %s", at, noon)
			}
		}
		equal := cmpopts.EquateEmpty()
		for name, other := range map[string]Spent{"again": got.Bounded(noon), "merged": got.Merge(got), "merged with nothing": got.Merge(Spent{})} {
			if diff := cmp.Diff(got, other, equal); diff != "" {
				t.Errorf("%s, a bounded budget changes (-before +after):\n%s", name, diff)
			}
		}
		if a, b := raw.Merge(got), got.Merge(raw); !cmp.Equal(a.Forced, b.Forced, equal) || a.Classic != b.Classic {
			t.Errorf("merged to %+v one way, and to %+v the other", a, b)
		}
		if raw.ForcedLeft(terms, noon) != got.ForcedLeft(terms, noon) || raw.ClassicLeft(terms, noon) != got.ClassicLeft(terms, noon) {
			t.Errorf("less or more is left of %+v than of %+v", raw, got)
		}
		at, exhausted := got.NextForced(terms, noon)
		if rawAt, rawExhausted := raw.NextForced(terms, noon); !rawAt.Equal(at) || rawExhausted != exhausted {
			t.Errorf("the next forced call is at %s, and at %s of the bounded budget", rawAt, at)
		}
		if at.Before(noon) {
			at = noon
		}
		if then, _ := got.NextForced(terms, at); then.After(at) {
			t.Errorf("at %s, which was the time of the next forced call, that is %s", at, then)
		}
		after := got.Force(mode, noon)
		if next, _ := after.NextForced(terms, noon); next.Before(noon.Add(ForcedSpacing)) {
			t.Errorf("after a forced call at %s the next is at %s", noon, next)
		}
		if !slices.Equal(before, raw.Forced) {
			t.Error("the budget that was asked has changed")
		}
	})
}
