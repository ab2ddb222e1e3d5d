package account

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// WeChat gives the same ticket to everybody who asks, and a new one about every
// two hours; asking ends none, and what becomes of the access_token touches none.
// But expires_in is that of a new ticket, whenever it is asked for: how old a
// ticket is, it does not tell, and who believed it had an hour of "invalid
// signature". The old one works on for a while, an hour by one report; the quota
// is "very limited", and no number is known (research on getticket).
//
// So WeChat is polled, and what it gives is written. A ticket is trusted for the
// grace after the last moment at which WeChat is known to give it:
//
//   - one that was seen to replace another is younger than the poll before, and
//     so given until that poll and expires_in. This outlasts the poll that finds
//     its successor, so a ticket costs one write;
//   - of any other ticket that moment is the poll that has just brought it. Its
//     trust is prolonged when it is about to end, every second poll.
const (
	// pollsPerLife is how often WeChat is asked in the life of a ticket: every 10
	// minutes for 2 hours, 144 times a day. Consumers so have a new ticket 10
	// minutes after WeChat at most, well within the hour in which the old one
	// works.
	pollsPerLife = 12

	// gracePolls is how many polls a ticket is trusted for beyond the moment at
	// which it is known to be given: half an hour, half of what the old one was
	// seen to work. One poll in that time may fail or fall to a restart without a
	// word.
	gracePolls = 3
)

// every is the time between two polls, in whole seconds as all that the Secret
// stores.
func every(t record.Ticket) time.Duration {
	if t.Value == "" {
		return record.LongestTicket / pollsPerLife
	}
	return max((t.Life / pollsPerLife).Truncate(time.Second), shortestPause)
}

// nextPoll is the start of the next slot after last, in which WeChat has told or
// need not be asked, and a bit more for each WeChatToken. The slots are counted
// from when the ticket was seen first, which the Secret stores, so that a restart
// moves none.
func nextPoll(t record.Ticket, uid types.UID, last time.Time) time.Time {
	pause := every(t)
	start := max(last.Sub(t.FirstSeen), 0).Truncate(pause) // of the slot of last
	return t.FirstSeen.Add(start + pause + offset(uid, pause/10))
}

// Ticket is the newest ticket at a place in record.TicketTypes. One that is on the
// Secret stays until there is another, however old it is: good is never replaced
// by nothing.
func (s *State) Ticket(w *Wants, place int, now time.Time) record.Ticket {
	best := s.Known.Tickets[place]
	if w.Secret != nil && (w.Secret.Verified || w.AppSecretIn == "") { // who may edit a taker's Secret may not have the AppSecret
		best = best.Newer(w.Secret.Tickets[place], now)
	}
	return best
}

// ticketCall is the call for a ticket that is wanted next, if any: never without a
// valid token in the Secret, and never before the last ticket is there. A crash
// between a call and the write of what another has brought would cost both.
func (s *State) ticketCall(w *Wants, t *record.Token, noToken bool, now time.Time) (c candidate, wanted bool) {
	if noToken || s.answerLost || !w.holds(t) || !w.holdsTickets(s.Known.Tickets) {
		return candidate{}, false
	}
	for _, place := range w.Tickets {
		if at := s.pollAt(w, place, t, now); !wanted || at.Before(c.at) {
			c, wanted = candidate{kind: Ticket + Kind(place), at: at}, true
		}
	}
	return c, wanted
}

// pollAt is when to ask for a ticket with the token.
func (s *State) pollAt(w *Wants, place int, token *record.Token, now time.Time) time.Time {
	last, t := s.last[int(Ticket)+place], s.Ticket(w, place, now)
	at := now
	switch {
	case t.Trusted(now):
		at = nextPoll(t, w.UID, later(s.Since, last.succeededAt)) // a start of the operator is no reason to ask
		if t.ExpiresAt.Before(at) {
			at = t.ExpiresAt
		}
	case !last.succeededAt.IsZero() && last.succeededAt.Add(every(t)).After(now): // it was over before its answer was there
		at = last.succeededAt.Add(every(t))
	}
	f := last.failure
	if f == nil || w.specSince.After(last.at) || (f.Err.InvalidToken() && last.token != token.Fingerprint()) {
		return at
	}
	wait := s.ticketWait(f, t)
	return later(at, f.At.Add(wait+offset(w.UID, min(wait/10, time.Minute))))
}

// ticketWait is the wait after a failed call for a ticket. Where the failure may
// pass by itself, it begins at 10 s and ends at the time between two polls: a
// ticket is trusted for half an hour more, so nothing is gained by a try each
// second, and an outage of a day costs the quota no more than a day without one.
func (s *State) ticketWait(f *Failure, t record.Ticket) time.Duration {
	if f.Err.Class() == wechat.Transient || f.Err.InvalidToken() {
		return double(max(every(t)/60, shortestPause), f.Count, every(t))
	}
	return s.waitAfter(f, nil)
}

// doneTicket notes the ticket that a call which began at start has brought.
func (s *State) doneTicket(place int, got wechat.Ticket, start time.Time) {
	start = start.UTC().Truncate(time.Second)
	last := &s.last[int(Ticket)+place]
	was, before := s.Known.Tickets[place], last.succeededAt
	last.succeededAt = start
	// Servers of WeChat may not change tickets in the same moment. One that was
	// seen to be replaced is not young again because one of them still gives it.
	if got.Value == s.replacedTicket[place] && was.Trusted(start) {
		return
	}
	t := record.Ticket{Value: got.Value, FirstSeen: start, Life: min(got.Life, record.LongestTicket)}
	grace := gracePolls * every(t)
	given := start // WeChat is known to give the ticket until then
	switch {
	case got.Value == was.Value && !was.Ahead(start):
		t.FirstSeen = was.FirstSeen
		if was.ExpiresAt.Sub(start) > grace/2 { // it outlasts the next poll, and is prolonged then
			return
		}
	case was.Value != "" && !was.Ahead(start) && before.Add(t.Life).After(start):
		given = before.Add(t.Life)
	}
	t.ExpiresAt = given.Add(grace).Truncate(time.Second)
	if got.Value != was.Value {
		s.replacedTicket[place] = was.Value
	}
	s.Known.Tickets[place] = t
}
