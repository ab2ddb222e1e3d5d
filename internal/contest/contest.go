// Package contest paces what the operator does to an object that others write, too: to
// repair a Secret, to restart a workload. What somebody takes back again and again is
// tried again with a growing pause, and told: a fight costs the API server little, and a
// person can end it.
package contest

import "time"

// Effect is something that was done to one object, and may be taken back. The zero
// value was never done.
type Effect struct {
	times int // in a row
	last  time.Time
}

// Pause is how long to wait before an effect that was taken back is tried again: First
// at first, then twice as long each time, at most Longest.
type Pause struct{ First, Longest time.Duration }

// contested is how often an effect is done in a row before somebody is told: the second
// may come of one edit and its cache.
const contested = 3

// Done is the effect once it was done again at a time. What was left alone for twice
// the longest pause begins anew.
func (e Effect) Done(now time.Time, p Pause) Effect {
	if !now.Before(e.Over(p)) {
		e.times = 0
	}
	return Effect{times: e.times + 1, last: now}
}

// Next is when the effect may be done again; the zero time if it was never done.
func (e Effect) Next(p Pause) time.Time {
	if e.times == 0 {
		return time.Time{}
	}
	pause := p.First
	for range e.times - 1 {
		if pause >= p.Longest {
			break
		}
		pause *= 2
	}
	return e.last.Add(min(pause, p.Longest))
}

// Over is when a fight is over if nothing is taken back any more; the zero time if the
// effect was never done.
func (e Effect) Over(p Pause) time.Time {
	if e.times == 0 {
		return time.Time{}
	}
	return e.last.Add(2 * p.Longest)
}

// Contested reports whether somebody takes the effect back again and again.
func (e Effect) Contested(now time.Time, p Pause) bool {
	return e.times >= contested && now.Before(e.Over(p))
}
