package account

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// WeChatTokens with made-up appids make WeChat see few calls, and hold up no other
// namespace.
func TestMadeUpAppIDsAreCalledSlowly(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		for i := range 1000 {
			o.join(fmt.Sprint("made-up", i), fmt.Sprint("refused", i), nil)
		}
		o.joinIn("pay", "good", "good")
		synctest.Wait()
		if got := o.calls("good"); got != 1 {
			o.t.Errorf("%d calls for another namespace, want 1", got)
		}
		first := o.wire.total("refused")
		after(10 * time.Second)
		if got, most := o.wire.total("refused")-first, 10*wastedPerSecond+wastedAtOnce; got > most {
			o.t.Errorf("%d calls in 10 s, want at most %d", got, most)
		}
		o.joinIn("another", "good2", "good2")
		synctest.Wait()
		if got := o.calls("good2"); got != 1 {
			o.t.Errorf("%d calls for a third namespace, want 1", got)
		}
		after(1000 / wastedPerSecond * time.Second)
		if got := o.wire.appIDs("refused"); got != 1000 {
			o.t.Errorf("%d were called in the end, want all 1000", got)
		}
	})
}

// Nor do they hold up an account of which their namespace only takes the token.
func TestMadeUpAppIDsDoNotHoldUpTheSourceOfATaker(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		for i := range 1000 {
			o.join(fmt.Sprint("made-up", i), fmt.Sprint("refused", i), nil)
		}
		after(time.Second)
		o.join("taker", "good", nil, takes("platform"))
		synctest.Wait()
		if got := o.calls("good"); got != 1 {
			o.t.Errorf("%d calls, want 1", got)
		}
	})
}

// Nor do they hold up those of their own namespace that had a token before a start.
func TestMadeUpAppIDsDoNotHoldUpARecordedAccount(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		for i := range 1000 {
			o.join(fmt.Sprint("made-up", i), fmt.Sprint("refused", i), nil)
		}
		after(time.Second)
		expired := onSecret("98_before")
		expired.Token.ExpiresAt = expired.Token.ObtainedAt.Add(-time.Second)
		o.join("good", "good", expired)
		synctest.Wait()
		if got := o.calls("good"); got != 1 {
			o.t.Errorf("%d calls, want 1", got)
		}
	})
}

// Nor does it help to make and delete one with good credentials, or to change its
// AppSecret, again and again.
func TestChurnIsCalledSlowly(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		step   func(o *office, i int)
	}{
		"Deleted": {"It is deleted and made anew.", func(o *office, _ int) {
			o.join("a", "good", nil)
			after(10 * time.Millisecond)
			o.Leave(key("a"), time.Now())
		}},
		"Changed": {"Each time it is another account.", func(o *office, i int) {
			o.join("a", fmt.Sprint("good", i), nil)
			after(10 * time.Millisecond)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inOffice(t, func(o *office) {
				for i := range 1000 { // in 10 s
					tc.step(o, i)
				}
				if got, most := o.wire.total("good"), wastedAtOnce+10*wastedPerSecond+1; got > most {
					o.t.Errorf("%s\n%d calls in 10 s, want at most %d", tc.reason, got, most)
				}
			})
		})
	}
}

// An outage of WeChat is nobody's waste, and neither is a token.
func TestOnlyRefusalsAreWaste(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		for i := range 500 {
			o.join(fmt.Sprint("good", i), fmt.Sprint("good", i), nil)
			o.join(fmt.Sprint("busy", i), fmt.Sprint("busy", i), nil)
		}
		synctest.Wait()
		if good, busy := o.wire.total("good"), o.wire.total("busy"); good != 500 || busy != 500 {
			o.t.Errorf("%d and %d calls at once, want 500 of each", good, busy)
		}
		if n := len(o.pace.left) + len(o.pace.begins); n > 0 {
			o.t.Errorf("%d namespaces are remembered, want none", n)
		}
	})
}

// Who makes up an AppSecret can make up a record that verifies with it: it is no proof
// that WeChat knows the account.
func TestARecordIsNoProofOfAnAccount(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		for i := range 1000 {
			appID := fmt.Sprint("refused", i)
			found := onSecret("98_made-up")
			found.Token.AppID, found.Token.ExpiresAt = appID, found.Token.ObtainedAt.Add(time.Millisecond)
			o.join(fmt.Sprint("made-up", i), appID, found)
		}
		synctest.Wait()
		first := o.wire.total("refused")
		after(10 * time.Second)
		if got, most := o.wire.total("refused")-first, 10*wastedPerSecond+wastedAtOnce; got > most {
			o.t.Errorf("%d calls in 10 s, want at most %d", got, most)
		}
	})
}
