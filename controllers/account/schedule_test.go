package account

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

func TestDue(t *testing.T) {
	t.Parallel()
	const stable, classic = v1alpha1.ModeStable, v1alpha1.ModeClassic
	cases := map[string]struct {
		reason           string
		mode             v1alpha1.Mode
		refreshBefore    time.Duration
		life, window     time.Duration
		earliest, latest time.Duration // before the end
	}{
		"Stable":           {"2 s and up to 10 s more into the window.", stable, 0, 2 * time.Hour, 5 * time.Minute, 298 * time.Second, 288 * time.Second},
		"StableRemaining":  {"The life that is left does not count, the end does.", stable, 0, 345 * time.Second, 5 * time.Minute, 298 * time.Second, 288 * time.Second},
		"StableCompressed": {"All in proportion.", stable, 0, 40 * time.Second, 10 * time.Second, 8 * time.Second, 7600 * time.Millisecond},
		"Classic":          {"refreshBefore before the end, and a bit earlier.", classic, 10 * time.Minute, 2 * time.Hour, 0, 630 * time.Second, 600 * time.Second},
		"ClassicShort":     {"The bit is in proportion.", classic, time.Minute, 2 * time.Hour, 0, 63 * time.Second, 60 * time.Second},
		"ClassicLongest":   {"An hour is half of the life.", classic, time.Hour, 2 * time.Hour, 0, 63 * time.Minute, 60 * time.Minute},
		"ClassicShortLife": {"Never more than half of the life.", classic, time.Hour, 10 * time.Minute, 0, 315 * time.Second, 300 * time.Second},
		"ClassicTiny":      {"A life of 40 s works too.", classic, 10 * time.Minute, 40 * time.Second, 0, 21 * time.Second, 20 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := &record.Token{Mode: tc.mode, ObtainedAt: noon, ExpiresAt: noon.Add(tc.life)}
			for i := range 1000 {
				due := Due(types.UID(fmt.Sprint("uid", i)), tc.refreshBefore, tc.window, token)
				if left := token.ExpiresAt.Sub(due); left > tc.earliest || left < tc.latest {
					t.Fatalf("%s\ndue %s before the end, want %s to %s", tc.reason, left, tc.earliest, tc.latest)
				}
			}
		})
	}
}

// WeChatTokens of one moment spread evenly, and each keeps its place.
func TestOffsetSpreads(t *testing.T) {
	t.Parallel()
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
			t.Errorf("%d of %d in tenth %d", count, n, i)
		}
	}
	if got := offset("uid", 0); got != 0 {
		t.Errorf("offset %s in no time", got)
	}
	if got := offset(early, time.Hour); got > time.Millisecond {
		t.Errorf("the tables rely on an offset of almost nothing, and it is %s", got)
	}
}

// Checks by interval are spread over it, and come in beats: many accounts share one.
func TestChecksComeInBeats(t *testing.T) {
	t.Parallel()
	moments := map[time.Time]int{}
	const n = 10_000
	for i := range n {
		s := at()
		s.Spread, s.Wants.CheckInterval = types.UID(fmt.Sprintf("5388e478-bec1-4eaf-bf4f-%012x", i*7919)), time.Minute
		next := s.nextCheckAt(&s.Wants, Check, noon)
		if !next.Equal(next.Truncate(checkBeat)) {
			t.Fatalf("a check at %s, between two beats", next)
		}
		moments[next]++
	}
	if beats := int(time.Minute / checkBeat); len(moments) < beats*9/10 || len(moments) > beats {
		t.Errorf("%d checks come in %d moments, want %d", n, len(moments), beats)
	}
}

func TestWaitAfterAFailure(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		failure Failure
		want    time.Duration
	}{
		"MinuteQuota":       {"It ends with the minute.", Failure{Err: &wechat.Error{Code: 45011}, At: noon.Add(50 * time.Second), Count: 1}, 10 * time.Second},
		"Transient":         {"It begins with a second.", Failure{Err: &wechat.Error{}, At: noon, Count: 1}, time.Second},
		"TransientSeventh":  {"64 s are more than the longest.", Failure{Err: &wechat.Error{}, At: noon, Count: 7}, time.Minute},
		"SameToken":         {"What WeChat wants between two forced calls.", Failure{At: noon, Count: 1}, 30 * time.Second},
		"SameTokenForever":  {"An hour is the longest.", Failure{At: noon, Count: 1 << 30}, time.Hour},
		"RefusedForever":    {"No count is too large.", Failure{Err: &wechat.Error{Code: 40164}, At: noon, Count: 1 << 30}, 30 * time.Minute},
		"WrongSecretAlways": {"It does not double.", Failure{Err: &wechat.Error{Code: 40125}, At: noon, Count: 9}, time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := at(noToken)
			if got := s.waitAfter(&tc.failure, nil); got != tc.want {
				t.Errorf("%s\nwaits %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}
