package account

import (
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// Call is one call to WeChat.
type Call struct {
	Kind        Kind
	Mode        v1alpha1.Mode
	Credentials wechat.Credentials
	Token       record.Token // that is in use; the zero one if there is none
	Start       time.Time

	known []string // token and tickets, which an answer must not show
	payer string   // who pays if WeChat refuses it; empty for nobody
}

// Answer is what a call has brought. Err is nil if it brought what it was made for.
type Answer struct {
	Token  wechat.Token
	Ticket wechat.Ticket
	Valid  bool // of a Verify
	Err    *wechat.Error
}

// refused reports whether WeChat has said no to what was asked.
func (a Answer) refused() bool {
	return a.Err != nil && a.Err.Code != 0 && (a.Err.Class() == wechat.WrongRequest || a.Err.Class() == wechat.Refused)
}

// New reports whether the answer has another token than the one in use.
func (c Call) New(a Answer) bool {
	return c.Kind.ForToken() && a.Err == nil && a.Token.Value != c.Token.Value
}

// Done says what the answer to a call changes.
func (s *State) Done(c Call, a Answer, now time.Time) {
	last := &s.last[c.Kind]
	last.at, last.token = c.Start, c.Token.Fingerprint()
	switch {
	case c.Kind == Check && a.Err != nil:
		last.failure = last.failure.followedBy(a.Err, now)
		return
	case c.Kind.ForToken():
		s.doneToken(c, a, now)
		return
	}
	if c.Kind == Verify {
		s.Known.Spent = s.Known.Spent.CallVerify(c.Start)
		s.foundInvalid = a.Err == nil && !a.Valid
		s.sameTokenReturned = s.sameTokenReturned && c.Start.Sub(s.tokenAt()) < justNow
	}
	switch {
	case a.Err != nil:
		last.failure = last.failure.followedBy(a.Err, now)
		if c.Kind.ForTicket() && a.Err.InvalidToken() && s.suspect != last.token {
			s.suspect, s.suspectAt = last.token, now
		}
	case c.Kind == Verify:
		last.failure, last.succeededAt = nil, c.Start
	default:
		last.failure = nil
		s.doneTicket(c.Kind.place(), a.Ticket, c.Start)
	}
}

func (s *State) doneToken(c Call, a Answer, now time.Time) {
	if s.Mode == v1alpha1.ModeClassic {
		s.Known.Spent = s.Known.Spent.CallClassic(c.Start)
	}
	if a.Err == nil {
		s.obtained(c, a, now)
		return
	}
	if a.Err.Lost {
		s.forcedUncounted = s.forcedUncounted || c.Kind == Force
		s.answerLost = s.answerLost || c.Kind == Force || s.Mode == v1alpha1.ModeClassic
	}
	s.failedToken(c.Kind, a.Err, now)
}

// obtained notes the token that a call has brought.
func (s *State) obtained(c Call, a Answer, now time.Time) {
	isNew := c.New(a)
	if isNew && c.Token.Value != "" {
		s.succeeded(c)
	}
	if c.Kind == Force {
		s.Known.Spent = s.Known.Spent.Force(s.Mode, c.Start)
	}
	t := s.tokenOf(c, a.Token)
	if isNew && s.calledInvalid(&c.Token) {
		t.PredecessorInvalidAt = s.last[Verify].at.UTC().Truncate(time.Second)
	}
	s.Known.Token = t
	s.forcedUncounted, s.answerLost = false, false
	s.sameTokenReturned = s.sameTokenReturned || !isNew
	s.last[c.Kind].succeededAt = c.Start
	s.last[Check].failure = nil
	switch {
	case c.Kind == Force && !isNew:
		s.failedToken(Force, nil, now)
	case c.Kind == Check && !isNew:
		s.last[Refresh].failure = nil // but a Force goes on to wait
	default:
		s.last[Refresh].failure, s.last[Force].failure = nil, nil
	}
}

// succeeded notes that the token in use at the call has a successor, which the call
// has brought.
func (s *State) succeeded(c Call) {
	elsewhere := s.replacedElsewhere(c)
	s.replace(&c.Token, s.replacedAfter(c, elsewhere))
	if elsewhere {
		s.Known.Spent = s.Known.Spent.SeenElsewhere(c.Start)
	}
	if s.Mode == v1alpha1.ModeStable && c.Kind != Force && (elsewhere || s.forcedUncounted) {
		s.Known.Spent = s.Known.Spent.Force(s.Mode, c.Start) // WeChat counts the forced calls of all alike
	}
}

// failedToken notes a failed call for a token. err is nil if the same token came
// back. Refresh and Force share one failure: the last.
func (s *State) failedToken(kind Kind, err *wechat.Error, now time.Time) {
	before, _ := s.tokenFailure()
	s.last[Refresh].failure, s.last[Force].failure = nil, nil
	s.last[kind].failure = before.followedBy(err, now)
}

// replacedElsewhere reports whether somebody else has replaced the token that was in
// use at the call, which has brought another one: WeChat has called it invalid; or,
// in mode Stable, WeChat had no reason of its own to replace it yet. A call of this
// operator whose answer was lost may have done it.
func (s *State) replacedElsewhere(c Call) bool {
	switch {
	case s.forcedUncounted || s.answerLost:
		return false
	case s.calledInvalid(&c.Token):
		return true
	default:
		return s.Mode == v1alpha1.ModeStable && c.Kind != Force && c.Start.Before(s.windowOf(&c.Token).Add(-sameEnd))
	}
}

// replacedAfter is the time after which the token in use at the call got its
// successor. WeChat does not tell when somebody else has forced one.
func (s *State) replacedAfter(c Call, elsewhere bool) time.Time {
	switch {
	case c.Kind == Force || s.Mode == v1alpha1.ModeClassic:
		return c.Start
	case elsewhere || s.forcedUncounted:
		return later(c.Token.ObtainedAt, s.tokenAt()) // it was WeChat's current one then
	default:
		return earlier(c.Start, s.windowOf(&c.Token))
	}
}

// windowOf is when the last window of a stable token begins.
func (s *State) windowOf(t *record.Token) time.Time { return t.ExpiresAt.Add(-s.Window) }

// sameEnd is how far two ends of one token may be apart, given whole seconds and
// the time a call takes. What differs more is a correction: the clock was set, or
// WeChat has changed its mind.
const sameEnd = 3 * time.Second

// tokenOf is what is remembered of the token that a call has brought. The token in
// use, given once more, stays as it was.
func (s *State) tokenOf(c Call, got wechat.Token) record.Token {
	start := c.Start.UTC().Truncate(time.Second) // the Secret stores whole seconds
	t := record.Token{
		Value: got.Value, AppID: c.Credentials.AppID, Mode: s.Mode,
		ObtainedAt: start, ExpiresAt: start.Add(got.Life),
	}
	if p := c.Token; p.Value == t.Value {
		t.ObtainedAt, t.PredecessorInvalidAt = p.ObtainedAt, p.PredecessorInvalidAt
		if t.ExpiresAt.Sub(p.ExpiresAt).Abs() <= sameEnd && c.Start.Before(p.ExpiresAt) {
			t.ExpiresAt = p.ExpiresAt
		}
	}
	return t
}
