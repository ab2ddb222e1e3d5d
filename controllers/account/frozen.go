package account

import (
	"sync"
	"time"
)

// A process that was frozen for longer than its lease goes on as a second leader,
// and learns it by its next look at the lease, some milliseconds later. It must not
// call WeChat before that: in mode Classic the call would end the token that its
// successor has written, and nobody would know who could report it.
const (
	// beat is how often a process notes that it runs.
	beat = 3 * time.Second
	// frozenAfter is how long a process has noted nothing if it was frozen. It is
	// shorter than any lease.
	frozenAfter = 2 * beat
	// thaw is how long it calls nobody then. A leader looks at its lease every 2 s.
	// More would only make those wait whose leader still has it.
	thaw = 2500 * time.Millisecond
)

// pulse says when the process ran last, by the wall clock: the monotonic one stops
// while a machine is suspended.
type pulse struct {
	mu        sync.Mutex
	last      time.Time
	callsFrom time.Time
}

// note notes that the process runs now, and returns from when on it may call.
func (p *pulse) note(now time.Time) (callsFrom time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = now.Round(0)
	if !p.last.IsZero() && now.Sub(p.last) > frozenAfter {
		p.callsFrom = now.Add(thaw)
	}
	if p.callsFrom.Sub(now) > thaw { // the clock was set back
		p.callsFrom = now.Add(thaw)
	}
	p.last = now
	return p.callsFrom
}
