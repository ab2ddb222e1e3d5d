package controllers

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// a part is one thing that a status says.
type part func(*v1alpha1.WeChatTokenStatus)

// says is the status of the parts, at noon and of the present generation if they do
// not say otherwise.
func says(parts ...part) v1alpha1.WeChatTokenStatus {
	s := v1alpha1.WeChatTokenStatus{ObservedGeneration: 3}
	for _, part := range parts {
		part(&s)
	}
	return s
}

// told is the status before.
func told(parts ...part) sight {
	return func(o *observation) { o.wt.Status = says(parts...) }
}

// unseen says that the operator has not looked at the WeChatToken yet.
func unseen(s *v1alpha1.WeChatTokenStatus) { s.ObservedGeneration = 0 }

// ofSpecBefore says that the status is of the generation before.
func ofSpecBefore(s *v1alpha1.WeChatTokenStatus) { s.ObservedGeneration = 2 }

// condition has a message that matches a regular expression.
func condition(kind string, is metav1.ConditionStatus, reason string, message ...string) part {
	return func(s *v1alpha1.WeChatTokenStatus) {
		s.Conditions = append(s.Conditions, metav1.Condition{
			Type: kind, Status: is, Reason: reason, Message: strings.Join(message, ""),
			ObservedGeneration: 3, LastTransitionTime: metav1.NewTime(noon),
		})
	}
}

func ready(reason string, message ...string) part {
	return condition(v1alpha1.ConditionReady, metav1.ConditionTrue, reason, message...)
}

func notReady(reason string, message ...string) part {
	return condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message...)
}

func reconciling(reason string) part {
	return condition(v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason)
}

func stalled(reason string) part {
	return condition(v1alpha1.ConditionStalled, metav1.ConditionTrue, reason)
}

func ticketsReady(reason string, message ...string) part {
	return condition(v1alpha1.ConditionTicketsReady, metav1.ConditionTrue, reason, message...)
}

func ticketsNotReady(reason string, message ...string) part {
	return condition(v1alpha1.ConditionTicketsReady, metav1.ConditionFalse, reason, message...)
}

// hourAgo is when conditions became what they are.
func hourAgo(conditions ...part) part {
	return func(s *v1alpha1.WeChatTokenStatus) {
		for _, c := range says(conditions...).Conditions {
			c.LastTransitionTime = metav1.NewTime(noon.Add(-time.Hour))
			s.Conditions = append(s.Conditions, c)
		}
	}
}

// holds is what is said of the token in the Secret.
func holds(facts ...fact) part {
	return func(s *v1alpha1.WeChatTokenStatus) {
		t := remembered(facts...).Token
		before := testWindow - 2*time.Second
		if t.Mode == v1alpha1.ModeClassic {
			before = 10*time.Minute + time.Second // a bit of a second earlier, cut to whole ones
		}
		s.SecretName, s.TokenFingerprint = "shop", t.Fingerprint()
		s.ExpirationTime, s.NextRefreshTime, s.LastRefreshTime = at(t.ExpiresAt), at(t.ExpiresAt.Add(-before)), at(t.ObtainedAt)
	}
}

// ended says that the token in the Secret ends earlier than its expires_in says.
func ended(in time.Duration) part {
	return func(s *v1alpha1.WeChatTokenStatus) { s.ExpirationTime = at(noon.Add(in)) }
}

func at(t time.Time) *metav1.Time { return new(metav1.NewTime(t)) }

// lastError is WeChat's answer with an errcode; 0 is none.
func lastError(code int64) part {
	return func(s *v1alpha1.WeChatTokenStatus) { s.LastError = weChatError(code) }
}

func weChatError(code int64) *v1alpha1.WeChatError {
	e := &v1alpha1.WeChatError{Message: "errmsg"}
	if code != 0 {
		e.Code = &code
	}
	return e
}

// theTicket is what is said of a ticket that is trusted for so long, and why the
// last call for it failed.
func theTicket(kind v1alpha1.TicketType, trusted time.Duration, failure *v1alpha1.WeChatError) part {
	return func(s *v1alpha1.WeChatTokenStatus) {
		s.Tickets = append(s.Tickets, v1alpha1.TicketStatus{
			Type: kind, Fingerprint: record.Fingerprint("ticket"), LastError: failure,
			ExpirationTime: at(noon.Add(trusted)), LastRefreshTime: at(noon.Add(-time.Minute)),
		})
	}
}

