package account

import (
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
)

const (
	// shortestPause is the shortest time between two Refresh calls for one account,
	// however short-lived its tokens are.
	shortestPause = time.Second

	// verifySpacing is the shortest time between two Verifies of one token, so that a
	// reporter who is always wrong costs two a minute.
	verifySpacing = 30 * time.Second

	// longestCheckWait is how long a Verify by interval waits at most while WeChat does
	// not answer it.
	longestCheckWait = time.Hour
)

// Next is the call that a WeChatToken needs next.
type Next struct {
	Kind Kind
	// At is not before when; zero for never.
	At time.Time
	// Cause is what keeps it from what it wants.
	Cause Cause
	// NoToken says that there is no valid token of the account.
	NoToken bool
}

// candidate is a call that is wanted, not before a time.
type candidate struct {
	kind  Kind
	at    time.Time
	cause Cause
}

// Next says which call w needs next. It is the whole policy:
//
//   - Refresh when there is no valid token, when the answer of a call was lost, or
//     when the token is due.
//   - Force when WeChat has called the token invalid before its end, or for a
//     refresh request. It is a Refresh instead where that may do, because that is
//     free in mode Stable.
//   - Verify when a consumer or a call for a ticket has found the token invalid, or
//     when the interval is over.
//   - A ticket when it is due, and nothing else is: it never delays a token.
//
// The earliest candidate is the next call. The first candidate with a problem is
// the cause. After a failure a kind waits, unless a person has changed the
// WeChatToken since.
func (s *State) Next(w *Wants, now time.Time) Next {
	if w.Suspended {
		return Next{}
	}
	t := s.Token(now)
	noToken := !s.Valid(t, now)
	all := s.tokenCalls(w, t, noToken, now)
	next, cause := all[0], all[0].cause
	for _, c := range all[1:] {
		if c.at.Before(next.at) {
			next = c
		}
		if cause.Kind == NoCause {
			cause = c.cause
		}
	}
	if c, wanted := s.ticketCall(w, t, noToken, now); wanted && now.Before(next.at) && c.at.Before(next.at) {
		next = c
	}
	return Next{Kind: next.kind, At: next.at, Cause: cause, NoToken: noToken}
}

// tokenCalls are the calls for a token, and about it. The first is a Refresh.
func (s *State) tokenCalls(w *Wants, t *record.Token, noToken bool, now time.Time) []candidate {
	refresh := s.refresh(w, t, noToken, now)
	all := []candidate{refresh}
	if s.revoked(t, now) {
		all = append(all, s.forceForInvalid(w, t, refresh, now))
	}
	if w.pending() != "" && !noToken {
		all = append(all, s.forceForRequest(w, t, now))
	}
	if c, wanted := s.check(w, t, now); wanted {
		all = append(all, c)
	}
	return all
}

func (s *State) refresh(w *Wants, t *record.Token, noToken bool, now time.Time) candidate {
	if s.revoked(t, now) && s.Mode == v1alpha1.ModeClassic {
		noToken = false // a Force replaces it, within the budget of those
	}
	c := candidate{kind: Refresh, at: s.refreshAt(w, t, noToken, now)}
	if !noToken && !s.answerLost && now.Before(s.due(w, t)) {
		return c
	}
	if f, forced := s.tokenFailure(); f != nil {
		c.cause = causeOf(f)
		if !forced {
			c.at = s.afterTokenFailure(c.at, w, t)
		}
	}
	if s.Mode == v1alpha1.ModeClassic && s.Known.Spent.ClassicLeft(now) == 0 {
		c.at, c.cause = budget.NextDay(now), Cause{Kind: DayBudgetExhausted}
	}
	return c
}

func (s *State) refreshAt(w *Wants, t *record.Token, noToken bool, now time.Time) time.Time {
	switch {
	case noToken && s.revoked(t, now) && s.onlyForceHelps():
		return s.tokenAt().Add(longestWait) // WeChat returns the invalid token
	case noToken && s.Known.Token.Value != "":
		return s.tokenAt().Add(shortestPause) // what was given has ended already
	case noToken, s.answerLost:
		return now
	}
	at := s.due(w, t)
	if !s.tokenAt().Before(at) { // and the same token came back
		return s.tokenAt().Add(s.askAgain(w, t, now))
	}
	return at
}

// onlyForceHelps reports whether a Refresh has returned the invalid token, so that
// only a Force brings another: also since a Force has lost its answer. In mode
// Classic the two are one.
func (s *State) onlyForceHelps() bool {
	return s.Mode == v1alpha1.ModeClassic || (s.sameTokenReturned && !s.forcedUncounted)
}

