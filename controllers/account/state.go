package account

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// Kind is a kind of call.
type Kind int

const (
	// Refresh brings the token of now: in mode Stable the present one until 5
	// minutes before its end, in mode Classic always a new one.
	Refresh Kind = iota
	// Force brings a new token, which ends the present one. In mode Classic the call
	// is the same as Refresh.
	Force
	// Check brings the token of now, as Refresh does, to make sure that it is still
	// the one in use: in mode Stable only. It has failures of its own.
	Check
	// Verify asks whether the token is valid.
	Verify
	// Ticket and the place in record.TicketTypes is the kind of a ticket.
	Ticket
)

const kinds = int(Ticket) + len(record.TicketTypes)

// ForToken reports whether a call of the kind brings a token.
func (k Kind) ForToken() bool { return k <= Check }

// ForTicket reports whether a call of the kind brings a ticket.
func (k Kind) ForTicket() bool { return k >= Ticket }

// place is where in record.TicketTypes the ticket of a kind is.
func (k Kind) place() int { return int(k - Ticket) }

// State is what this process knows of an account.
type State struct {
	Mode v1alpha1.Mode
	// Window is how long before its end WeChat replaces a stable token, and how long
	// a token stays valid when there is a newer one: 5 minutes (getAccessToken,
	// getStableAccessToken).
	Window time.Duration
	// Since is when this process first heard of the account. Its start is no reason
	// for a call.
	Since time.Time
	// Spread keeps accounts from being checked in the same moment: the UID of the
	// first WeChatToken that this process has seen of it.
	Spread types.UID

	// Known is the newest token and the newest tickets, and all that was spent.
	Known record.Record

	last [kinds]attempt

	// foundInvalid is what the last Verify has found of its token.
	foundInvalid bool
	// sameTokenReturned says that a plain call since then, or just before, has brought
	// the same token.
	sameTokenReturned bool
	// suspect is the token that a call for a ticket found invalid, at suspectAt.
	suspect   string
	suspectAt time.Time
	// replaced are the tokens that have a successor, the last one last.
	replaced []ending
	// replacedTicket is the ticket before the one in Known.
	replacedTicket [len(record.TicketTypes)]string

	// answerLost says that a call may have ended the token in use, and that its
	// answer, with the next token, did not arrive. Another call ends it.
	answerLost bool
	// forcedUncounted says that WeChat may know a forced call that no Secret counts:
	// its answer was lost, or an earlier process ended between the call and the write
	// of its token. Any call that brings a token tells, and a plain one is free.
	forcedUncounted bool
}

// ending is when a token ends that has a successor.
type ending struct {
	token string // fingerprint
	at    time.Time
}

// manyEndings is how many are remembered: more than an account can have in the life
// of a token.
const manyEndings = 32

// attempt is the last call of a kind.
type attempt struct {
	at          time.Time // when it began
	token       string    // fingerprint of the token that was in use
	succeededAt time.Time // when the last one began that was answered
	failure     *Failure  // nil after a good one
}

// Failure is a call without the answer it was made for.
type Failure struct {
	Err   *wechat.Error // nil if WeChat returned the same token on a forced call
	At    time.Time     // when it ended
	Count int           // failures of one class in a row, this one included
	Since time.Time     // when the first of those in a row ended that had the same errcode
}

// sameToken is the class of a forced call that returned the same token.
const sameToken wechat.Class = -1

func (f *Failure) class() wechat.Class {
	if f.Err == nil {
		return sameToken
	}
	return f.Err.Class()
}

// followedBy is the next failure, counted as one more in a row if it is of the
// same class.
func (f *Failure) followedBy(err *wechat.Error, now time.Time) *Failure {
	next := &Failure{Err: err, At: now, Count: 1, Since: now}
	if f == nil || f.class() != next.class() {
		return next
	}
	next.Count += f.Count
	if f.Err == nil || f.Err.Code == err.Code {
		next.Since = f.Since
	}
	return next
}

// Wants is what one WeChatToken wants of its account. The zero value wants nothing
// but a token.
type Wants struct {
	UID           types.UID // spreads calls
	Suspended     bool
	RefreshBefore time.Duration // in mode Classic
	CheckInterval time.Duration // 0 for no checks
	NeverForce    bool          // no Force for this one
	AppSecretIn   string        // its namespace, if it is another one: of a taker, which may not spend what is not its own
	ClassicPerDay int           // calls of mode Classic that the account has in a day; 0 for the usual
	Unchecked     bool          // the token on the Secret counts when WeChat has told of it
	Tickets       []int         // places in record.TicketTypes

	Generation int64
	Request    string // the refresh request
	Report     string // the report of an invalid token
	Reported   string // the fingerprint in the report

	// Secret is what the target, or the Secret before it, holds of the appid; nil
	// for nothing.
	Secret *record.Record

	// When this process first saw the present generation, request and report. A
	// generation that was there when the WeChatToken joined is as old as time.
	specSince, requestSince, reportSince time.Time
	// handled is the request that was handled last.
	handled string
}

