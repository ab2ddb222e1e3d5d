package tokenserver

import (
	"fmt"
	"net/http"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// longestAge is how long a client may use a token without asking again. WeChat lets the
// old one work for 5 minutes after each refresh: there is time for 5 questions.
const longestAge = time.Minute

// Reasons of refusals, beside those of the condition Ready and the names of HTTP statuses.
const (
	reasonTokenPending       = "TokenPending"
	reasonTicketNotRequested = "TicketNotRequested"
)

// What a client asks for: the token, or the ticket at that place of record.TicketTypes.
const theToken = -1

// answer is a value and what a client may do with it.
type answer struct {
	value       string
	fingerprint string
	appID       string
	expiresAt   time.Time
	maxAge      time.Duration
}

// refusal is why there is no answer.
type refusal struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`

	retryAfter time.Duration
}

// answerTo is what to answer now who asks for the token of o, or for a ticket. s is the
// Secret that o names; nil if there is none.
func answerTo(what int, o *object, s *secret, now time.Time) (*answer, *refusal) {
	condition := o.ready
	if what != theToken {
		if !o.tickets[what] {
			return nil, &refusal{Code: http.StatusNotFound, Reason: reasonTicketNotRequested, Message: fmt.Sprintf("spec.tickets of the WeChatToken does not ask for %s: add it there", record.TicketTypes[what].Name)}
		}
		condition = o.ticketsReady
	}
	v := s.valueFor(o, what)
	switch {
	case v.text == "":
		return nil, notNow(condition, reasonTokenPending, "The Secret does not hold it at the moment. The operator writes it: ask again")
	case !now.Before(v.expiresAt), s.ahead(now):
		return nil, notNow(condition, v1alpha1.ReasonTokenExpired, "The Secret holds an expired one, and the operator fetches the next: ask again")
	// The status may tell of the token before this one.
	case what == theToken && condition.isBad() && o.fingerprint == v.fingerprint():
		return nil, notNow(condition, "", "")
	}
	return &answer{v.text, v.fingerprint(), s.appID, v.expiresAt, maxAge(o.overlap, v.expiresAt.Sub(now))}, nil
}

// isBad reports whether it says that something is wrong.
func (c *condition) isBad() bool { return c != nil && c.isFalse }

// notNow is the refusal while there is no valid token: the reason of the condition, unless
// that says that all is well because it has yet to see the Secret.
func notNow(c *condition, reason, message string) *refusal {
	if c.isBad() {
		reason, message = c.reason, c.message
	}
	return &refusal{Code: http.StatusConflict, Reason: reason, Message: message, retryAfter: time.Second}
}

// maxAge is how long a client may use a token that has left to live. overlap is how long
// before its end the next one is fetched: so long, at least, both work. It is 5 minutes,
// and less against a fake WeChat in compressed time.
func maxAge(overlap, left time.Duration) time.Duration {
	return max(0, min(longestAge, overlap/5, left-time.Second).Truncate(time.Second))
}
