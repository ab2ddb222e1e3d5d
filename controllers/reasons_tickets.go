package controllers

import (
	"fmt"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/console"
)

// ticketFinding says how things are with one ticket. message is empty if all is
// well.
type ticketFinding struct {
	trusted         bool
	reason, message string
	err             *v1alpha1.WeChatError
}

const ticketExpired = "No poll has confirmed the ticket in time. The Secret still holds it"

// ticketOfNobody says that a taker asks for a ticket that its source does not have.
var ticketOfNobody = ticketFinding{reason: v1alpha1.ReasonTicketPending, message: "The source does not ask for this ticket: add its type to spec.tickets there"}

// ofTicket says how things are with the ticket t in the Secret. failure is that of
// the last call for it; nil if it did not fail.
func ofTicket(t record.Ticket, failure *account.Failure, now time.Time) ticketFinding {
	f := ticketFinding{trusted: t.Trusted(now)}
	switch {
	case failure != nil:
		f = ofTicketError(failure.Err, f.trusted)
	case f.trusted:
		f.reason = v1alpha1.ReasonTicketsValid
	case t.Value != "":
		f.reason, f.message = v1alpha1.ReasonTicketExpired, ticketExpired
	default:
		f.reason, f.message = v1alpha1.ReasonTicketPending, "The ticket is fetched as soon as there is a valid token"
	}
	return f
}

func ofTicketError(err *wechat.Error, trusted bool) ticketFinding {
	token := ofError(err)
	f := ticketFinding{trusted: trusted, reason: token.reason, message: token.message, err: token.err}
	what := fmt.Sprintf("WeChat answered %d (%s)", err.Code, err.Message)
	switch {
	case err.Code == 0:
		f.message = fmt.Sprintf("WeChat gave no ticket: %s. The operator tries again", err.Message)
	case err.Meaning().Ungranted:
		f.reason = v1alpha1.ReasonTicketUnauthorized
		f.message = what + ". WeChat gives this account no such ticket: have it verified (认证), or the interface granted, at " + console.Interfaces + "; or take the type out of spec.tickets"
	case err.InvalidToken():
		f.reason = v1alpha1.ReasonTicketPending
		f.message = what + ". It takes the access_token for invalid: the operator asks it whether that is so, and then for the ticket again"
	}
	if trusted {
		f.message += ". The ticket in the Secret is still trusted"
	}
	return f
}
