package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
)

// What is said of tickets. The token is valid, and Ready says so, if a row does not
// say otherwise.
func TestTicketsStatus(t *testing.T) {
	t.Parallel()
	said := func(parts ...part) []part { return append(parts, holds(), ready(v1alpha1.ReasonTokenValid)) }
	wantingJSAPI, wantingBoth := spec(wanting(v1alpha1.TicketJSAPI)), spec(bothTickets)
	ofJSAPI, ofWxCard := account.Ticket+account.Kind(jsapi), account.Ticket+account.Kind(wxCard)
	trusted, distrusted := known(ticket(jsapi, time.Hour)), known(ticket(jsapi, 0))
	bothTrusted := known(ticket(jsapi, time.Hour), ticket(wxCard, time.Hour))
	stillTrusted := "The ticket in the Secret is still trusted"
	const jsapiType, wxCardType = v1alpha1.TicketJSAPI, v1alpha1.TicketWxCard

	cases := map[string]struct {
		reason string
		given  *observation
		want   []part
	}{
		"NotWanted": {"The spec asks for none.", observed(trusted), said()},
		"Dropped":   {"What was said of them goes with them.", observed(told(ticketsReady(v1alpha1.ReasonTicketsValid), theTicket(jsapiType, time.Hour, nil))), said()},
		"Pending":   {"The ticket comes after the token.", observed(wantingJSAPI), said(noTicket(jsapiType, nil), ticketsNotReady(v1alpha1.ReasonTicketPending, "JSAPI: The ticket is fetched as soon as there is a valid token"))},
		"Valid":     {"All is well.", observed(wantingJSAPI, trusted), said(theTicket(jsapiType, time.Hour, nil), ticketsReady(v1alpha1.ReasonTicketsValid, "a trusted ticket of each type"))},
		"Expired":   {"Nobody has confirmed it in time.", observed(wantingJSAPI, distrusted), said(theTicket(jsapiType, 0, nil), ticketsNotReady(v1alpha1.ReasonTicketExpired, "JSAPI: No poll has confirmed the ticket in time"))},
		"Renewed":   {"TicketsReady is True again.", observed(wantingJSAPI, trusted, told(hourAgo(ticketsNotReady(v1alpha1.ReasonTicketExpired)))), said(theTicket(jsapiType, time.Hour, nil), ticketsReady(v1alpha1.ReasonTicketsValid))},
		"Unwritten": {"The ticket is told once the Secret holds it.", observed(wantingJSAPI, accountKnows(ticket(jsapi, time.Hour))), said(noTicket(jsapiType, nil), ticketsNotReady(v1alpha1.ReasonTicketPending))},

		"NoAnswer":            {"It may pass, and there is no errcode.", observed(wantingJSAPI, failed(ofJSAPI, 0)), said(noTicket(jsapiType, weChatError(0)), ticketsNotReady(v1alpha1.ReasonWeChatUnavailable, "WeChat gave no ticket: errmsg"))},
		"NoAnswerTrusted":     {"The ticket works on.", observed(wantingJSAPI, trusted, failed(ofJSAPI, 0)), said(theTicket(jsapiType, time.Hour, weChatError(0)), ticketsReady(v1alpha1.ReasonWeChatUnavailable, stillTrusted))},
		"NoAnswerExpired":     {"The failure is the reason, not the end.", observed(wantingJSAPI, distrusted, failed(ofJSAPI, 0)), said(theTicket(jsapiType, 0, weChatError(0)), ticketsNotReady(v1alpha1.ReasonWeChatUnavailable, "tries again$"))},
		"Unauthorized":        {"A person must have it granted.", observed(wantingJSAPI, failed(ofJSAPI, 48001)), said(noTicket(jsapiType, weChatError(48001)), ticketsNotReady(v1alpha1.ReasonTicketUnauthorized, "take the type out of spec.tickets"))},
		"UnauthorizedTrusted": {"The ticket works on.", observed(wantingJSAPI, trusted, failed(ofJSAPI, 48001)), said(theTicket(jsapiType, time.Hour, weChatError(48001)), ticketsReady(v1alpha1.ReasonTicketUnauthorized, stillTrusted))},
		"TokenInvalid":        {"The operator asks WeChat whether that is so.", observed(wantingJSAPI, failed(ofJSAPI, 40001)), said(noTicket(jsapiType, weChatError(40001)), ticketsNotReady(v1alpha1.ReasonTicketPending, "takes the access_token for invalid"))},
		"NotAllowed":          {"It is the same as for a token.", observed(wantingJSAPI, failed(ofJSAPI, 40164)), said(noTicket(jsapiType, weChatError(40164)), ticketsNotReady(v1alpha1.ReasonIPNotAllowed, "to the IP allow-list"))},

		"BothValid":         {"Each has its times.", observed(wantingBoth, bothTrusted), said(theTicket(jsapiType, time.Hour, nil), theTicket(wxCardType, time.Hour, nil), ticketsReady(v1alpha1.ReasonTicketsValid))},
		"SecondPending":     {"One ticket that is missing is enough.", observed(wantingBoth, trusted), said(theTicket(jsapiType, time.Hour, nil), noTicket(wxCardType, nil), ticketsNotReady(v1alpha1.ReasonTicketPending, "WxCard: "))},
		"FirstPending":      {"The order does not matter.", observed(wantingBoth, known(ticket(wxCard, time.Hour))), said(noTicket(jsapiType, nil), theTicket(wxCardType, time.Hour, nil), ticketsNotReady(v1alpha1.ReasonTicketPending, "JSAPI: "))},
		"FirstFailing":      {"A failure counts before what is well.", observed(wantingBoth, bothTrusted, failed(ofJSAPI, -1)), said(theTicket(jsapiType, time.Hour, weChatError(-1)), theTicket(wxCardType, time.Hour, nil), ticketsReady(v1alpha1.ReasonWeChatUnavailable))},
		"SecondFailing":     {"The order does not matter.", observed(wantingBoth, bothTrusted, failed(ofWxCard, -1)), said(theTicket(jsapiType, time.Hour, nil), theTicket(wxCardType, time.Hour, weChatError(-1)), ticketsReady(v1alpha1.ReasonWeChatUnavailable))},
		"FailingAndPending": {"What is missing counts before a failure.", observed(wantingBoth, trusted, failed(ofJSAPI, -1)), said(theTicket(jsapiType, time.Hour, weChatError(-1)), noTicket(wxCardType, nil), ticketsNotReady(v1alpha1.ReasonTicketPending, stillTrusted+". WxCard: The ticket is fetched"))},
		"ExpiredAndPending": {"The first one gives the reason.", observed(wantingBoth, distrusted), said(theTicket(jsapiType, 0, nil), noTicket(wxCardType, nil), ticketsNotReady(v1alpha1.ReasonTicketExpired, ". WxCard: "))},
		"TokenFailsToo":     {"A failure for a ticket is no lastError of the token.", observed(wantingJSAPI, failed(ofJSAPI, 40164), told(lastError(-1))), said(noTicket(jsapiType, weChatError(40164)), ticketsNotReady(v1alpha1.ReasonIPNotAllowed))},
		"NotWantedFails":    {"Another WeChatToken wants the ticket that fails.", observed(wantingJSAPI, trusted, failed(ofWxCard, 48001)), said(theTicket(jsapiType, time.Hour, nil), ticketsReady(v1alpha1.ReasonTicketsValid))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &WeChatTokenReconciler{StableWindow: testWindow}
			wantStatus(t, tc.reason, says(tc.want...), r.statusOf(tc.given, outcome{holds: tc.given.holds(noon)}, noon))
		})
	}
}

