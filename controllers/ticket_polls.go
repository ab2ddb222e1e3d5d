package controllers

import (
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// poll is what this process knows of a ticket of an account.
type poll struct {
	ticket  ticket
	before  string    // the ticket that this one has replaced
	at      time.Time // when the last call began that brought a ticket
	failure *failure  // of the last call; nil after a good one
	with    string    // fingerprint of the token of that call
}

// learn notes a ticket that was found on a Secret, and reports whether it is
// news.
func (p *poll) learn(found ticket, now time.Time) bool {
	best := p.ticket.newer(found, now)
	if best == p.ticket || best.ahead(now) {
		return false
	}
	if best.value != p.ticket.value {
		p.before = p.ticket.value
	}
	p.ticket = best
	if p.at.Before(best.seen) {
		p.at = best.seen
	}
	return true
}

// brought notes what a call that began at start has brought.
func (p *poll) brought(appID string, got wechat.Ticket, start time.Time) {
	start = start.UTC().Truncate(time.Second) // the Secret keeps whole seconds
	was, last := p.ticket, p.at
	p.at, p.failure = start, nil
	// Servers of WeChat may not change tickets in the same moment. One that was
	// seen to be replaced is not young again because one of them still gives it.
	if got.Value == p.before && was.trusted(start) {
		return
	}
	t := ticket{value: got.Value, appID: appID, seen: start, life: min(got.Life, longestTicket)}
	grace := gracePolls * t.every()
	given := start // WeChat is known to give the ticket until then
	switch {
	case got.Value == was.value && !was.ahead(start):
		t.seen = was.seen
		if was.end.Sub(start) > grace/2 { // it outlasts the next poll, and is told again then
			return
		}
	case was.value != "" && !was.ahead(start) && last.Add(t.life).After(start):
		given = last.Add(t.life)
	}
	t.end = given.Add(grace).Truncate(time.Second)
	if got.Value != was.value {
		p.before = was.value
	}
	p.ticket = t
}

// ticketOf is the newest ticket of a kind that is known for the spec. One that is
// on the Secret stays until there is another, however old it is (P2).
func (o observed) ticketOf(kind int, now time.Time) ticket {
	best := o.polls[kind].ticket
	there := ticketsIn(o.secret)
	if o.inSecret != nil {
		there = o.inSecret.tickets
	}
	found := []ticket{there[kind]}
	if o.inOld != nil {
		found = append(found, o.inOld.tickets[kind])
	}
	for _, t := range found {
		if t.appID == o.wt.Spec.AppID {
			best = best.newer(t, now)
		}
	}
	return best
}

// wantTickets are the tickets that the target is to carry.
func (o observed) wantTickets(now time.Time) (want tickets) {
	for _, kind := range wantedKinds(o.wt) {
		want[kind] = o.ticketOf(kind, now)
	}
	return want
}

// ticketWish is the call for a ticket that is wanted next, if any: never without
// a live token. It stands behind all others, see planCall.
func (o observed) ticketWish(best *issued, need bool, now time.Time) (w wish, wanted bool) {
	if need || o.lost {
		return wish{}, false
	}
	for _, kind := range wantedKinds(o.wt) {
		if at := o.pollAt(kind, best, now); !wanted || at.Before(w.at) {
			w, wanted = wish{at: at, ticket: ticketKinds[kind].name}, true
		}
	}
	return w, wanted
}

// pollAt is when to ask for a ticket with the token best.
func (o observed) pollAt(kind int, best *issued, now time.Time) time.Time {
	p, t := o.polls[kind], o.ticketOf(kind, now)
	at := now
	switch {
	case t.trusted(now):
		last := o.since // a start of the operator is no reason to ask
		if p.at.After(last) {
			last = p.at
		}
		if at = t.nextPoll(o.wt.UID, last); t.end.Before(at) {
			at = t.end
		}
	case !p.at.IsZero() && p.at.Add(t.every()).After(now): // it was over before its answer was there
		at = p.at.Add(t.every())
	}
	f := p.failure
	if f == nil || o.wt.Generation != o.polled[kind] || (f.err.InvalidToken() && p.with != best.fingerprint) {
		return at
	}
	wait := ticketWait(f, t)
	if again := f.at.Add(wait + offset(o.wt.UID, min(wait/10, time.Minute))); again.After(at) {
		return again
	}
	return at
}

// ticketWait is the wait after a failed call for a ticket. Where the failure may
// pass by itself, it begins at 10 s and ends at the time between two polls: a
// ticket is trusted for half an hour more, so nothing is gained by a try each
// second, and an outage of a day costs the quota no more than a day without one.
func ticketWait(f *failure, t ticket) time.Duration {
	if f.err.Class() == wechat.Transient || f.err.InvalidToken() {
		return double(max(t.every()/60, shortestPause), f.count, t.every())
	}
	return waitAfter(f, nil)
}

// doubts reports whether a call for a ticket found t dead, and WeChat was not
// asked about it since. Once for each token: an answer that is wrong again and
// again is no reason to ask again and again.
func (o observed) doubts(t *issued) bool {
	return o.doubted == t.fingerprint && (!o.asked(t) || o.checked.at.Before(o.doubtedAt))
}

// wakeAtTicketEnd makes the object be looked at when a ticket that it wants is no
// longer trusted: TicketsReady must turn False then.
func (p *plan) wakeAtTicketEnd(wt *v1alpha1.WeChatToken, now time.Time) {
	if p.token == nil {
		return
	}
	for _, kind := range wantedKinds(wt) {
		if t := p.token.tickets[kind]; t.trusted(now) {
			p.wakeAt(t.end)
		}
	}
}
