package account

import (
	"time"

	"golang.org/x/time/rate"
)

// All tenants call WeChat from one address. One who makes WeChatTokens with made-up
// appids, again and again, must not make WeChat block that address. So accounts for
// which WeChat has given this process no token are called at a pace once calls for
// others of their namespace were refused: wastedAtOnce and then wastedPerSecond. What
// WeChat gives a token for costs nothing, nor does a call that it is too busy to
// answer; and a namespace without refused calls never waits for another one.
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

// pace is what is left of the calls that may be wasted, by payer. Only payers count that
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

// from is from when on an account of the payer may be called.
func (p *pace) from(payer string, now time.Time) time.Time {
	begun := p.begun(payer, now)
	own := p.left[payer]
	if own == nil {
		return now
	}
	left := own.TokensAt(now)
	switch {
	case left >= wastedAtOnce:
		delete(p.left, payer)
		delete(p.places, payer)
	case p.all.TokensAt(now) < 1, left < float64(begun+1):
		place := later(p.places[payer], now).Add(time.Second / wastedPerSecond)
		if latest := now.Add(longestPlace); place.After(latest) {
			place = latest
		}
		p.places[payer] = place
		return place
	}
	return now
}

// begun is how many calls of the payer may still be refused.
func (p *pace) begun(payer string, now time.Time) int {
	all := p.begins[payer]
	for len(all) > 0 && now.Sub(all[0]) >= undecided {
		all = all[1:]
	}
	if p.begins[payer] = all; len(all) == 0 {
		delete(p.begins, payer)
	}
	return len(all)
}

// begin notes a call of the payer.
func (p *pace) begin(payer string, now time.Time) { p.begins[payer] = append(p.begins[payer], now) }

// end notes that the call which began then was answered.
func (p *pace) end(payer string, begun, now time.Time, wasted bool) {
	if p.begun(payer, now) > 0 && now.Sub(begun) < undecided {
		p.begins[payer] = p.begins[payer][1:] // which of them is no matter
		p.begun(payer, now)
	}
	if wasted {
		p.waste(payer, now)
	}
}

// waste notes a call that has brought nobody a token for long.
func (p *pace) waste(payer string, now time.Time) {
	own := p.left[payer]
	if own == nil {
		for name, l := range p.left { // namespaces come and go
			if l.TokensAt(now) >= wastedAtOnce {
				delete(p.left, name)
				delete(p.places, name)
			}
		}
		own = rate.NewLimiter(wastedPerSecond, wastedAtOnce)
		p.left[payer] = own
	}
	own.AllowN(now, 1)
	p.all.AllowN(now, 1)
}
