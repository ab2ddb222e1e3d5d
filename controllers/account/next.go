package account

import (
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
)

// shortestPause is the shortest time between two Refresh calls for one account,
// however short-lived its tokens are.
const shortestPause = time.Second

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
//     free in mode Stable, and where the WeChatToken forbids it.
//   - Check and Verify as check.go has it.
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
	return append(all, s.checks(w, t, now)...)
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
	if s.Mode == v1alpha1.ModeClassic && s.Known.Spent.ClassicLeft(s.terms(w), now) == 0 {
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
	next, exhausted := s.Known.Spent.NextForced(s.terms(w), now)
	c := candidate{kind: Force, at: next, cause: Cause{Kind: Revoked}}
	switch {
	case w.NeverForce && s.onlyForceHelps():
		refresh.cause = Cause{Kind: ForceNotAllowed}
		return refresh // once a minute in mode Stable: somebody else may force one
	case exhausted:
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
	next, exhausted := s.Known.Spent.NextForced(s.terms(w), now)
	c := candidate{kind: Force, at: later(next, now)}
	plainHelps := s.Mode == v1alpha1.ModeStable && s.tokenAt().Before(w.requestSince) // once for each request
	switch {
	case w.NeverForce:
		c.cause = Cause{Kind: ForceNotAllowed}
		c.at, c.kind = s.due(w, t), Refresh
		if plainHelps {
			c.at = now
		}
	case s.forcedUncounted && s.Mode == v1alpha1.ModeStable:
		c.at, c.kind = now, Refresh
	case !next.After(now):
	case !exhausted:
		c.cause = Cause{Kind: ForceDeferred, Next: next}
	default:
		c.cause = Cause{Kind: ForceBudgetExhausted, Next: next}
		if plainHelps {
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
