package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/internal/record"
)

// conditions are the types of those that the operator sets.
var conditions = []string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, v1alpha1.ConditionTicketsReady, v1alpha1.ConditionConsumersCurrent}

// statusOf is the status after a reconcile. As long as there is nothing new to say
// it is the old one, with Ready brought up to date.
func (r *WeChatTokenReconciler) statusOf(o *observation, out outcome, now time.Time) v1alpha1.WeChatTokenStatus {
	s := *o.wt.Status.DeepCopy()
	f, pending := findingOf(o, out, now)
	if pending {
		expire(&s, now)
		return s
	}

	s.Conditions = slices.DeleteFunc(s.Conditions, func(c metav1.Condition) bool { return !slices.Contains(conditions, c.Type) })
	s.ObservedGeneration, s.Takers = o.wt.Generation, describeTakers(o.takers)
	s.LastError = withFirstRID(s.LastError, f.err)
	ready := now.Before(endOf(&s)) && meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionReady)
	if !out.unread { // then the Secret is as it was, as far as anybody knows
		ready = describeToken(&s, o, out.holds, r.StableWindow, now)
	}
	set(&s, o.wt, v1alpha1.ConditionReady, ready, f.reason, f.message, now)
	for kind, ends := range map[string]end{v1alpha1.ConditionReconciling: byItself, v1alpha1.ConditionStalled: byPerson} {
		if f.ends == ends {
			set(&s, o.wt, kind, true, f.reason, f.message, now)
		} else {
			meta.RemoveStatusCondition(&s.Conditions, kind)
		}
	}
	if !out.unread {
		describeTickets(&s, o, out.holds, now)
	}
	if !r.Consumers {
		describeUnwatched(&s, o.wt, now)
	}
	return s
}

// withFirstRID is an error with the id of the first call that failed like it: each call
// has another one, and a status that changes with each would cost a write.
func withFirstRID(was, is *v1alpha1.WeChatError) *v1alpha1.WeChatError {
	if was == nil || is == nil {
		return is
	}
	same := *is
	same.RID = was.RID
	if !equality.Semantic.DeepEqual(&same, was) {
		return is
	}
	return was
}

// endOf is when the token that a status tells of expires; the zero time without one.
func endOf(s *v1alpha1.WeChatTokenStatus) time.Time {
	if s.ExpirationTime == nil {
		return time.Time{}
	}
	return s.ExpirationTime.Time
}

// isBadNews reports whether what was valid before is not valid now.
func isBadNews(before, now *v1alpha1.WeChatTokenStatus) bool {
	return slices.ContainsFunc([]string{v1alpha1.ConditionReady, v1alpha1.ConditionTicketsReady}, func(kind string) bool {
		return meta.IsStatusConditionTrue(before.Conditions, kind) && meta.IsStatusConditionFalse(now.Conditions, kind)
	})
}

// describeUnwatched says of consumers what a manager without --consumers has to
// say. With it, their controller has the word.
func describeUnwatched(s *v1alpha1.WeChatTokenStatus, wt *v1alpha1.WeChatToken, now time.Time) {
	s.Consumers = nil
	if !wt.Spec.NeedsConsumers() {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionConsumersCurrent)
		return
	}
	set(s, wt, v1alpha1.ConditionConsumersCurrent, false, v1alpha1.ReasonConsumersUnwatched,
		"spec.propagation and spec.restart need the manager's flag --consumers, and it runs without. "+
			"Helm: --set consumers.watch=true, and consumers.touch, restart or evict as the spec needs; kustomize: config/consumers instead of config/default; see docs/restarts.md", now)
}

// set sets a condition.
func set(s *v1alpha1.WeChatTokenStatus, wt *v1alpha1.WeChatToken, kind string, is bool, reason, message string, now time.Time) {
	status := metav1.ConditionFalse
	if is {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: kind, Status: status, ObservedGeneration: wt.Generation,
		Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now),
	})
}

// shownElsewhere is how long the status says that somebody else had replaced the
// token.
const shownElsewhere = 24 * time.Hour

