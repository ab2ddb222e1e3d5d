package wechattest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestEveryClassicCallMakesANewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		first := c.classic().AccessToken
		time.Sleep(time.Minute)
		second := c.classic()
		if second.AccessToken == first {
			t.Error("the second call returned the first token")
		}
		if second.ExpiresIn != 7200 {
			t.Errorf("expires_in: got %d, want 7200", second.ExpiresIn)
		}
	})
}

func TestEachReplacedTokenKeepsItsOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		first := c.classic().AccessToken
		second := c.classic().AccessToken // first ends in 300 s
		time.Sleep(100 * time.Second)
		third := c.classic().AccessToken // second ends in 300 s

		for _, step := range []struct {
			after time.Duration
			want  []bool
		}{
			{after: 200*time.Second - time.Millisecond, want: []bool{true, true, true}},
			{after: time.Millisecond, want: []bool{false, true, true}},
			{after: 100*time.Second - time.Millisecond, want: []bool{false, true, true}},
			{after: time.Millisecond, want: []bool{false, false, true}},
		} {
			time.Sleep(step.after)
			if diff := cmp.Diff(step.want, c.valid(first, second, third)); diff != "" {
				t.Errorf("valid after another %v (-want +got):\n%s", step.after, diff)
			}
		}
	})
}

func TestReplacedTokenDoesNotOutliveItsOwnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		first := c.classic().AccessToken
		time.Sleep(7199 * time.Second)
		c.classic()
		time.Sleep(time.Second)
		if got := c.business(first).Errcode; got != 42001 {
			t.Errorf("errcode after 7200 s: got %d, want 42001", got)
		}
	})
}

func TestClassicQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{ClassicPerDay: 2})
		c.classic()
		last := c.classic().AccessToken
		want := failure{200, 45009, "reach max api daily quota limit, could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r rid"}
		if diff := cmp.Diff(want, c.classic().failure()); diff != "" {
			t.Errorf("third call (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]bool{true}, c.valid(last)); diff != "" {
			t.Errorf("the last token after a refused call (-want +got):\n%s", diff)
		}
		time.Sleep(untilMidnightInChina())
		if got := c.classic().Errcode; got != 0 {
			t.Errorf("errcode on the next day: got %d, want 0", got)
		}
	})
}

func TestRotateIsACallOfSomebodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{ClassicPerDay: 2})
		ours, stable := c.classic().AccessToken, c.stable().AccessToken
		s.Rotate(appID)
		time.Sleep(300 * time.Second)
		if diff := cmp.Diff([]bool{false, true}, c.valid(ours, stable)); diff != "" {
			t.Errorf("valid after the overlap (-want +got):\n%s", diff)
		}
		if got := c.classic().Errcode; got != 45009 {
			t.Errorf("errcode: got %d, want 45009, since the other's call counts", got)
		}
		if got := s.Counts(appID).OutsideRotations; got != 1 {
			t.Errorf("outside rotations: got %d, want 1", got)
		}
	})
}
