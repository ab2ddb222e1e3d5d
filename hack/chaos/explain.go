package main

import (
	"slices"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Why WeChat was called for a token. Each call has a reason, or it is surplus.
const (
	whyFirst   = "the first token of the account"
	whyTime    = "the token was due"
	whyEarly   = "asked a moment before WeChat had the next one"
	whyRetry   = "the call before was in vain"
	whyLost    = "the forced call before was in vain; a plain one, which is free, tells what became of it"
	whyForce   = "a forced refresh was asked for"
	whyOutside = "somebody outside had ended the token"
	whySecret  = "the AppSecret was reset"
	whyLeader  = "a new leader, and the token of the old one was in no whole Secret"
	whyDeposed = "a leader that did not know yet that it was none"
	whySurplus = "surplus"
)

// reasons are all of them, in the order of the report.
var reasons = []string{whyFirst, whyTime, whyEarly, whyRetry, whyLost, whyForce, whyOutside, whySecret, whyLeader, whyDeposed, whySurplus}

// explained is a call and its reason.
type explained struct {
	*call

	why string
}

// good reports whether a call for a token has brought one.
func (c *call) good() bool { return c.answered && c.Errcode == 0 && c.token != "" }

// carriedOut reports whether WeChat has carried out a call, whatever became of its
// answer.
func (c *call) carriedOut() bool {
	lateFaults := []wechattest.FaultKind{"", wechattest.FaultTruncated, wechattest.FaultBadTTL, wechattest.FaultLost, wechattest.FaultSlow, wechattest.FaultTextPlain}
	return c.Errcode == 0 && slices.Contains(lateFaults, c.Fault)
}

// explain finds the reason of each call for a token of an account.
//
// When a call is due follows from the life L and the window W:
//
//   - A stable token is replaced by the first call in its last W.
//   - A classic token is replaced L/2 before its end (refreshBefore is capped
//     there), and by a 20th of that earlier for jitter.
//
// The operator counts from when it began to ask, for that is safe. Both may be a
// second less, for the Secret keeps whole seconds.
func (l *ledger) explain(a account) []explained {
	var all []explained
	var rotated *call // the last that made a token
	for i, c := range l.calls[a] {
		e := explained{call: c, why: whySurplus}
		if i == 0 {
			e.why = whyFirst
		} else {
			e.why = l.why(a, c, l.calls[a][:i], rotated)
		}
		all = append(all, e)
		if c.Rotated {
			rotated = c
		}
	}
	return all
}

// why is the reason of c, after the calls before it.
func (l *ledger) why(a account, c *call, before []*call, rotated *call) string {
	if why := l.whyByItself(a, c, before[len(before)-1], rotated); why != "" {
		return why
	}
	switch {
	case l.asked(a, c, before):
		return whyForce
	case l.endedOutside(a, c, before):
		return whyOutside
	case slices.ContainsFunc(l.resets, func(r reset) bool {
		return r.appID == a.appID && r.from.Before(c.At) && !l.settled(r.to, before)
	}):
		return whySecret
	case c.process != before[len(before)-1].process && !l.foundBy(a, c, rotated):
		return whyLeader
	case l.deposed(c.process, c.At):
		return whyDeposed
	default:
		return whySurplus
	}
}

// whyByItself is the reason of c that lies in the calls before it, and not in what
// somebody has done: the time that has passed since, or their failure.
func (l *ledger) whyByItself(a account, c, previous, rotated *call) string {
	life := l.pace.life
	due, early := life-l.pace.window, time.Second
	if a.mode == v1alpha1.ModeClassic {
		due, early = life/2-life/40-time.Second, 0
	}
	waited := c.begun.Sub(previous.ended) > shortestRetry || c.process != previous.process || l.acted(a, previous.begun, c.At)
	switch {
	case rotated != nil && c.At.Sub(l.asOf(rotated)) >= due:
		return whyTime
	case rotated != nil && c.At.Sub(l.asOf(rotated)) >= due-early:
		return whyEarly
	case previous.Forced && !previous.good() && previous.Errcode == 0 && !c.Forced:
		return whyLost
	case waited && (!previous.good() || l.unheard(previous)):
		return whyRetry
	default:
		return ""
	}
}

// unheard reports whether the process that made c was frozen when the answer came,
// and for so long that the call had timed out when it went on.
func (l *ledger) unheard(c *call) bool {
	return slices.ContainsFunc(l.processes[c.process-1].paused, func(s span) bool {
		return s.covers(c.ended) && s.to.Sub(c.begun) > requestTimeout
	})
}

// asOf is from when the operator counts the life of the token that a call has
// made: when it began to ask. On a busy machine that is some time before WeChat
// was asked, but no longer than a call may take.
func (l *ledger) asOf(rotated *call) time.Time {
	begun := l.tokens[rotated.token].begun
	if begun.IsZero() || begun.After(rotated.At) || rotated.At.Sub(begun) > requestTimeout {
		return rotated.At
	}
	return begun
}

// requestTimeout is the manager's --request-timeout.
const requestTimeout = 10 * time.Second

// shortestRetry is the least time between a call in vain and the next: 1 s by
// the operator's backoff, and less where this busy machine sees late that a
// caller has gone.
const shortestRetry = 500 * time.Millisecond

// acted reports whether somebody did something about the account that ends a
// wait of the operator.
func (l *ledger) acted(a account, from, to time.Time) bool {
	within := span{from: from, to: to}
	return slices.ContainsFunc(l.visits, func(v visit) bool { return v.account == a && within.covers(v.at) }) ||
		slices.ContainsFunc(l.requests, func(r request) bool { return r.account == a && within.covers(r.asked.to) }) ||
		slices.ContainsFunc(l.resets, func(r reset) bool {
			return r.appID == a.appID && r.from.Before(to) && from.Before(r.to.Add(time.Second))
		})
}

// wrongSecret reports whether the cluster had an old AppSecret at t, or had one a
// moment before: after an outage of the API server, until the watch of Secrets was
// open again.
func (l *ledger) wrongSecret(a account, t time.Time) bool {
	return slices.ContainsFunc(l.resets, func(r reset) bool {
		known := r.to.Add(enough)
		for _, o := range l.outages {
			if open := o.to.Add(watchAway); o.from.Before(r.to) && open.After(known) {
				known = open
			}
		}
		return r.appID == a.appID && span{from: r.from, to: known}.covers(t)
	})
}

// settled reports whether a good call began after t whose process had the time to
// write what it brought: with the next AppSecret another leader trusts no record
// that was written before.
func (l *ledger) settled(t time.Time, before []*call) bool {
	return slices.ContainsFunc(before, func(c *call) bool {
		ended := l.processes[c.process-1].ended
		return c.good() && c.begun.After(t) && (ended.IsZero() || ended.Sub(c.ended) > time.Second)
	})
}

// asked reports whether a forced refresh was open when c was made: asked for, and
// not yet echoed by the Secret of its target. A stable call that is not forced
// may come first, once for each process and target: it tells whether an earlier
// process has forced already.
func (l *ledger) asked(a account, c *call, before []*call) bool {
	return slices.ContainsFunc(l.requests, func(r request) bool {
		if r.account != a || r.asked.from.After(c.At) || l.echoed(r, c) {
			return false
		}
		return c.Forced || a.mode == v1alpha1.ModeClassic || askedPlainly(c, r.asked.from, before) < l.sharers(a)
	})
}

// sharers is how many targets share the token of an account.
func (l *ledger) sharers(a account) int {
	n := 0
	for _, t := range l.targets {
		if t.account == a {
			n++
		}
	}
	return n
}

// askedPlainly is how many good calls that were not forced, and brought the token
// that was there, the process of c has made since t.
func askedPlainly(c *call, t time.Time, before []*call) int {
	n := 0
	for _, b := range before {
		if b.process == c.process && !b.Forced && b.good() && !b.Rotated && b.begun.After(t) {
			n++
		}
	}
	return n
}

// echoed reports whether the process of c could know, when it made the call, that
// the request had been dealt with: the Secret of its target said so, since that
// process led or in the moment it took the lease.
func (l *ledger) echoed(r request, c *call) bool {
	took := l.processes[c.process-1].acquired
	atFirst, damaged := l.holdsAt(r.target, took)
	for _, q := range l.requests {
		if q.target != r.target || q.order < r.order {
			continue
		}
		if atFirst.handled == q.value && !damaged && !l.damagedAt(r.target, took, c.begun) {
			return true
		}
		for _, s := range l.secrets[r.target] {
			if s.handled == q.value && s.at.After(took) && s.at.Before(c.begun) {
				return true
			}
		}
	}
	return false
}

// holdsAt is what the Secret of a target held at t, and whether it was damaged.
func (l *ledger) holdsAt(target int, t time.Time) (last sighting, damaged bool) {
	for _, s := range l.secrets[target] {
		if s.at.Before(t) {
			last = s
		}
	}
	return last, !last.whole || l.damagedAt(target, last.at, t)
}

// endedOutside reports whether somebody outside had ended the token in use when c
// was made, and no call has brought another since.
func (l *ledger) endedOutside(a account, c *call, before []*call) bool {
	return slices.ContainsFunc(l.endings, func(e ending) bool {
		if e.account != a || e.at.After(c.At) {
			return false
		}
		replaced := slices.ContainsFunc(before, func(b *call) bool { return b.good() && b.Rotated && b.begun.After(e.at) })
		return !replaced && (c.Forced || a.mode == v1alpha1.ModeClassic || askedPlainly(c, e.at, before) == 0)
	})
}

// foundBy reports whether the process of c could find the newest token of the
// account in a whole Secret when it took the lease: then it has no reason to ask
// for another.
func (l *ledger) foundBy(a account, c *call, rotated *call) bool {
	if rotated == nil {
		return false
	}
	took := l.processes[c.process-1].acquired
	return slices.ContainsFunc(l.targets, func(t target) bool {
		held, damaged := l.holdsAt(t.index, took)
		token := l.tokens[held.token]
		return t.account == a && !damaged && token.account == a && !token.seen.Before(rotated.At) && !l.damagedAt(t.index, took, c.At)
	})
}

// damagedAt reports whether the Secret of a target was damaged between two times.
func (l *ledger) damagedAt(target int, from, to time.Time) bool {
	return slices.ContainsFunc(l.damages, func(d damage) bool { return d.target == target && d.from.Before(to) && d.to.After(from) })
}