// describeToken puts into s what the target holds, and reports whether that token
// is valid.
func describeToken(s *v1alpha1.WeChatTokenStatus, o *observation, holds *record.Record, window time.Duration, now time.Time) bool {
	s.SecretName, s.TokenFingerprint, s.ReplacedElsewhere = "", "", v1alpha1.ReplacedElsewhere{}
	s.ExpirationTime, s.NextRefreshTime, s.LastRefreshTime = nil, nil, nil
	if holds == nil {
		return false
	}
	t, ends := &holds.Token, o.endOf(&holds.Token)
	s.SecretName, s.TokenFingerprint = o.wt.TokenSecretName(), t.Fingerprint()
	s.ExpirationTime = new(metav1.NewTime(ends.Truncate(time.Second)))
	s.LastRefreshTime = new(metav1.NewTime(t.ObtainedAt))
	if at := lastElsewhere(holds); now.Before(at.Add(shownElsewhere)) {
		s.ReplacedElsewhere = v1alpha1.ReplacedElsewhere{LastTime: new(metav1.NewTime(at)), Count: int32(len(holds.Spent.Elsewhere))} //nolint:gosec // 20 at most
	}
	due := account.Due(o.wt.UID, o.wt.Spec.RefreshBeforeOrDefault(), window, t)
	s.NextRefreshTime = new(metav1.NewTime(due.Truncate(time.Second)))
	s.LastHandledRefreshAt = holds.HandledRefresh
	if report, _ := reportOn(o.wt); reportHandled(o.wt, holds) {
		s.LastHandledInvalidToken = report
	}
	return now.Before(ends)
}

// reportHandled reports whether the report on wt is dealt with now that the target
// holds r: it names another token, or WeChat has called this one valid.
func reportHandled(wt *v1alpha1.WeChatToken, r *record.Record) bool {
	report, reported := reportOn(wt)
	return report != "" && (reported != r.Token.Fingerprint() || r.HandledReport == report)
}

// describeTickets puts into s how things are with the tickets that the spec wants.
func describeTickets(s *v1alpha1.WeChatTokenStatus, o *observation, holds *record.Record, now time.Time) {
	s.Tickets = nil
	if len(o.wt.Spec.Tickets) == 0 {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionTicketsReady)
		return
	}
	var worst ticketFinding
	var messages []string
	for _, place := range record.Wanted(o.wt) {
		f, status := describeTicket(place, o, holds, now)
		s.Tickets = append(s.Tickets, status)
		if f.message != "" {
			messages = append(messages, fmt.Sprintf("%s: %s", status.Type, f.message))
		}
		if worst.reason == "" || (worst.trusted && !f.trusted) || (worst.trusted == f.trusted && worst.message == "") {
			worst = f
		}
	}
	message := strings.Join(messages, ". ")
	if message == "" {
		message = "The Secret holds a trusted ticket of each type"
	}
	set(s, o.wt, v1alpha1.ConditionTicketsReady, worst.trusted, worst.reason, message, now)
}

// describeTicket says how things are with the ticket at a place in
// record.TicketTypes.
func describeTicket(place int, o *observation, holds *record.Record, now time.Time) (ticketFinding, v1alpha1.TicketStatus) {
	var t record.Ticket
	var failure *account.Failure
	if holds != nil {
		t = holds.Tickets[place]
	}
	if o.account != nil {
		failure = o.account.TicketFailure(place)
	}
	f := ofTicket(t, failure, now)
	if o.source != nil && !slices.Contains(bothWant(o.wt, o.source), place) {
		f = ticketOfNobody
	}
	status := v1alpha1.TicketStatus{Type: record.TicketTypes[place].Name, Fingerprint: record.Fingerprint(t.Value), LastError: f.err}
	for _, was := range o.wt.Status.Tickets {
		if was.Type == status.Type {
			status.LastError = withFirstRID(was.LastError, f.err)
		}
	}
	if t.Value != "" {
		status.ExpirationTime, status.LastRefreshTime = new(metav1.NewTime(t.ExpiresAt)), new(metav1.NewTime(t.FirstSeen))
	}
	return f, status
}

// expire turns Ready False if the token has ended, and TicketsReady if a ticket is
// past its trusted end: where there is nothing else to say.
func expire(s *v1alpha1.WeChatTokenStatus, now time.Time) {
	ended := func(t *metav1.Time) bool { return t != nil && !now.Before(t.Time) }
	turn := func(kind, reason, message string) {
		if c := meta.FindStatusCondition(s.Conditions, kind); c != nil && c.Status == metav1.ConditionTrue {
			c.Status, c.Reason, c.Message, c.LastTransitionTime = metav1.ConditionFalse, reason, message, metav1.NewTime(now)
		}
	}
	if ended(s.ExpirationTime) {
		turn(v1alpha1.ConditionReady, v1alpha1.ReasonTokenExpired, "The token has expired; a new one is being fetched")
	}
	for _, t := range s.Tickets {
		if ended(t.ExpirationTime) {
			turn(v1alpha1.ConditionTicketsReady, v1alpha1.ReasonTicketExpired, fmt.Sprintf("%s: %s", t.Type, ticketExpired))
		}
	}
}