// What is said of tickets while there is no valid token, or nobody to ask.
func TestTicketsStatusWithoutAToken(t *testing.T) {
	t.Parallel()
	said := func(parts ...part) []part { return parts }
	wantingJSAPI := spec(wanting(v1alpha1.TicketJSAPI))
	const jsapiType = v1alpha1.TicketJSAPI
	cases := map[string]struct {
		reason string
		given  *observation
		want   []part
	}{
		"Conflict":       {"The Secret is not ours.", observed(wantingJSAPI, known(ticket(jsapi, time.Hour)), targetTaken), said(noTicket(jsapiType, nil), ticketsNotReady(v1alpha1.ReasonTicketPending), notReady(v1alpha1.ReasonSecretConflict), stalled(v1alpha1.ReasonSecretConflict))},
		"NoAppSecret":    {"The ticket is trusted until its end.", observed(wantingJSAPI, known(ticket(jsapi, time.Hour)), appSecretMissing), said(theTicket(jsapiType, time.Hour, nil), ticketsReady(v1alpha1.ReasonTicketsValid), holds(), ready(v1alpha1.ReasonAppSecretMissing), stalled(v1alpha1.ReasonAppSecretMissing))},
		"Suspended":      {"The ticket is not polled, and ends.", observed(wantingJSAPI, known(ticket(jsapi, 0)), spec(suspendedSpec)), said(theTicket(jsapiType, 0, nil), ticketsNotReady(v1alpha1.ReasonTicketExpired), holds(), ready(v1alpha1.ReasonSuspended))},
		"Revoked":        {"A ticket outlives its token.", observed(wantingJSAPI, known(ticket(jsapi, time.Hour)), foundInvalid), said(theTicket(jsapiType, time.Hour, nil), ticketsReady(v1alpha1.ReasonTicketsValid), holds(), ended(0), notReady(v1alpha1.ReasonTokenRevoked), reconciling(v1alpha1.ReasonTokenRevoked))},
		"PendingTrusted": {"There is nothing new.", observed(wantingJSAPI, noToken, told(theTicket(jsapiType, time.Second, nil), hourAgo(ticketsReady(v1alpha1.ReasonTicketsValid)))), said(theTicket(jsapiType, time.Second, nil), hourAgo(ticketsReady(v1alpha1.ReasonTicketsValid)))},
		"PendingExpired": {"The ticket has ended, and nothing else is new.", observed(wantingJSAPI, noToken, told(theTicket(jsapiType, 0, nil), hourAgo(ticketsReady(v1alpha1.ReasonTicketsValid)))), said(theTicket(jsapiType, 0, nil), ticketsNotReady(v1alpha1.ReasonTicketExpired, "JSAPI: No poll has confirmed"))},
		"PendingFailure": {"Another reason was told before the end.", observed(wantingJSAPI, noToken, told(theTicket(jsapiType, 0, nil), hourAgo(ticketsNotReady(v1alpha1.ReasonTicketUnauthorized)))), said(theTicket(jsapiType, 0, nil), hourAgo(ticketsNotReady(v1alpha1.ReasonTicketUnauthorized)))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &WeChatTokenReconciler{StableWindow: testWindow}
			wantStatus(t, tc.reason, says(tc.want...), r.statusOf(tc.given, outcome{holds: tc.given.holds(noon)}, noon))
		})
	}
}

