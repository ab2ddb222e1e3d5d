package account

import (
	"time"

	"golang.org/x/time/rate"
)

// All tenants call WeChat from one address. One who makes WeChatTokens with made-up
// appids, again and again, must not make WeChat block that address. So accounts that
// have never had a token are called at a pace once calls for others of their
// namespace were refused: after the first, wastedAtOnce and then wastedPerSecond.
// What WeChat gives a token for costs nothing, nor does a call that it is too busy
// to answer; and a namespace without refused calls never waits for another one.
const (
	wastedAtOnce    = 50
	wastedPerSecond = 5
	// Of all namespaces together.
	wastedAtOnceByAll    = 400
	wastedPerSecondByAll = 20

	// undecided is how long a call under way counts as one that will be refused. WeChat
	// answers in less, and who hangs holds up nobody.
	undecided = time.Second
	// longestPlace is how far ahead a place is given to an account that waits. More of
	// them than have a place until then ask again.
	longestPlace = time.Minute
	// briefly is how long an account must be used not to count as one that was made
	// for a call.
	briefly = time.Minute
)

// pace is what is left of the calls that may be wasted. Only namespaces count that
// have wasted some lately.
type pace struct {
	all    *rate.Limiter
	left   map[string]*rate.Limiter
	begins map[string][]time.Time // of calls whose answer may be a refusal, the last second's
	places map[string]time.Time   // the last one that was given to an account which waits
}

func newPace() pace {
	return pace{
		all:    rate.NewLimiter(wastedPerSecondByAll, wastedAtOnceByAll),
		left:   map[string]*rate.Limiter{},
		begins: map[string][]time.Time{},
		places: map[string]time.Time{},
	}
}

// from is from when on an account of the namespace that never had a token may be
// called.
func (p *pace) from(namespace string, now time.Time) time.Time {
	begun := p.begins[namespace]
	for len(begun) > 0 && now.Sub(begun[0]) >= undecided {
		begun = begun[1:]
	}
	p.setBegins(namespace, begun)
	own := p.left[namespace]
	if own == nil {
		return now
	}
	left := own.TokensAt(now)
	switch {
	case left >= wastedAtOnce:
		delete(p.left, namespace)
		delete(p.places, namespace)
	case p.all.TokensAt(now) < 1, left < float64(len(begun)+1):
		place := later(p.places[namespace], now).Add(time.Second / wastedPerSecond)
		if latest := now.Add(longestPlace); place.After(latest) {
			place = latest
		}
		p.places[namespace] = place
		return place
	}
	return now
}

// begin notes a call for such an account.
func (p *pace) begin(namespace string, now time.Time) {
	p.begins[namespace] = append(p.begins[namespace], now)
}

// end notes that the call which began then was answered.
func (p *pace) end(namespace string, begun, now time.Time, wasted bool) {
	// Which of those that began is no matter.
	if b := p.begins[namespace]; len(b) > 0 && now.Sub(begun) < undecided {
		p.setBegins(namespace, b[1:])
	}
	if wasted {
		p.waste(namespace, now)
	}
}

func (p *pace) setBegins(namespace string, begins []time.Time) {
	if len(begins) == 0 {
		delete(p.begins, namespace)
		return
	}
	p.begins[namespace] = begins
}

// waste notes a call that has brought nobody a token for long.
func (p *pace) waste(namespace string, now time.Time) {
	own := p.left[namespace]
	if own == nil {
		for name, l := range p.left { // namespaces come and go
			if l.TokensAt(now) >= wastedAtOnce {
				delete(p.left, name)
				delete(p.places, name)
			}
		}
		own = rate.NewLimiter(wastedPerSecond, wastedAtOnce)
		p.left[namespace] = own
	}
	own.AllowN(now, 1)
	p.all.AllowN(now, 1)
}
