package controllers

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestDue(t *testing.T) {
	before := func(d time.Duration) func(*v1alpha1.WeChatToken) {
		return func(wt *v1alpha1.WeChatToken) {
			classic(wt)
			wt.Spec.RefreshBefore = &metav1.Duration{Duration: d}
		}
	}
	cases := map[string]struct {
		reason           string
		mod              func(*v1alpha1.WeChatToken)
		life, window     time.Duration
		earliest, latest time.Duration // before the end
	}{
		"Stable":           {"2 s and up to 10 s more into the window.", func(*v1alpha1.WeChatToken) {}, 2 * time.Hour, 5 * time.Minute, 298 * time.Second, 288 * time.Second},
		"StableRemaining":  {"The life that is left does not count, the end does.", func(*v1alpha1.WeChatToken) {}, 345 * time.Second, 5 * time.Minute, 298 * time.Second, 288 * time.Second},
		"StableCompressed": {"All in proportion.", func(*v1alpha1.WeChatToken) {}, 40 * time.Second, 10 * time.Second, 8 * time.Second, 7600 * time.Millisecond},
		"ClassicDefault":   {"10 minutes, and a bit earlier.", classic, 2 * time.Hour, 0, 630 * time.Second, 600 * time.Second},
		"ClassicSet":       {"As the spec says.", before(time.Minute), 2 * time.Hour, 0, 63 * time.Second, 60 * time.Second},
		"ClassicLongest":   {"", before(time.Hour), 2 * time.Hour, 0, 63 * time.Minute, 60 * time.Minute},
		"ClassicShortLife": {"Never more than half of the life.", before(time.Hour), 10 * time.Minute, 0, 315 * time.Second, 300 * time.Second},
		"ClassicTiny":      {"", classic, 40 * time.Second, 0, 21 * time.Second, 20 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			end := noon.Add(tc.life)
			token := &issued{obtained: noon, expires: end}
			for i := range 1000 {
				wt := weChatToken(tc.mod)
				wt.UID = types.UID(fmt.Sprint("uid", i))
				got := due(wt, token, tc.window)
				if left := end.Sub(got); left > tc.earliest || left < tc.latest {
					t.Fatalf("%s\ndue %s before the end, want %s to %s", tc.reason, left, tc.earliest, tc.latest)
				}
			}
		})
	}
}

// Objects of one moment spread evenly, and each keeps its place.
func TestOffsetSpreads(t *testing.T) {
	const n, buckets = 10_000, 10
	var seen [buckets]int
	for i := range n {
		uid := types.UID(fmt.Sprintf("5388e478-bec1-4eaf-bf4f-%012x", i*7919))
		d := offset(uid, time.Minute)
		if d < 0 || d >= time.Minute || d != offset(uid, time.Minute) {
			t.Fatalf("offset %s", d)
		}
		seen[int(d*buckets/time.Minute)]++
	}
	for i, count := range seen {
		if count < n/buckets*8/10 || count > n/buckets*12/10 {
			t.Errorf("%d of %d objects in tenth %d", count, n, i)
		}
	}
}

func TestNextForced(t *testing.T) {
	ago := func(ds ...time.Duration) (times []time.Time) {
		for _, d := range ds {
			times = append(times, noon.Add(-d))
		}
		return times
	}
	var full []time.Time
	for i := range forcedPerDay {
		full = append(full, noon.Add(-23*time.Hour+time.Duration(i)*time.Minute))
	}
	cases := map[string]struct {
		reason    string
		mode      v1alpha1.Mode
		forced    []time.Time
		classic   dayCount
		want      time.Duration // from now
		exhausted bool
	}{
		"Never":       {"", v1alpha1.ModeStable, nil, dayCount{}, 0, false},
		"LongAgo":     {"Yesterday does not count.", v1alpha1.ModeStable, ago(25 * time.Hour), dayCount{}, 0, false},
		"JustNow":     {"30 s between two, and a bit.", v1alpha1.ModeStable, ago(10 * time.Second), dayCount{}, 22 * time.Second, false},
		"Full":        {"20 in any 24 hours; the first of them frees a place.", v1alpha1.ModeStable, full, dayCount{}, time.Hour, true},
		"OverFull":    {"More than 20, as after a merge: still 20 in any 24 hours.", v1alpha1.ModeStable, append(ago(23*time.Hour+time.Minute), full...), dayCount{}, time.Hour, true},
		"FullClassic": {"Classic mode has no such limit.", v1alpha1.ModeClassic, full, dayCount{}, -22*time.Hour - 11*time.Minute, false},
		"ClassicDay":  {"But one of its own, until midnight in Beijing.", v1alpha1.ModeClassic, nil, dayCount{"2026-01-02", 1800}, 4 * time.Hour, true},
		"ClassicPast": {"Another day's count is past.", v1alpha1.ModeClassic, nil, dayCount{"2026-01-01", 2000}, 0, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			at, exhausted := nextForced(tc.mode, tc.forced, tc.classic, noon)
			if got := at.Sub(noon); exhausted != tc.exhausted || (got != tc.want && (got > 0 || tc.want > 0)) {
				t.Errorf("%s\nnextForced() = now%+v, %t; want now%+v, %t", tc.reason, got, exhausted, tc.want, tc.exhausted)
			}
		})
	}
}

// What stands in the annotations is read back, and nonsense counts as nothing.
func TestBudgetsAreReadBack(t *testing.T) {
	times := []time.Time{time.Unix(1, 0), time.Unix(1764000000, 0)}
	if got := readTimes(writeTimes(times)); len(got) != 2 || !got[0].Equal(times[0]) || !got[1].Equal(times[1]) {
		t.Errorf("times %v read back as %v", times, got)
	}
	for _, nonsense := range []string{"", ",", "x", "1e3", " 1"} {
		if got := readTimes(nonsense); len(got) != 0 {
			t.Errorf("readTimes(%q) = %v", nonsense, got)
		}
	}
	count := dayCount{"2026-01-02", 37}
	if got := readDayCount(count.String()); got != count {
		t.Errorf("count %v read back as %v", count, got)
	}
	for _, nonsense := range []string{"", "37", "2026-01-02", "2026-01-02 x", "2026-01-02 -1"} {
		if got := readDayCount(nonsense); got.n != 0 {
			t.Errorf("readDayCount(%q) = %v", nonsense, got)
		}
	}
}

func TestMinuteQuotaEndsWithTheMinute(t *testing.T) {
	f := &failure{err: &wechat.Error{Code: 45011}, at: noon.Add(50 * time.Second), count: 1}
	if got := waitAfter(f, nil); got != 10*time.Second {
		t.Errorf("waits %s, want 10s", got)
	}
}

func TestBudgetsForgetAndKeep(t *testing.T) {
	if got := spend(v1alpha1.ModeStable, []time.Time{noon.Add(-25 * time.Hour), noon.Add(-time.Hour)}, noon); len(got) != 2 {
		t.Errorf("%d forced calls are kept, want the one of this day and the new one", len(got))
	}
	more, fewer := dayCount{"2026-01-02", 9}, dayCount{"2026-01-02", 3}
	if got := more.later(fewer); got != more {
		t.Errorf("%v, want the larger count of the day", got)
	}
}
