package controllers

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/console"
)

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
		case f.err.Meaning().Ungranted:
			n.reason = v1alpha1.ReasonTicketUnauthorized
			n.message = what + ". WeChat gives this account no such ticket: have it verified (认证), or the interface granted, at " + console.Interfaces + "; or take the type out of spec.tickets"
		case f.err.InvalidToken():
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
