package record

import (
	"slices"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
)

// TicketTypes are the types of tickets, in the order in which WeChat is asked for
// them. A ticket is known by its place here.
var TicketTypes = [...]struct {
	Name v1alpha1.TicketType
	Wire string // the type in WeChat's request
	Keys func(v1alpha1.SecretKeys) (ticket, expiresAt v1alpha1.SecretKey)
}{
	{v1alpha1.TicketJSAPI, "jsapi", func(k v1alpha1.SecretKeys) (v1alpha1.SecretKey, v1alpha1.SecretKey) {
		return k.JSAPITicket, k.JSAPITicketExpiresAt
	}},
	{v1alpha1.TicketWxCard, "wx_card", func(k v1alpha1.SecretKeys) (v1alpha1.SecretKey, v1alpha1.SecretKey) {
		return k.WxCardTicket, k.WxCardTicketExpiresAt
	}},
}

// Tickets has one ticket of each type; the zero one where there is none.
type Tickets [len(TicketTypes)]Ticket

// Wanted are the places in TicketTypes that a spec asks for.
func Wanted(wt *v1alpha1.WeChatToken) []int {
	var places []int
	for i := range TicketTypes {
		if slices.Contains(wt.Spec.Tickets, TicketTypes[i].Name) {
			places = append(places, i)
		}
	}
	return places
}

// LongestTicket is the life of a ticket by WeChat's word. A longer expires_in is
// not believed.
const LongestTicket = 2 * time.Hour

// Ticket is a ticket and what is remembered of it. Times have whole seconds. The
// zero value is no ticket.
type Ticket struct {
	Value     string
	FirstSeen time.Time     // when the call began that brought it first
	Life      time.Duration // of a new one, by WeChat's word
	ExpiresAt time.Time     // it is trusted until then
}

// Ahead reports whether the ticket was seen in the future: a clock was wrong.
func (t Ticket) Ahead(now time.Time) bool { return t.FirstSeen.After(now.Add(clockSlack)) }

// Trusted reports whether there is a ticket, and its trusted life is not over.
func (t Ticket) Trusted(now time.Time) bool {
	return t.Value != "" && now.Before(t.ExpiresAt) && !t.Ahead(now)
}

// Newer is the newer one of two tickets, or the later word on one and the same.
func (t Ticket) Newer(other Ticket, now time.Time) Ticket {
	switch {
	case other.Value == "":
		return t
	case t.Value == "", t.Ahead(now) && !other.Ahead(now):
		return other
	case other.Ahead(now) && !t.Ahead(now):
		return t
	case other.FirstSeen.After(t.FirstSeen), other.FirstSeen.Equal(t.FirstSeen) && other.ExpiresAt.After(t.ExpiresAt):
		return other
	}
	return t
}
