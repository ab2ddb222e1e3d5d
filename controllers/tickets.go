package controllers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// WeChat gives the same ticket to whoever asks, and a new one about every two
// hours; asking ends none, and what becomes of the access_token touches none.
// But expires_in is that of a new ticket, whenever it is asked for: how old a
// ticket is, it does not tell, and who believed it had an hour of "invalid
// signature". The old one works on for a while, an hour by one report; the quota
// is "very limited", and no number is known (research on getticket).
//
// So WeChat is asked again and again, and what it gives is written. A ticket is
// trusted for the grace after the last moment at which WeChat is known to give
// it:
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

	// longestTicket is the life of a ticket by WeChat's word. A longer expires_in
	// is not believed.
	longestTicket = 2 * time.Hour

	// unauthorizedWait is the wait after errcode 48001: somebody must have the
	// account verified.
	unauthorizedWait = time.Hour
)

// ticketKinds are the types of tickets, in the order in which they are asked for.
var ticketKinds = [...]struct {
	name       v1alpha1.TicketType
	wire       string // its name at WeChat
	annotation string // what is remembered of it, see ticket.record
}{
	{v1alpha1.TicketJSAPI, "jsapi", "wechattoken.io/jsapi-ticket"},
	{v1alpha1.TicketWxCard, "wx_card", "wechattoken.io/wx-card-ticket"},
}

// kindOf is the place of a type in ticketKinds.
func kindOf(name v1alpha1.TicketType) int {
	for kind := range ticketKinds {
		if ticketKinds[kind].name == name {
			return kind
		}
	}
	return 0 // the API server takes no other
}

