package wechattest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestStableTokenStaysUntilTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		first := c.stable()
		if first.ExpiresIn != 7200 {
			t.Errorf("expires_in: got %d, want 7200", first.ExpiresIn)
		}

		time.Sleep(6899*time.Second + 500*time.Millisecond)
		again := c.stable()
		if again.AccessToken != first.AccessToken {
			t.Error("the token changed before its last 300 s")
		}
		if again.ExpiresIn != 300 {
			t.Errorf("expires_in: got %d, want 300, the whole seconds that remain", again.ExpiresIn)
		}

		time.Sleep(500 * time.Millisecond)
		next := c.stable()
		if next.AccessToken == first.AccessToken {
			t.Error("the token did not change in its last 300 s")
		}
		if next.ExpiresIn != 7200 {
			t.Errorf("expires_in: got %d, want 7200", next.ExpiresIn)
		}
	})
}

func TestOldAndNewWorkThroughTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{Life: 40 * time.Second, Window: 10 * time.Second, Overlap: time.Second})
		first := c.stable().AccessToken
		time.Sleep(30 * time.Second)
		second := c.stable().AccessToken
		if first == second {
			t.Fatal("no new token in the window")
		}
		if c.stable().AccessToken != second {
			t.Error("a second call in the window made a third token")
		}

		time.Sleep(10*time.Second - time.Millisecond)
		if diff := cmp.Diff([]bool{true, true}, c.valid(first, second)); diff != "" {
			t.Errorf("valid at the end of the window (-want +got):\n%s", diff)
		}
		time.Sleep(time.Millisecond)
		if diff := cmp.Diff([]bool{false, true}, c.valid(first, second)); diff != "" {
			t.Errorf("valid after the window (-want +got):\n%s", diff)
		}
	})
}

func TestStableTokenIsNewAfterItDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		first := c.stable()
		time.Sleep(24 * time.Hour)
		next := c.stable()
		if next.AccessToken == first.AccessToken || next.ExpiresIn != 7200 {
			t.Errorf("a day later: got expires_in %d and the same token: %t", next.ExpiresIn, next.AccessToken == first.AccessToken)
		}
	})
}

func TestNoTokenIsGivenForZeroSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{Life: 2 * time.Second, Window: -1})
		c.stable()
		time.Sleep(1500 * time.Millisecond)
		if got := c.stable().ExpiresIn; got != 2 {
			t.Errorf("expires_in with half a second left: got %d, want 2, of the next token", got)
		}
	})
}

func TestForcedCallReplacesTheToken(t *testing.T) {
	cases := map[string]struct {
		reason string
		age    time.Duration // of the first token when the forced call comes
		valid  time.Duration // how long it stays valid
	}{
		"Young": {
			reason: "The token that is replaced stays valid for the overlap.",
			age:    time.Hour,
			valid:  300 * time.Second,
		},
		"Old": {
			reason: "It does not outlive its own end.",
			age:    7100 * time.Second,
			valid:  100 * time.Second,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, c := inMemory(t, wechattest.Config{})
				first := c.stable().AccessToken
				time.Sleep(tc.age)
				second := c.forced()
				if second.AccessToken == first || second.ExpiresIn != 7200 {
					t.Fatalf("%s\nforced: got expires_in %d and the same token: %t", tc.reason, second.ExpiresIn, second.AccessToken == first)
				}
				if c.stable().AccessToken != second.AccessToken {
					t.Error("a normal call after the forced one has another token")
				}

				time.Sleep(tc.valid - time.Millisecond)
				if diff := cmp.Diff([]bool{true, true}, c.valid(first, second.AccessToken)); diff != "" {
					t.Errorf("%s\nbefore the end (-want +got):\n%s", tc.reason, diff)
				}
				time.Sleep(time.Millisecond)
				if diff := cmp.Diff([]bool{false, true}, c.valid(first, second.AccessToken)); diff != "" {
					t.Errorf("%s\nafter the end (-want +got):\n%s", tc.reason, diff)
				}
			})
		})
	}
}

func TestTwoForcedCallsKillALeakedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		leaked := c.stable().AccessToken
		second := c.forced().AccessToken
		time.Sleep(30 * time.Second)
		third := c.forced().AccessToken
		if diff := cmp.Diff([]bool{false, true, true}, c.valid(leaked, second, third)); diff != "" {
			t.Errorf("valid after two forced calls (-want +got):\n%s", diff)
		}
	})
}

func TestForcedCallTooSoonDoesNotRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{})
		first := c.forced()
		time.Sleep(30*time.Second - time.Millisecond)
		soon := c.forced()
		if soon.AccessToken != first.AccessToken || soon.ExpiresIn != 7170 {
			t.Errorf("forced within 30 s: got expires_in %d and another token: %t", soon.ExpiresIn, soon.AccessToken != first.AccessToken)
		}
		time.Sleep(time.Millisecond)
		if c.forced().AccessToken == first.AccessToken {
			t.Error("forced after 30 s: a refused call has put off the next")
		}
		got := s.Counts(appID)
		if got.Forced != 3 || got.ForceRefused != 1 {
			t.Errorf("counts: got %d forced and %d refused, want 3 and 1", got.Forced, got.ForceRefused)
		}
	})
}

func TestForcedCallsOfADayAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		var last string
		for range 20 {
			last = c.forced().AccessToken
			time.Sleep(30 * time.Second)
		}
		if got := c.forced().AccessToken; got != last {
			t.Error("the 21st forced call of a day refreshed")
		}
		time.Sleep(untilMidnightInChina())
		if got := c.forced().AccessToken; got == last {
			t.Error("the first forced call of the next day did not refresh")
		}
	})
}

func TestRefusedForceCanAnswerACode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{ForceRefusedCode: 45011})
		c.forced()
		want := failure{200, 45011, "api minute-quota reach limit  mustslower  retry next minute rid"}
		if diff := cmp.Diff(want, c.forced().failure()); diff != "" {
			t.Errorf("forced within 30 s (-want +got):\n%s", diff)
		}
		if got := s.Counts(appID).ForceRefused; got != 1 {
			t.Errorf("counts: got %d refused, want 1", got)
		}
	})
}

func TestRefusedForceIsANormalCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{ForcedPerDay: 1})
		first := c.forced().AccessToken
		time.Sleep(6900 * time.Second)
		if c.forced().AccessToken == first {
			t.Error("in the window: got the old token, want the next, as of a normal call")
		}
	})
}

func TestStableQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{StablePerMinute: 2, StablePerDay: 3})
		want := []int{0, 0, 45011}
		got := []int{c.stable().Errcode, c.stable().Errcode, c.stable().Errcode}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("errcodes in the first minute (-want +got):\n%s", diff)
		}

		time.Sleep(time.Minute)
		want = []int{0, 45009}
		got = []int{c.stable().Errcode, c.stable().Errcode}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("errcodes in the second minute (-want +got):\n%s", diff)
		}

		time.Sleep(untilMidnightInChina() - time.Second)
		if got := c.stable().Errcode; got != 45009 {
			t.Errorf("errcode a second before midnight UTC+8: got %d, want 45009", got)
		}
		time.Sleep(time.Second)
		if got := c.stable().Errcode; got != 0 {
			t.Errorf("errcode at midnight UTC+8: got %d, want 0", got)
		}
	})
}

func TestEndpointsDoNotDisturbEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		stable, classic := c.stable().AccessToken, c.classic().AccessToken
		c.classic()
		c.forced()
		time.Sleep(30 * time.Second)
		forced := c.forced().AccessToken
		if got := c.stable().AccessToken; got != forced {
			t.Error("classic calls changed the stable token")
		}
		if diff := cmp.Diff([]bool{false, true, true}, c.valid(stable, classic, forced)); diff != "" {
			t.Errorf("valid (-want +got):\n%s", diff)
		}
	})
}

// untilMidnightInChina is exact in a bubble.
func untilMidnightInChina() time.Duration {
	now := time.Now().In(time.FixedZone("UTC+8", 8*60*60))
	return time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location()).Sub(now)
}