// forceForInvalid is the call that replaces t, which WeChat has called invalid
// before its end. It counts as a forced refresh, so that somebody who ends tokens
// again and again does not cost those that are due.
func (s *State) forceForInvalid(w *Wants, t *record.Token, refresh candidate, now time.Time) candidate {
	next, exhausted := s.Known.Spent.NextForced(s.Mode, now)
	c := candidate{kind: Force, at: next, cause: Cause{Kind: Revoked}}
	if exhausted {
		c.cause = Cause{Kind: ForceBudgetExhausted, Next: next}
	}
	if f, _ := s.tokenFailure(); f != nil {
		c.cause = causeOf(f)
		c.at = s.afterTokenFailure(c.at, w, t)
	}
	if !s.onlyForceHelps() {
		c.at, c.kind = refresh.at, Refresh // it is free, and brings what somebody else has forced
	}
	return c
}

// forceForRequest is the call that a refresh request wants.
func (s *State) forceForRequest(w *Wants, t *record.Token, now time.Time) candidate {
	next, exhausted := s.Known.Spent.NextForced(s.Mode, now)
	c := candidate{kind: Force, at: later(next, now)}
	switch {
	case s.forcedUncounted && s.Mode == v1alpha1.ModeStable:
		c.at, c.kind = now, Refresh
	case !next.After(now):
	case !exhausted:
		c.cause = Cause{Kind: ForceDeferred, Next: next}
	default:
		c.cause = Cause{Kind: ForceBudgetExhausted, Next: next}
		if s.Mode == v1alpha1.ModeStable && s.tokenAt().Before(w.requestSince) { // once for each request
			c.at, c.kind = now, Refresh
		}
	}
	if f, forced := s.tokenFailure(); f != nil {
		c.cause = causeOf(f)
		if c.kind == Force || !forced {
			c.at = s.afterTokenFailure(c.at, w, t)
		}
	}
	return c
}

// check is the Verify that is wanted next, if any.
func (s *State) check(w *Wants, t *record.Token, now time.Time) (candidate, bool) {
	if !s.Valid(t, now) {
		return candidate{}, false
	}
	c := candidate{kind: Verify}
	open := w.Report != "" && w.Reported == t.Fingerprint() && s.handledReport(w, t) != w.Report
	switch {
	case open:
		c.at = w.reportSince
		if s.verified(t) {
			c.at = s.last[Verify].at.Add(verifySpacing)
		}
	case s.suspects(t):
		c.at = s.suspectAt
		if s.verified(t) {
			c.at = s.last[Verify].at.Add(verifySpacing)
		}
	case w.CheckInterval > 0:
		c.at = s.nextCheckAt(w)
	default:
		return candidate{}, false
	}
	if f := s.last[Verify].failure; f != nil {
		c.at = s.afterFailure(c.at, w, Verify, f, t, w.reportSince)
		if s.last[Verify].token == t.Fingerprint() {
			c.cause = Cause{Kind: CheckFailed, Err: f.Err, Reported: open}
		}
	}
	return c, true
}

// suspects reports whether a call for a ticket found t invalid, and WeChat was not
// asked about it since. It is asked once for each token: an answer that is wrong
// again and again is no reason to ask again and again.
func (s *State) suspects(t *record.Token) bool {
	return s.suspect != "" && s.suspect == t.Fingerprint() && (!s.verified(t) || s.last[Verify].at.Before(s.suspectAt))
}

// nextCheckAt is when the interval is over. Any call that told something of the token
// counts, and a start of the operator is no reason for one.
func (s *State) nextCheckAt(w *Wants) time.Time {
	wait := w.CheckInterval
	if f := s.last[Verify].failure; f != nil {
		wait = double(wait, f.Count, max(wait, longestCheckWait))
	}
	last := later(s.Since, later(s.tokenAt(), s.last[Verify].at))
	return last.Add(wait + offset(w.UID, w.CheckInterval/10))
}

// handledReport is the report of t that WeChat has contradicted: the present one,
// or the one that the Secret remembers.
func (s *State) handledReport(w *Wants, t *record.Token) string {
	if w.Report != "" && w.Reported == t.Fingerprint() && s.verified(t) && !s.last[Verify].at.Before(w.reportSince) {
		return w.Report
	}
	if w.holds(t) {
		return w.Secret.HandledReport
	}
	return ""
}
