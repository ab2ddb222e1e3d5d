package controllers

import (
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
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