// terms are what WeChat allows the account, as w says.
func (s *State) terms(w *Wants) budget.Terms {
	return budget.Terms{Mode: s.Mode, ClassicPerDay: w.ClassicPerDay}
}

// pending is the refresh request that nothing has answered yet; empty if there is
// none.
func (w *Wants) pending() string {
	if w.Request == w.handled {
		return ""
	}
	return w.Request
}

// holds reports whether the Secret holds the token.
func (w *Wants) holds(t *record.Token) bool {
	return w.Secret != nil && t != nil && w.Secret.Token.Value == t.Value
}

// holdsTickets reports whether the Secret holds the tickets that are wanted, as far
// as they are known.
func (w *Wants) holdsTickets(known record.Tickets) bool {
	return !slices.ContainsFunc(w.Tickets, func(place int) bool {
		is, want := w.Secret.Tickets[place], known[place]
		return want.Value != "" && (is.Value != want.Value || !is.ExpiresAt.Equal(want.ExpiresAt))
	})
}

// Token is the newest token; nil if there is none, or if a clock was wrong when
// it was obtained.
func (s *State) Token(now time.Time) *record.Token {
	if s.Known.Token.Value == "" || s.Known.Token.Ahead(now) {
		return nil
	}
	return &s.Known.Token
}

// End is when t ends, or has ended, by all that is known: earlier than its
// expires_in says if WeChat has called it invalid, or if it has a successor. A third
// token changes nothing of that.
func (s *State) End(t *record.Token) time.Time {
	end := t.ExpiresAt
	if at := s.last[Verify].at; at.Before(end) && s.calledInvalid(t) {
		end = at
	}
	newest := &s.Known.Token
	if newest.Value == t.Value {
		return end
	}
	is := func(e ending) bool { return e.token == t.Fingerprint() }
	if i := slices.IndexFunc(s.replaced, is); i >= 0 {
		return earlier(end, s.replaced[i].at)
	}
	if newest.ObtainedAt.After(t.ObtainedAt) {
		return earlier(end, newest.ObtainedAt.Add(s.Window))
	}
	return end
}

// replace notes that t has a successor, which WeChat has given at a time or later.
func (s *State) replace(t *record.Token, at time.Time) {
	if t.Value == "" {
		return
	}
	s.replaced = append(s.replaced[max(len(s.replaced)-manyEndings+1, 0):len(s.replaced):len(s.replaced)],
		ending{t.Fingerprint(), earlier(t.ExpiresAt, at.Add(s.Window))})
}

// Valid reports whether WeChat still accepts t. No token is not valid.
func (s *State) Valid(t *record.Token, now time.Time) bool { return t != nil && now.Before(s.End(t)) }

// calledInvalid reports whether WeChat has called t invalid.
func (s *State) calledInvalid(t *record.Token) bool {
	return t != nil && s.foundInvalid && s.last[Verify].token == t.Fingerprint()
}

// revoked reports whether WeChat has called t invalid before its end.
func (s *State) revoked(t *record.Token, now time.Time) bool {
	return s.calledInvalid(t) && now.Before(t.ExpiresAt)
}

// verified reports whether the last Verify was about t, and WeChat answered it.
func (s *State) verified(t *record.Token) bool {
	return s.last[Verify].token != "" && s.last[Verify].token == t.Fingerprint() && s.last[Verify].failure == nil
}

// tokenAt is when the last call began that brought a token.
func (s *State) tokenAt() time.Time {
	return later(later(s.last[Refresh].succeededAt, s.last[Check].succeededAt), s.last[Force].succeededAt)
}

// tokenFailure is how the last call for a token failed; nil if it did not.
func (s *State) tokenFailure() (f *Failure, forced bool) {
	if s.last[Force].failure != nil {
		return s.last[Force].failure, true
	}
	return s.last[Refresh].failure, false
}

// TicketFailure is how the last call failed for the ticket at a place in
// record.TicketTypes; nil if it did not.
func (s *State) TicketFailure(place int) *Failure { return s.last[int(Ticket)+place].failure }

// Learn notes what a Secret of the account says, and reports whether its token, or
// a ticket, is newer than those that were known.
func (s *State) Learn(found record.Record, now time.Time) bool {
	before := s.Known
	s.Known = record.Merge(s.Known, found, now)
	for i, t := range s.Known.Tickets {
		if was := before.Tickets[i].Value; t.Value != was {
			s.replacedTicket[i] = was
		}
		last := &s.last[int(Ticket)+i]
		if !t.Ahead(now) {
			last.succeededAt = later(last.succeededAt, t.FirstSeen)
		}
	}
	if s.Known.Token.Value != before.Token.Value {
		s.replace(&before.Token, s.Known.Token.ObtainedAt)
	}
	return s.Known.Token != before.Token || s.Known.Tickets != before.Tickets
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
