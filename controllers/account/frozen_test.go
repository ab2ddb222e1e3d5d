package account

import (
	"testing"
	"testing/synctest"
	"time"
)

// What has come up while a process was frozen waits until it must have looked at
// its lease.
func TestAFrozenProcessLooksAtItsLeaseFirst(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		o.join("first", "wx0000000000000000", nil)
		time.Sleep(time.Hour) // idle, and not frozen
		o.join("a", "wx0000000000000001", nil)
		synctest.Wait()
		if n := o.calls("wx0000000000000001"); n != 1 {
			t.Errorf("%d calls after an hour of nothing, want 1 at once", n)
		}

		o.pulse.mu.Lock()
		o.pulse.last = time.Now().Add(-frozenAfter - time.Second).Round(0)
		o.pulse.mu.Unlock()
		o.join("b", "wx0000000000000002", nil)
		time.Sleep(thaw - time.Second)
		synctest.Wait()
		if n := o.calls("wx0000000000000002"); n != 0 {
			t.Errorf("%d calls right after a freeze, want none", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := o.calls("wx0000000000000002"); n != 1 {
			t.Errorf("%d calls after the freeze, want 1", n)
		}
	})
}

func TestPulse(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct {
		reason string
		last   time.Time
		want   time.Duration // until a call may begin
	}{
		"First":     {"A process that has just started was not frozen.", time.Time{}, 0},
		"Beating":   {"It has noted the time when it was to.", now.Add(-beat), 0},
		"Late":      {"On a busy machine a beat may be late.", now.Add(-frozenAfter), 0},
		"Frozen":    {"It has noted nothing for longer.", now.Add(-frozenAfter - time.Second), thaw},
		"ClockBack": {"A clock that was set back says nothing.", now.Add(time.Hour), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &pulse{last: tc.last.Round(0)}
			from := p.note(now)
			if got := max(from.Sub(now), 0); got.Round(time.Millisecond) != tc.want {
				t.Errorf("%s\ncalls in %s, want %s", tc.reason, got, tc.want)
			}
			if again := p.note(now.Add(time.Second)); !again.Equal(from) {
				t.Errorf("%s\ncalls from %s a second later, and from %s before", tc.reason, again, from)
			}
		})
	}
}

// A clock that was set forward and back again holds nobody up until it is there.
func TestClockForwardAndBackIsNoFreeze(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var p pulse
	p.note(now)
	p.note(now.Add(time.Hour))
	if from := p.note(now.Add(time.Second)); from.Sub(now) > 2*thaw {
		t.Errorf("nobody is called for %s", from.Sub(now))
	}
}