// wantedKinds are the types that a spec asks for.
func wantedKinds(wt *v1alpha1.WeChatToken) []int {
	var kinds []int
	for kind := range ticketKinds {
		if slices.Contains(wt.Spec.Tickets, ticketKinds[kind].name) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// ticketKeys are the keys of a ticket in the Secret, and of its end.
func ticketKeys(wt *v1alpha1.WeChatToken, kind int) (ticket, end string) {
	keys := wt.TokenSecretKeys()
	if ticketKinds[kind].name == v1alpha1.TicketJSAPI {
		return string(keys.JSAPITicket), string(keys.JSAPITicketExpiresAt)
	}
	return string(keys.WxCardTicket), string(keys.WxCardTicketExpiresAt)
}

// ticket is a ticket and what is remembered of it. The zero one is none.
type ticket struct {
	value string
	appID string
	seen  time.Time     // when the call began that brought it first
	life  time.Duration // of a new one, by WeChat's word
	end   time.Time     // it is trusted until then
}

// tickets has one of each of ticketKinds.
type tickets [len(ticketKinds)]ticket

// ahead reports whether the ticket was seen in the future: a clock was wrong.
func (t ticket) ahead(now time.Time) bool { return t.seen.After(now.Add(clockSlack)) }

// trusted reports whether the ticket is there and within its trusted life.
func (t ticket) trusted(now time.Time) bool {
	return t.value != "" && now.Before(t.end) && !t.ahead(now)
}

// newer is the newer one of two tickets, or the later word on one and the same.
func (t ticket) newer(other ticket, now time.Time) ticket {
	switch {
	case other.value == "":
		return t
	case t.value == "", t.ahead(now) && !other.ahead(now):
		return other
	case other.ahead(now) && !t.ahead(now):
		return t
	case other.seen.After(t.seen), other.seen.Equal(t.seen) && other.end.After(t.end):
		return other
	}
	return t
}

// every is the time between two polls, in whole seconds as all that the Secret
// keeps.
func (t ticket) every() time.Duration {
	if t.value == "" {
		return longestTicket / pollsPerLife
	}
	return max((t.life / pollsPerLife).Truncate(time.Second), shortestPause)
}

// nextPoll is the start of the next slot after last, in which WeChat has told or
// need not be asked, and a bit more for each object. The slots are counted from
// when the ticket was seen first, which stands on the Secret, so that a restart
// moves none.
func (t ticket) nextPoll(uid types.UID, last time.Time) time.Time {
	every := t.every()
	start := max(last.Sub(t.seen), 0).Truncate(every) // of the slot of last
	return t.seen.Add(start + every + offset(uid, every/10))
}

// record is a ticket as an annotation remembers it: all but the ticket itself, of
// which it has the fingerprint, and a seal. It is empty for no ticket.
func (t ticket) record(kind int) string {
	if t.value == "" {
		return ""
	}
	return sealRecord(kind, strings.Join([]string{
		t.appID, fingerprint(t.value), stamp(t.seen), stamp(t.end), strconv.FormatInt(int64(t.life/time.Second), 10),
	}, " "))
}

func sealRecord(kind int, text string) string {
	return text + " " + hash(ticketKinds[kind].annotation, text)[:16]
}

// ticketsIn reads back what record wrote. A ticket that somebody has edited, or
// whose record they have, is none. It does not lean on the seal of the token:
// what spoils that one leaves the tickets where they are.
func ticketsIn(s *corev1.Secret) (found tickets) {
	if s == nil {
		return found
	}
	for kind := range ticketKinds {
		record := s.Annotations[ticketKinds[kind].annotation]
		text, _, _ := cutLast(record)
		fields := strings.Split(text, " ")
		if record == "" || record != sealRecord(kind, text) || len(fields) != 5 {
			continue
		}
		t := ticket{appID: fields[0]}
		var errs [3]error
		t.seen, errs[0] = time.Parse(time.RFC3339, fields[2])
		t.end, errs[1] = time.Parse(time.RFC3339, fields[3])
		seconds, err := strconv.ParseInt(fields[4], 10, 32)
		t.life, errs[2] = time.Duration(seconds)*time.Second, err
		if errs != [3]error{} {
			continue
		}
		for _, v := range s.Data {
			if fingerprint(string(v)) == fields[1] {
				t.value = string(v)
				found[kind] = t
				break
			}
		}
	}
	return found
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

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
	if f == nil || o.wt.Generation != o.polled[kind] || (f.err.DeadToken() && p.with != best.fingerprint) {
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
	switch class := f.err.Class(); {
	case unauthorized(f.err):
		return unauthorizedWait
	case class == wechat.Transient, f.err.DeadToken():
		return double(max(t.every()/60, shortestPause), f.count, t.every())
	default:
		return waitAfter(f, nil)
	}
}

// unauthorized reports whether the account has no right to the ticket (errcodes
// of 全局返回码).
func unauthorized(err *wechat.Error) bool { return err.Code == 48001 || err.Code == 50001 }

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

// ticketNews says how it stands with one ticket.
type ticketNews struct {
	live            bool
	reason, message string
	err             *v1alpha1.WeChatError
}

// tellTicket says how it stands with the ticket t in the Secret. f is the failure
// of the last call for it, if it failed.
func tellTicket(t ticket, f *failure, now time.Time) ticketNews {
	n := ticketNews{live: t.trusted(now)}
	switch {
	case f != nil:
		v := refused(f.err)
		n.reason, n.message, n.err = v.reason, v.message, v.err
		what := fmt.Sprintf("WeChat answered %d (%s)", f.err.Code, f.err.Message)
		switch {
		case f.err.Code == 0:
			n.message = fmt.Sprintf("WeChat gave no ticket: %s. The operator tries again", f.err.Message)
		case unauthorized(f.err):
			n.reason = v1alpha1.ReasonTicketUnauthorized
			n.message = what + ". WeChat gives this account no such ticket: have it verified (认证), or the interface granted, at mp.weixin.qq.com, or take the type out of spec.tickets"
		case f.err.DeadToken():
			n.reason = v1alpha1.ReasonTicketPending
			n.message = what + ". It takes the access_token for dead: the operator asks it whether that lives, and then for the ticket again"
		}
		if n.live {
			n.message += ". The ticket in the Secret is still trusted"
		}
	case n.live:
		n.reason = v1alpha1.ReasonTicketsLive
	case t.value != "":
		n.reason, n.message = v1alpha1.ReasonTicketExpired, ticketExpired
	default:
		n.reason, n.message = v1alpha1.ReasonTicketPending, "The ticket is fetched as soon as there is a live token"
	}
	return n
}

const ticketExpired = "No poll has confirmed the ticket in time. The Secret still holds it"

// tellTickets brings what s says of tickets up to date with p.
func tellTickets(s *v1alpha1.WeChatTokenStatus, wt *v1alpha1.WeChatToken, p plan, now time.Time) {
	s.Tickets = nil
	if len(wt.Spec.Tickets) == 0 {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionTicketsReady)
		return
	}
	var worst ticketNews
	var messages []string
	for _, kind := range wantedKinds(wt) {
		var t ticket
		if p.token != nil {
			t = p.token.tickets[kind]
		}
		n := tellTicket(t, p.polls[kind].failure, now)
		status := v1alpha1.TicketStatus{Type: ticketKinds[kind].name, LastError: n.err}
		if t.value != "" {
			status.Fingerprint = fingerprint(t.value)
			status.ExpirationTime, status.LastRefreshTime = new(metav1.NewTime(t.end)), new(metav1.NewTime(t.seen))
		}
		s.Tickets = append(s.Tickets, status)
		if n.message != "" {
			messages = append(messages, fmt.Sprintf("%s: %s", status.Type, n.message))
		}
		if worst.reason == "" || (worst.live && !n.live) || (worst.live == n.live && worst.message == "") {
			worst = n
		}
	}
	c := metav1.Condition{
		Type: v1alpha1.ConditionTicketsReady, Status: metav1.ConditionFalse, ObservedGeneration: wt.Generation,
		Reason: worst.reason, Message: strings.Join(messages, ". "), LastTransitionTime: metav1.NewTime(now),
	}
	if worst.live {
		c.Status = metav1.ConditionTrue
	}
	if len(messages) == 0 {
		c.Message = "The Secret holds a trusted ticket of each type"
	}
	meta.SetStatusCondition(&s.Conditions, c)
}

// expireTickets turns TicketsReady False if a ticket is past its trusted end,
// where there is nothing else to tell.
func expireTickets(s *v1alpha1.WeChatTokenStatus, now time.Time) {
	c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionTicketsReady)
	if c == nil || c.Status != metav1.ConditionTrue {
		return
	}
	for _, t := range s.Tickets {
		if t.ExpirationTime != nil && !now.Before(t.ExpirationTime.Time) {
			c.Status, c.Reason, c.LastTransitionTime = metav1.ConditionFalse, v1alpha1.ReasonTicketExpired, metav1.NewTime(now)
			c.Message = fmt.Sprintf("%s: %s", t.Type, ticketExpired)
			return
		}
	}
}