// noTicket says that there is none of a type, and why the last call for it failed.
func noTicket(kind v1alpha1.TicketType, failure *v1alpha1.WeChatError) part {
	return func(s *v1alpha1.WeChatTokenStatus) {
		s.Tickets = append(s.Tickets, v1alpha1.TicketStatus{Type: kind, LastError: failure})
	}
}

// wantStatus compares statuses. The message of a condition matches the one that is
// wanted.
func wantStatus(t *testing.T, reason string, want, got v1alpha1.WeChatTokenStatus) {
	t.Helper()
	for i, c := range want.Conditions {
		is := meta.FindStatusCondition(got.Conditions, c.Type)
		if is != nil && regexp.MustCompile(c.Message).MatchString(is.Message) {
			want.Conditions[i].Message = is.Message
		}
	}
	byType := cmpopts.SortSlices(func(a, b metav1.Condition) bool { return a.Type < b.Type })
	if diff := cmp.Diff(want, got, byType, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}

// What is said of the token. It is noon; see observed for what there is if nothing
// else is said.
func TestStatus(t *testing.T) {
	t.Parallel()
	const refused, taken = "policy", ""
	said := func(parts ...part) []part { return parts }
	due := known(endsIn(4 * time.Minute))
	stillWorks := "The token in the Secret still works"
	notAllowed := answered(account.Refresh, account.Answer{Err: &wechat.Error{Code: 40164, Message: "errmsg", CallerIP: netip.MustParseAddr("203.0.113.7")}})
	notAllowedError := func(s *v1alpha1.WeChatTokenStatus) {
		lastError(40164)(s)
		s.LastError.CallerIP = "203.0.113.7"
	}
	revokedBefore := func(r *record.Record) { r.Token.PredecessorInvalidAt = noon.Add(-time.Hour) }
	allForced := func(r *record.Record) {
		for i := range budget.ForcedPerDay {
			r.Spent.Forced = append(r.Spent.Forced, noon.Add(time.Duration(i-60)*time.Minute))
		}
	}
	called := func(n int) fact {
		return func(r *record.Record) { r.Spent.Classic = budget.Calls{Day: "2026-01-02", Calls: n} }
	}
	sameToken := answered(account.Force, account.Answer{Token: wechat.Token{Value: "98_present", Life: time.Hour}})
	handledReport := func(s *v1alpha1.WeChatTokenStatus) { s.LastHandledInvalidToken = fingerprintOfPresent }

	cases := map[string]struct {
		reason  string
		given   *observation
		refused string
		want    []part
	}{
		// The Secret.
		"Valid":            {"All is well.", observed(), taken, said(holds(), ready(v1alpha1.ReasonTokenValid))},
		"ValidClassic":     {"The next refresh is refreshBefore before the end.", observed(inModeClassic), taken, said(holds(inClassic), ready(v1alpha1.ReasonTokenValid))},
		"Conflict":         {"A person must act.", observed(targetTaken), taken, said(notReady(v1alpha1.ReasonSecretConflict, `Secret "shop" is claimed by WeChatToken "older". Set spec.secret.name`), stalled(v1alpha1.ReasonSecretConflict))},
		"ConflictEnds":     {"The garbage collector acts.", observed(targetTaken, func(o *observation) { o.conflict = ofEarlier }), taken, said(notReady(v1alpha1.ReasonSecretConflict, "goes when the garbage collector has noticed. The operator writes it anew then"), reconciling(v1alpha1.ReasonSecretConflict))},
		"ConflictForgets":  {"What was said of the token is of another Secret now.", observed(targetTaken, told(holds(), hourAgo(ready(v1alpha1.ReasonTokenValid)))), taken, said(notReady(v1alpha1.ReasonSecretConflict), stalled(v1alpha1.ReasonSecretConflict))},
		"RefusedFirst":     {"The user must see what the API server says.", observed(noSecret), refused, said(notReady(v1alpha1.ReasonSecretRefused, "refused the Secret: policy"), stalled(v1alpha1.ReasonSecretRefused))},
		"Refused":          {"The token before works on for 5 minutes.", observed(accountKnows(next)), refused, said(holds(), ended(testWindow), ready(v1alpha1.ReasonSecretRefused), stalled(v1alpha1.ReasonSecretRefused))},
		"ConflictFirst":    {"A foreign Secret is told before all else.", observed(targetTaken, spec(suspendedSpec)), refused, said(notReady(v1alpha1.ReasonSecretConflict), stalled(v1alpha1.ReasonSecretConflict))},
		"Suspended":        {"That is as wanted, as long as the token is valid.", observed(spec(suspendedSpec)), taken, said(holds(), ready(v1alpha1.ReasonSuspended))},
		"SuspendedExpired": {"The token in it is told all the same.", observed(spec(suspendedSpec), known(endsIn(0))), taken, said(holds(endsIn(0)), notReady(v1alpha1.ReasonSuspended))},
		"SuspendedEmpty":   {"No token is not ready.", observed(spec(suspendedSpec), noToken), taken, said(notReady(v1alpha1.ReasonSuspended))},
		"SuspendedEnds":    {"A call for another WeChatToken has ended the token.", observed(spec(suspendedSpec), accountKnows(next)), taken, said(holds(), ended(testWindow), ready(v1alpha1.ReasonSuspended))},
		"NoAppSecret":      {"The token is valid until its end.", observed(appSecretMissing), taken, said(holds(), ready(v1alpha1.ReasonAppSecretMissing, ofAppSecret(weChatToken().Spec.AppSecretRef, "").message), stalled(v1alpha1.ReasonAppSecretMissing))},
		"NoAppSecretEver":  {"A person must act.", observed(noToken, appSecretMissing), taken, said(notReady(v1alpha1.ReasonAppSecretMissing), stalled(v1alpha1.ReasonAppSecretMissing))},
		"NoAppSecretLong":  {"Nobody could refresh the token.", observed(known(endsIn(0)), appSecretMissing), taken, said(holds(endsIn(0)), notReady(v1alpha1.ReasonAppSecretMissing), stalled(v1alpha1.ReasonAppSecretMissing))},
		"SuspendedFirst":   {"Nothing is missed while it is suspended.", observed(spec(suspendedSpec), appSecretMissing), taken, said(holds(), ready(v1alpha1.ReasonSuspended))},

		// A call for a token failed.
		"Busy":           {"It passes by itself.", observed(noToken, failed(account.Refresh, -1)), taken, said(notReady(v1alpha1.ReasonWeChatUnavailable, `WeChat answered -1 \(errmsg\)\. The operator tries again$`), reconciling(v1alpha1.ReasonWeChatUnavailable), lastError(-1))},
		"NoAnswer":       {"There is no errcode.", observed(noToken, failed(account.Refresh, 0)), taken, said(notReady(v1alpha1.ReasonWeChatUnavailable, "WeChat gave no token: errmsg"), reconciling(v1alpha1.ReasonWeChatUnavailable), lastError(0))},
		"UnknownErrcode": {"What is unknown may pass.", observed(noToken, failed(account.Refresh, 12345)), taken, said(notReady(v1alpha1.ReasonWeChatUnavailable), reconciling(v1alpha1.ReasonWeChatUnavailable), lastError(12345))},
		"MinuteQuota":    {"It passes with the minute.", observed(noToken, failed(account.Refresh, 45011)), taken, said(notReady(v1alpha1.ReasonMinuteQuotaExceeded), reconciling(v1alpha1.ReasonMinuteQuotaExceeded), lastError(45011))},
		"DayQuota":       {"It passes with the day.", observed(noToken, failed(account.Refresh, 45009)), taken, said(notReady(v1alpha1.ReasonDayQuotaExceeded), reconciling(v1alpha1.ReasonDayQuotaExceeded), lastError(45009))},
		"WrongAppSecret": {"A person must correct it.", observed(noToken, failed(account.Refresh, 40125)), taken, said(notReady(v1alpha1.ReasonAppSecretInvalid), stalled(v1alpha1.ReasonAppSecretInvalid), lastError(40125))},
		"WrongAppID":     {"A person must correct it.", observed(noToken, failed(account.Refresh, 40013)), taken, said(notReady(v1alpha1.ReasonAppIDInvalid, "Correct spec.appID"), stalled(v1alpha1.ReasonAppIDInvalid), lastError(40013))},
		"NotAllowed":     {"A person must allow the address.", observed(noToken, notAllowed), taken, said(notReady(v1alpha1.ReasonIPNotAllowed, "Add 203.0.113.7 to the IP allow-list"), stalled(v1alpha1.ReasonIPNotAllowed), notAllowedError)},
		"FailedDue":      {"The token is valid until its end.", observed(due, failed(account.Refresh, -1)), taken, said(holds(endsIn(4*time.Minute)), ready(v1alpha1.ReasonWeChatUnavailable, stillWorks), reconciling(v1alpha1.ReasonWeChatUnavailable), lastError(-1))},
		"WrongDue":       {"A person has 4 minutes.", observed(due, failed(account.Refresh, 40125)), taken, said(holds(endsIn(4*time.Minute)), ready(v1alpha1.ReasonAppSecretInvalid, stillWorks), stalled(v1alpha1.ReasonAppSecretInvalid), lastError(40125))},
		"FailedExpired":  {"The token has ended.", observed(known(endsIn(0)), failed(account.Refresh, -1)), taken, said(holds(endsIn(0)), notReady(v1alpha1.ReasonWeChatUnavailable, "The operator tries again$"), reconciling(v1alpha1.ReasonWeChatUnavailable), lastError(-1))},
		"FailedNotDue":   {"Nobody misses anything.", observed(failed(account.Refresh, -1)), taken, said(holds(), ready(v1alpha1.ReasonTokenValid))},
		"DayBudget": {
			"The operator stops before WeChat does.", observed(inModeClassic, known(inClassic, endsIn(9*time.Minute), called(budget.ClassicPerDay))), taken,
			said(holds(inClassic, endsIn(9*time.Minute)), ready(v1alpha1.ReasonDayQuotaExceeded, "2000 calls of /cgi-bin/token"), reconciling(v1alpha1.ReasonDayQuotaExceeded)),
		},

		// A refresh request.
		"RequestHandled": {
			"The Secret says so.", observed(known(func(r *record.Record) { r.HandledRefresh = "1" })), taken,
			said(holds(), ready(v1alpha1.ReasonTokenValid), func(s *v1alpha1.WeChatTokenStatus) { s.LastHandledRefreshAt = "1" }),
		},
		"RequestDeferred": {
			"It waits, in whole seconds that are not too few.", observed(spec(requesting("1")), accountKnows(forcedNow)), taken,
			said(holds(), ready(v1alpha1.ReasonRefreshDeferred, "waits until 2026-01-02T12:00:33Z"), reconciling(v1alpha1.ReasonRefreshDeferred)),
		},
		"RequestSameToken": {
			"Somebody else may have used up the forced refreshes.", observed(spec(requesting("1")), sameToken), taken,
			said(holds(), ready(v1alpha1.ReasonRefreshRefused, stillWorks), reconciling(v1alpha1.ReasonRefreshRefused)),
		},
		"RequestExhausted": {
			"The first place is free a day after the first call.", observed(spec(requesting("1")), accountKnows(allForced)), taken,
			said(holds(), ready(v1alpha1.ReasonRefreshBudgetExhausted, "WeChat allows 20 in 24 hours; the next is possible at 2026-01-03T11:00:01Z"), reconciling(v1alpha1.ReasonRefreshBudgetExhausted)),
		},
		"RequestExhaustedClassic": {
			"The day ends at midnight in Beijing.", observed(inModeClassic, spec(requesting("1")), accountKnows(inClassic, called(1800))), taken,
			said(holds(inClassic), ready(v1alpha1.ReasonRefreshBudgetExhausted, "the last 200 of the 2000 calls of a day are for refreshes that are due; the next is possible at 2026-01-02T16:00:01Z"), reconciling(v1alpha1.ReasonRefreshBudgetExhausted)),
		},
		"RequestFailed": {"It is as any failed call.", observed(spec(requesting("1")), failed(account.Force, 45009)), taken, said(holds(), ready(v1alpha1.ReasonDayQuotaExceeded, stillWorks), reconciling(v1alpha1.ReasonDayQuotaExceeded), lastError(45009))},

		// A token that WeChat calls invalid, and reports of one.
		"Revoked":            {"The token has ended when WeChat says so.", observed(foundInvalid), taken, said(holds(), ended(0), notReady(v1alpha1.ReasonTokenRevoked, "force_refresh"), reconciling(v1alpha1.ReasonTokenRevoked))},
		"RevokedClassic":     {"Somebody calls the other endpoint.", observed(inModeClassic, foundInvalid), taken, said(holds(inClassic), ended(0), notReady(v1alpha1.ReasonTokenRevoked, "/cgi-bin/token"), reconciling(v1alpha1.ReasonTokenRevoked))},
		"PredecessorRevoked": {"The token is valid, and somebody should know.", observed(known(revokedBefore)), taken, said(holds(), ready(v1alpha1.ReasonTokenRevoked, "the one before it invalid at 2026-01-02T11:00:00Z"))},
		"CheckFailed":        {"Nobody waits for it.", observed(spec(checking(60)), failed(account.Check, 48001)), taken, said(holds(), ready(v1alpha1.ReasonCheckFailed, "did not say whether the token in the Secret is valid. WeChat answered 48001"), lastError(48001))},
		"ReportUnanswered":   {"A consumer waits for the answer.", observed(spec(reporting(fingerprintOfPresent)), failed(account.Verify, 48001)), taken, said(holds(), ready(v1alpha1.ReasonCheckFailed), reconciling(v1alpha1.ReasonCheckFailed), lastError(48001))},
		"ReportPending":      {"It is not handled yet.", observed(spec(reporting(fingerprintOfPresent))), taken, said(holds(), ready(v1alpha1.ReasonTokenValid))},
		"ReportRefuted":      {"The Secret says so.", observed(spec(reporting(fingerprintOfPresent)), known(func(r *record.Record) { r.HandledReport = fingerprintOfPresent })), taken, said(holds(), ready(v1alpha1.ReasonTokenValid), handledReport)},
		"ReportOfAnother":    {"The token is not there any more.", observed(spec(reporting(fingerprintOfPresent)), known(next)), taken, said(holds(next), ready(v1alpha1.ReasonTokenValid), handledReport)},
		"ReportWithdrawn":    {"What was handled last stays.", observed(told(handledReport)), taken, said(holds(), ready(v1alpha1.ReasonTokenValid), handledReport)},
		"ReportMalformed":    {"It may be a token.", observed(spec(reporting("98_present")), known(next)), taken, said(holds(next), ready(v1alpha1.ReasonTokenValid))},

		// Nothing new to say.
		"New":            {"The first answer has not come.", observed(noToken), taken, said(unseen)},
		"PendingSpec":    {"The status speaks of the old spec until there is a token.", observed(noToken, told(ofSpecBefore, holds(), ready(v1alpha1.ReasonTokenValid))), taken, said(ofSpecBefore, holds(), ready(v1alpha1.ReasonTokenValid))},
		"PendingRepair":  {"The Secret is about to hold the token again.", observed(edited(withAnotherValue), told(holds(), hourAgo(ready(v1alpha1.ReasonTokenValid)))), taken, said(holds(), hourAgo(ready(v1alpha1.ReasonTokenValid)))},
		"PendingExpired": {"The token has ended, and WeChat was asked.", observed(known(endsIn(0)), told(holds(endsIn(0)), hourAgo(ready(v1alpha1.ReasonTokenValid)))), taken, said(holds(endsIn(0)), notReady(v1alpha1.ReasonTokenExpired))},
		"PendingFailure": {"Another reason was told before the end.", observed(known(endsIn(0)), told(holds(endsIn(0)), hourAgo(notReady(v1alpha1.ReasonIPNotAllowed)))), taken, said(holds(endsIn(0)), hourAgo(notReady(v1alpha1.ReasonIPNotAllowed)))},

		// Conditions.
		"SameAgain":     {"Nothing has changed for an hour.", observed(told(holds(), hourAgo(ready(v1alpha1.ReasonTokenValid)))), taken, said(holds(), hourAgo(ready(v1alpha1.ReasonTokenValid)))},
		"AnotherReason": {"Ready is True for an hour, whatever the reason.", observed(told(hourAgo(ready(v1alpha1.ReasonSuspended)))), taken, said(holds(), hourAgo(ready(v1alpha1.ReasonTokenValid)))},
		"ReadyAgain":    {"What was wrong is gone.", observed(told(lastError(-1), hourAgo(notReady(v1alpha1.ReasonWeChatUnavailable), reconciling(v1alpha1.ReasonWeChatUnavailable)))), taken, said(holds(), ready(v1alpha1.ReasonTokenValid))},
		"SameFailure":   {"It is told once.", observed(noToken, failed(account.Refresh, -1), told(lastError(-1), hourAgo(notReady(v1alpha1.ReasonWeChatUnavailable), reconciling(v1alpha1.ReasonWeChatUnavailable)))), taken, said(hourAgo(notReady(v1alpha1.ReasonWeChatUnavailable), reconciling(v1alpha1.ReasonWeChatUnavailable)), lastError(-1))},
		"NowStalled":    {"Now a person must act.", observed(noToken, failed(account.Refresh, 40125), told(hourAgo(notReady(v1alpha1.ReasonWeChatUnavailable), reconciling(v1alpha1.ReasonWeChatUnavailable)))), taken, said(hourAgo(notReady(v1alpha1.ReasonAppSecretInvalid)), stalled(v1alpha1.ReasonAppSecretInvalid), lastError(40125))},
		"Foreign":       {"8 conditions are the most, and ours must fit in.", observed(told(condition("Foreign", metav1.ConditionTrue, "Foreign"))), taken, said(holds(), ready(v1alpha1.ReasonTokenValid))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &WeChatTokenReconciler{StableWindow: testWindow}
			got := r.statusOf(tc.given, outcome{holds: tc.given.holds(noon), refused: tc.refused}, noon)
			wantStatus(t, tc.reason, says(tc.want...), got)
		})
	}
}
