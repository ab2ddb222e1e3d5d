package main

import (
	"cmp"
	"slices"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A consumer that calls WeChat with an invalid token is the operator's fault, unless
// it could not do better. From some moment on it could know that the token had to
// be replaced:
//
//   - when the token was due,
//   - when another one had been made in its place,
//   - when somebody reported that it was dead.
//
// From then until the consumer read the Secret, the operator needs one stretch of
// time, enough long, in which nothing kept it from its work. Without one the call
// is excused by what kept it for most of the time.

// enough is the time in which the operator replaces a token when nothing keeps it
// from that. It needs some milliseconds; on a busy machine, with hundreds of
// tokens at once, more. A token that is due is valid three times as long.
const enough = 4 * time.Second

// stale is when a consumer that reads each second has not read its Secret: the
// Secret, or the API server, was away.
const stale = 2 * time.Second

// takeover is how long a new leader takes for each target until it has looked at
// all of them: 1,000 in 10 s on a machine that has nothing else to do.
const takeover = 25 * time.Millisecond

// judged is a dead call with what excuses it.
type judged struct {
	deadCall

	excuse string // empty: none
	since  time.Time
	clear  span // of one that has no excuse, the time in which nothing was in the way
}

// Excuses that are no obstacle.
const (
	excuseUnreported = "somebody outside had ended the token, and it was not reported yet"
	excuseJustRead   = "the token died between the consumer's reading and its call"
	excuseJustNow    = "it could be known for less than 4 s that the token had to be replaced"
)

// judge finds what excuses a dead call.
func (l *ledger) judge(d deadCall) judged {
	j := judged{deadCall: d}
	until := d.read
	if d.at.Sub(d.read) > stale { // there was nothing to read: that is for the operator to put right
		until = d.at
	}
	var watched bool
	j.since, watched = l.known(d)
	if j.since.IsZero() || j.since.After(until) {
		j.excuse = l.unknowable(d)
		return j
	}
	lost := span{from: j.since, to: until}
	obstacles := l.obstacles(d, j.since, watched)
	for _, left := range minus(lost, obstacles) {
		if left.to.Sub(left.from) >= enough {
			j.clear = left
			return j
		}
	}
	j.excuse = mostOf(lost, obstacles)
	return j
}

// known is when the operator could know that the token of d had to be replaced;
// zero if it could not. watched says that a watch had to tell it.
func (l *ledger) known(d deadCall) (since time.Time, watched bool) {
	t, minted := l.tokens[d.token]
	if !minted { // the run itself has put it there
		for _, damage := range l.damages {
			if damage.target == d.target.index && damage.kind == editToken && damage.from.Before(d.at) {
				since, watched = damage.from, true
			}
		}
		return since, watched
	}
	made := t.seen
	for _, c := range l.calls[t.account] {
		if c.Rotated && !c.At.After(t.seen) {
			made = c.At
		}
	}
	since = made.Add(l.pace.life - l.pace.window + 2500*time.Millisecond)
	if t.account.mode == v1alpha1.ModeClassic {
		since = made.Add(l.pace.life/2 + time.Second)
	}
	for _, c := range l.calls[t.account] {
		if c.Rotated && c.At.After(made) && c.ended.Before(since) {
			since = c.ended
		}
	}
	for _, e := range l.endings {
		if e.token == d.token && !e.reported.IsZero() && e.reported.Before(since) {
			since, watched = e.reported, true
		}
	}
	return since, watched
}

// unknowable is the excuse of a dead call with a token of which the operator could
// not know, when the consumer read it, that it would be dead.
func (l *ledger) unknowable(d deadCall) string {
	if slices.ContainsFunc(l.endings, func(e ending) bool { return e.token == d.token && !e.at.After(d.at) }) {
		return excuseUnreported
	}
	if _, minted := l.tokens[d.token]; !minted {
		return ""
	}
	since := span{from: d.read, to: d.at}
	for _, s := range slices.Concat(l.outages, l.slow) {
		if s.from.Before(since.to) && s.to.After(since.from) {
			return cmp.Or(s.why, whyAPIServer)
		}
	}
	if d.at.Sub(d.read) < stale {
		return excuseJustRead
	}
	return ""
}

const whyAPIServer = "the API server was away"

// watchAway is how long after an outage of the API server client-go opens a watch
// again, at most.
const watchAway = 30 * time.Second

// obstacles are what kept the operator from replacing the token of d, since some
// time until the consumer read it.
func (l *ledger) obstacles(d deadCall, since time.Time, watched bool) []span {
	a := d.target.account
	all := l.leaderless(l.begun, d.at)
	for _, o := range l.outages {
		// A write that failed is tried again after as long as it has failed, 10 s
		// at most.
		tail := min(o.to.Sub(o.from), 10*time.Second)
		if watched {
			tail = watchAway
		}
		all = append(all, span{o.from, o.to.Add(tail), whyAPIServer})
	}
	for _, p := range l.processes {
		if !p.acquired.IsZero() {
			all = append(all, span{p.acquired, p.acquired.Add(takeover * time.Duration(len(l.targets))), "a new leader was on its way through all objects"})
		}
	}
	all = append(all, l.slow...)
	for _, f := range l.faults {
		if f.Count == 0 && (f.AppID == "" || f.AppID == a.appID) && (f.Endpoint == "" || f.Endpoint == a.endpoint() || watched) {
			all = append(all, f.span)
		}
	}
	for _, r := range l.resets {
		if r.appID == a.appID {
			all = append(all, r.span)
		}
	}
	all = append(all, l.unrepaired(d.target.index)...)
	all = append(all, l.waits(a, l.calls[a])...)
	if watched {
		all = append(all, l.waits(a, l.checksOf(d.token))...)
		all = append(all, l.spacings(a, d.token)...)
	}
	return slices.DeleteFunc(all, func(s span) bool { return !s.to.IsZero() && !s.to.After(since) })
}

// unrepaired are the times in which the Secret of a target could not be repaired:
// it was nobody's, or it had been repaired less than 10 s before.
func (l *ledger) unrepaired(target int) []span {
	var all []span
	for _, x := range l.damages {
		if x.target != target {
			continue
		}
		if x.kind == removeOwner {
			all = append(all, span{x.from, x.to.Add(time.Second), x.why})
		}
		for _, earlier := range l.damages { // one Secret is repaired once in 10 s
			if earlier.target == x.target && earlier.from.Before(x.from) {
				all = append(all, span{x.from, earlier.to.Add(enough + 10*time.Second), x.why})
			}
		}
	}
	return all
}

func (l *ledger) checksOf(token string) []*call {
	return slices.DeleteFunc(slices.Clone(l.checks), func(c *call) bool { return c.token != token })
}

// waits are the calls in vain, and the waits after them, as they are documented.
func (l *ledger) waits(a account, calls []*call) []span {
	var all []span
	for i, c := range calls {
		if c.good() || (c.Endpoint == wechattest.Business && c.answered && (c.Errcode == 0 || c.InvalidToken)) {
			all = append(all, span{c.begun, c.ended, "a call took long"})
			continue
		}
		until := l.retryAfter(a, c)
		if i+1 < len(calls) && (until.IsZero() || calls[i+1].begun.Before(until)) {
			until = calls[i+1].begun
		}
		all = append(all, span{c.begun, until, "WeChat failed, and the operator waited"})
	}
	return all
}

// retryAfter is when a call in vain is followed by another at the latest.
func (l *ledger) retryAfter(a account, c *call) time.Time {
	switch (&wechat.Error{Code: int64(c.Errcode)}).Class() {
	case wechat.MinuteQuota:
		return c.ended.Truncate(time.Minute).Add(67 * time.Second)
	case wechat.DayQuota, wechat.WrongRequest, wechat.Refused:
		until := time.Time{} // somebody comes and acts
		for _, v := range l.visits {
			if v.account == a && v.at.After(c.ended) && (until.IsZero() || v.at.Before(until)) {
				until = v.at
			}
		}
		for _, r := range l.resets {
			if r.appID == a.appID && r.to.After(c.ended) && (until.IsZero() || r.to.Before(until)) {
				until = r.to
			}
		}
		return until
	default:
	}
	wait := time.Minute
	for _, b := range l.calls[a] { // a quarter of what is left of the token, if it is known
		told := b.good() && (b.process == c.process || !l.tokens[b.token].begun.IsZero())
		if left := b.At.Add(l.pace.life).Sub(c.ended); told && b.Rotated && b.At.Before(c.At) && left > 0 {
			wait = max(left/4, time.Second)
		}
	}
	return c.ended.Add(wait*11/10 + time.Second)
}

// spacings are the waits between two forced calls for one account, and between
// two questions whether one token is valid: 30 s by WeChat's rule and ours, and 2 s of
// slack for the first.
func (l *ledger) spacings(a account, token string) []span {
	var all []span
	for _, e := range l.explain(a) {
		if e.Forced || e.why == whyForce || e.why == whyOutside {
			all = append(all, span{e.At, e.At.Add(33 * time.Second), "30 s must pass between two forced refreshes"})
		}
	}
	for _, c := range l.checksOf(token) {
		if c.Errcode == 0 && c.answered {
			all = append(all, span{c.At, c.At.Add(31 * time.Second), "30 s pass between two questions about a token"})
		}
	}
	return all
}

// mostOf is why most of whole was lost.
func mostOf(whole span, obstacles []span) string {
	lost := map[string]time.Duration{}
	for _, o := range obstacles {
		from, to := o.from, o.to
		if from.Before(whole.from) {
			from = whole.from
		}
		if to.IsZero() || to.After(whole.to) {
			to = whole.to
		}
		if to.After(from) {
			lost[o.why] += to.Sub(from)
		}
	}
	why := excuseJustNow
	var most time.Duration
	for w, d := range lost {
		if d > most || (d == most && w < why) {
			why, most = w, d
		}
	}
	return why
}