// Who says what of consumers.
func TestConsumersStatus(t *testing.T) {
	t.Parallel()
	said := func(parts ...part) []part { return append(parts, holds(), ready(v1alpha1.ReasonTokenValid)) }
	current := condition(v1alpha1.ConditionConsumersCurrent, metav1.ConditionTrue, v1alpha1.ReasonConsumersUpToDate)
	unwatched := condition(v1alpha1.ConditionConsumersCurrent, metav1.ConditionFalse, v1alpha1.ReasonConsumersUnwatched, "consumers.watch=true")
	consumers := func(s *v1alpha1.WeChatTokenStatus) {
		s.Consumers = []v1alpha1.Consumer{{Kind: "Deployment", Name: "shop"}}
	}
	shop := restarting(v1alpha1.RestartTarget{Kind: "Deployment", Name: "shop"})
	const watched, alone = true, false

	cases := map[string]struct {
		reason    string
		given     *observation
		consumers bool
		want      []part
	}{
		"NotWanted":      {"The spec asks for nothing.", observed(), alone, said()},
		"Touch":          {"Nobody touches pods here.", observed(spec(touchingPods)), alone, said(unwatched)},
		"Restart":        {"Nobody restarts workloads here.", observed(spec(shop)), alone, said(unwatched)},
		"FlagTakenAway":  {"What another manager said is no longer true.", observed(spec(touchingPods), told(current, consumers)), alone, said(unwatched)},
		"WishTakenBack":  {"There is nothing to say.", observed(told(current, consumers)), alone, said()},
		"Watched":        {"Another controller has the word.", observed(spec(touchingPods), told(current, consumers)), watched, said(current, consumers)},
		"WatchedNothing": {"Another controller has the word.", observed(spec(touchingPods)), watched, said()},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &WeChatTokenReconciler{StableWindow: testWindow, Consumers: tc.consumers}
			wantStatus(t, tc.reason, says(tc.want...), r.statusOf(tc.given, outcome{holds: tc.given.holds(noon)}, noon))
		})
	}
}
