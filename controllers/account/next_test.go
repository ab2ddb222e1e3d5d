package account

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var kindNames = [kinds]string{"Refresh", "Force", "Check", "Verify", "jsapi", "wx_card"}

var causeNames = map[CauseKind]string{
	CallFailed: "CallFailed", SameTokenReturned: "SameTokenReturned", ForceDeferred: "ForceDeferred",
	ForceBudgetExhausted: "ForceBudgetExhausted", DayBudgetExhausted: "DayBudgetExhausted",
	Revoked: "Revoked", CheckFailed: "CheckFailed", ForceNotAllowed: "ForceNotAllowed", VerifyBudgetExhausted: "VerifyBudgetExhausted",
}

// say is a Next as the table has it: the call, the time from noon, the cause, and
// whether there is no valid token.
func say(n Next) string {
	if n.At.IsZero() {
		return "never"
	}
	said := kindNames[n.Kind] + " now"
	if in := n.At.Sub(noon).Round(time.Second); in > 0 {
		said = kindNames[n.Kind] + " in " + in.String()
	}
	all := []string{said}
	if n.Cause.Kind != NoCause {
		all = append(all, causeNames[n.Cause.Kind])
	}
	if n.NoToken {
		all = append(all, "no token")
	}
	return strings.Join(all, ", ")
}

// The whole policy. It is noon; see at for what holds if nothing else is said.
func TestNext(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		given  *situation
		want   string
	}{
		// A token in its time.
		"FirstToken":        {"Without a token nothing waits.", at(noToken), "Refresh now, no token"},
		"StableInItsTime":   {"2 s into the last 5 minutes; before that WeChat returns the same token.", at(), "Refresh in 55m2s"},
		"ClassicInItsTime":  {"refreshBefore before the end.", at(classic), "Refresh in 50m0s"},
		"StableDue":         {"The time itself counts.", at(ends(298 * time.Second)), "Refresh now"},
		"StableAlmostDue":   {"Not a second before.", at(ends(299 * time.Second)), "Refresh in 1s"},
		"ClassicDue":        {"The time itself counts.", at(classic, ends(10*time.Minute)), "Refresh now"},
		"SameTokenWhenDue":  {"WeChat's clock differs: ask again, 10 s after the last call.", at(ends(4*time.Minute), obtained(4*time.Second)), "Refresh in 6s"},
		"SameTokenNearEnd":  {"Ask more often when the end is near.", at(ends(8*time.Second), obtained(time.Second)), "Refresh in 1s"},
		"Expired":           {"It needs a successor at once.", at(ends(-time.Minute)), "Refresh now, no token"},
		"ExpiredWhenItCame": {"Calls keep a second between them, however short the life.", at(ends(0), obtained(0)), "Refresh in 1s, no token"},
		"ObtainedInFuture": {"A clock was wrong: the token counts as none.", at(func(s *situation) {
			s.Known.Token.ObtainedAt = noon.Add(time.Hour)
		}), "Refresh now, no token"},

		// After a failure.
		"TransientOnce":      {"It may pass at once.", at(noToken, failed(Refresh, -1, 0, 1)), "Refresh in 1s, CallFailed, no token"},
		"TransientThrice":    {"Each further failure doubles the wait.", at(noToken, failed(Refresh, -1, 0, 3)), "Refresh in 4s, CallFailed, no token"},
		"TransientLong":      {"A minute is the longest wait in an outage.", at(noToken, failed(Refresh, -1, 0, 99)), "Refresh in 1m0s, CallFailed, no token"},
		"TransientNearEnd":   {"Several tries fit into what is left.", at(ends(40*time.Second), failed(Refresh, -1, 0, 99)), "Refresh in 10s, CallFailed"},
		"TransientPastEnd":   {"However many failures there were before the end.", at(ends(-5*time.Second), failed(Refresh, -1, 0, 99)), "Refresh in 5s, CallFailed, no token"},
		"UnknownErrcode":     {"What is unknown may pass.", at(noToken, failed(Refresh, 12345, 0, 1)), "Refresh in 1s, CallFailed, no token"},
		"MinuteQuota":        {"It passes with the minute.", at(noToken, failed(Refresh, 45011, 0, 7)), "Refresh in 1m0s, CallFailed, no token"},
		"DayQuota":           {"Somebody may clear it.", at(noToken, failed(Refresh, 45009, 0, 1)), "Refresh in 1h0m0s, CallFailed, no token"},
		"WrongRequest":       {"Somebody must change the AppSecret.", at(noToken, failed(Refresh, 40125, 0, 9)), "Refresh in 1h0m0s, CallFailed, no token"},
		"Refused":            {"Somebody must act at WeChat.", at(noToken, failed(Refresh, 40164, 0, 1)), "Refresh in 5m0s, CallFailed, no token"},
		"RefusedTwice":       {"It takes longer.", at(noToken, failed(Refresh, 40164, 0, 2)), "Refresh in 10m0s, CallFailed, no token"},
		"RefusedLong":        {"Half an hour is the longest wait.", at(noToken, failed(Refresh, 40164, 0, 99)), "Refresh in 30m0s, CallFailed, no token"},
		"Blocked":            {"WeChat says for how long.", at(noToken, failed(Refresh, 89506, 0, 1)), "Refresh in 24h0m0s, CallFailed, no token"},
		"WaitIsOver":         {"Then there is another call.", at(noToken, failed(Refresh, 40164, 5*time.Minute, 1)), "Refresh now, CallFailed, no token"},
		"SpecChanged":        {"A person has changed something: no wait.", at(noToken, failed(Refresh, 40125, time.Minute, 1), specChanged(0)), "Refresh now, CallFailed, no token"},
		"SpecChangedBefore":  {"The call failed with the present spec.", at(noToken, failed(Refresh, 40125, time.Minute, 1), specChanged(time.Hour)), "Refresh in 59m0s, CallFailed, no token"},
		"ForceFailedThenDue": {"A failed Force delays no Refresh.", at(ends(time.Minute), failed(Force, 45009, 0, 1)), "Refresh now, CallFailed"},
		"ForceFailedNotDue":  {"Nobody misses anything: the failure is no cause.", at(failed(Force, 45009, 0, 1)), "Refresh in 55m2s"},

		// A refresh request.
		"Request":                     {"A person waits.", at(requested(0)), "Force now"},
		"RequestHandled":              {"Each request is handled once.", at(requested(0), handled), "Refresh in 55m2s"},
		"RequestWithoutToken":         {"The first token answers it.", at(noToken, requested(0)), "Refresh now, no token"},
		"RequestDeferred":             {"30 s between two forced calls, and 2 s because a Secret stores whole seconds.", at(requested(0), forced(0)), "Force in 32s, ForceDeferred"},
		"RequestDeferredClassic":      {"Mode Classic keeps the spacing too.", at(classic, requested(0), forced(10*time.Second)), "Force in 22s, ForceDeferred"},
		"RequestBudgetExhausted":      {"A plain call is free, and may bring what somebody else has forced.", at(requested(0), forcedBudgetSpent), "Refresh now, ForceBudgetExhausted"},
		"RequestBudgetExhaustedAsked": {"One plain call for each request.", at(requested(time.Minute), obtained(0), forcedBudgetSpent), "Refresh in 55m2s, ForceBudgetExhausted"},
		"RequestBudgetFreeFirst":      {"The next place is free before the token is due.", at(requested(time.Minute), obtained(0), ends(3*time.Hour), forcedBudgetSpent), "Force in 1h0m0s, ForceBudgetExhausted"},
		"RequestBudgetClassic":        {"No plain call: it would be the same. 200 of 2,000 are kept for the tokens that are due.", at(classic, requested(0), calledToday(1800)), "Refresh in 50m0s, ForceBudgetExhausted"},
		"RequestBudgetClassicLeft":    {"One is left.", at(classic, requested(0), calledToday(1799)), "Force now"},
		"RequestUncounted":            {"WeChat may know of a forced call that nobody counted: the plain call brings its token.", at(requested(0), forcedUncounted), "Refresh now"},
		"RequestUncountedClassic":     {"In mode Classic the calls are one.", at(classic, requested(0), forcedUncounted), "Force now"},
		"RequestFailed":               {"It waits as any failure does.", at(requested(time.Minute), failed(Force, -1, 0, 1)), "Force in 1s, CallFailed"},
		"RequestSameToken":            {"The forced call counted, and brought nothing.", at(requested(time.Minute), forced(0), failed(Force, sameTokenCode, 0, 1)), "Force in 32s, SameTokenReturned"},
		"RequestSameTokenThrice":      {"Each further one doubles the wait.", at(requested(time.Minute), forced(0), failed(Force, sameTokenCode, 0, 3)), "Force in 2m0s, SameTokenReturned"},
		"RequestSinceFailure":         {"A new request shortens the wait to 30 s.", at(requested(0), failed(Force, 40125, 10*time.Second, 1)), "Force in 20s, CallFailed"},
		"RequestSinceRefreshFailed":   {"It does so for any call for a token.", at(noToken, requested(0), failed(Refresh, 40125, 10*time.Second, 1)), "Refresh in 20s, CallFailed, no token"},

		// A token that WeChat has called invalid.
		"Invalid":                   {"The plain call is free, and brings what somebody else has forced.", at(foundInvalid(0)), "Refresh now, Revoked, no token"},
		"InvalidNewborn":            {"The free call comes first, also a moment after the last one.", at(foundInvalid(0), obtained(0)), "Refresh in 1s, Revoked, no token"},
		"InvalidReturned":           {"The plain call brought the invalid token: only a Force helps.", at(foundInvalid(0), obtained(0), sameTokenReturned), "Force now, Revoked, no token"},
		"InvalidForceLost":          {"The lost Force may have worked: the plain call tells.", at(foundInvalid(0), obtained(time.Second), sameTokenReturned, failed(Force, -1, 0, 1), forcedUncounted, answerLost), "Refresh now, CallFailed, no token"},
		"InvalidForceFailed":        {"A failed Force waits.", at(foundInvalid(0), obtained(0), sameTokenReturned, failed(Force, -1, 0, 1)), "Force in 1s, CallFailed, no token"},
		"InvalidDeferred":           {"Forced calls keep their spacing.", at(foundInvalid(0), obtained(0), sameTokenReturned, forced(0)), "Force in 32s, Revoked, no token"},
		"InvalidBudgetExhausted":    {"The plain call goes on, once a minute.", at(foundInvalid(0), obtained(0), sameTokenReturned, forcedBudgetSpent), "Refresh in 1m0s, ForceBudgetExhausted, no token"},
		"InvalidClassic":            {"It counts as forced, so that who ends tokens does not cost those that are due.", at(classic, foundInvalid(0)), "Force now, Revoked, no token"},
		"InvalidClassicBudgetSpent": {"The next token comes in its time.", at(classic, foundInvalid(0), calledToday(1800)), "Refresh in 50m0s, ForceBudgetExhausted, no token"},
		"InvalidAfterItsEnd":        {"It expired, that is all.", at(foundInvalid(0), ends(-time.Minute)), "Refresh now, no token"},
		"PredecessorInvalid":        {"WeChat has called another token invalid.", at(foundInvalid(0), withAnotherToken(Verify)), "Refresh in 55m2s"},

		// A report, and a doubt. Mode Stable makes a plain call before it asks.
		"Report":              {"A consumer says that the token is invalid: WeChat may have another one.", at(reported(0)), "Check now"},
		"ReportChecked":       {"WeChat has no other one: it is asked.", at(reported(10*time.Second), checked(0)), "Verify now"},
		"ReportForced":        {"Any call for a token tells as much.", at(reported(10*time.Second), obtained(0)), "Verify now"},
		"ReportCheckRefused":  {"The AppSecret was reset: the token tells what became of it.", at(reported(10*time.Second), failed(Check, 40125, 0, 1)), "Verify now"},
		"ReportCheckFailed":   {"Who is out of reach tells nothing of the token either.", at(reported(10*time.Second), failed(Check, -1, 0, 1)), "Check in 1s, CheckFailed"},
		"ReportClassic":       {"A plain call would end the token.", at(classic, reported(0)), "Verify now"},
		"ReportOfAnother":     {"It is not the token in use.", at(reportedAnother), "Refresh in 55m2s"},
		"ReportOfExpired":     {"There is nothing to ask.", at(reported(0), ends(-time.Minute)), "Refresh now, no token"},
		"ReportRefuted":       {"WeChat has called the token valid since.", at(reported(10*time.Second), foundValid(0)), "Refresh in 55m2s"},
		"ReportHandledBefore": {"The Secret says so, after a restart.", at(reported(0), reportHandled), "Refresh in 55m2s"},
		"ReportAgain":         {"30 s between two doubts, so that a reporter who is always wrong costs two a minute.", at(reported(0), checked(10*time.Second), foundValid(10*time.Second)), "Check in 20s"},
		"ReportAtOnce":        {"Who reports all the time spends a call a second.", at(reported(0), checked(300*time.Millisecond)), "Check in 1s"},
		"ReportAgainClassic":  {"The same without a plain call.", at(classic, reported(0), foundValid(10*time.Second)), "Verify in 20s"},
		"ReportUnanswered":    {"It waits as any failure does.", at(reported(time.Minute), checked(30*time.Second), failed(Verify, -1, 0, 1)), "Verify in 1s, CheckFailed"},
		"ReportSinceFailure":  {"A new report shortens the wait to 30 s.", at(classic, reported(0), failed(Verify, 45009, 10*time.Second, 1)), "Verify in 20s, CheckFailed"},
		"ReportSpecChanged":   {"A changed spec ends the wait.", at(classic, reported(time.Hour), failed(Verify, 45009, time.Minute, 1), specChanged(0)), "Verify now, CheckFailed"},
		"ReportAndRequest":    {"Both are for now: the new token answers both.", at(reported(0), requested(0)), "Force now"},
		"ReportOfATaker":      {"The last 100 are for those who have the AppSecret.", at(classic, taker, reported(0), verifiedToday(400)), "Refresh in 50m0s, VerifyBudgetExhausted"},
		"ReportOfTheOwner":    {"They are for this one.", at(classic, reported(0), verifiedToday(400)), "Verify now"},
		"ReportBudget":        {"500 a day; WeChat refuses some thousands.", at(classic, reported(0), verifiedToday(500)), "Refresh in 50m0s, VerifyBudgetExhausted"},
		"ReportBudgetLeft":    {"The last 100 are for doubts.", at(classic, reported(0), verifiedToday(499)), "Verify now"},
		"ReportBudgetStable":  {"A plain call has no such limit.", at(reported(0), verifiedToday(500)), "Check now"},
		"Suspect":             {"A call for a ticket found the token invalid.", at(suspected(0)), "Check now"},
		"SuspectChecked":      {"WeChat has no other one.", at(suspected(time.Second), checked(0)), "Verify now"},
		"SuspectValid":        {"WeChat is asked once for each token.", at(suspected(10*time.Second), foundValid(0)), "Refresh in 55m2s"},
		"SuspectSpacing":      {"Not within 30 s of the last Verify.", at(classic, suspected(0), foundValid(10*time.Second)), "Verify in 20s"},
		"SuspectPredecessor":  {"The suspect is not the token in use.", at(func(s *situation) { s.suspect, s.suspectAt = "another", noon }), "Refresh in 55m2s"},

		// The interval.
		"Interval":            {"Nobody has told anything of the token for so long.", at(interval(10 * time.Minute)), "Check now"},
		"IntervalClassic":     {"No other call is free.", at(classic, interval(10*time.Minute)), "Verify now"},
		"IntervalChecked":     {"The rhythm goes on.", at(interval(10*time.Minute), checked(4*time.Minute)), "Check in 10m0s"},
		"IntervalJustChecked": {"Also when the call was late.", at(interval(10*time.Minute), checked(0)), "Check in 10m0s"},
		"IntervalRefreshed":   {"Any call that tells of the token takes the place of a Check, half an interval around it.", at(interval(10*time.Minute), obtained(4*time.Minute)), "Check in 10m0s"},
		"IntervalLongBefore":  {"But no more than that.", at(interval(10*time.Minute), obtained(5*time.Minute)), "Check now"},
		"IntervalStarted":     {"A start is no reason for a call: it comes an interval later, in the rhythm.", at(interval(10*time.Minute), started(4*time.Minute)), "Check in 10m0s"},
		"IntervalSpread":      {"Each account has a rhythm of its own.", at(interval(10*time.Minute), checked(0), func(s *situation) { s.Spread = "another" }), "Check in 11m22s"},
		"IntervalUnanswered":  {"Nobody is told of one that failed: WeChat may be busy.", at(interval(10*time.Minute), failed(Check, -1, 10*time.Minute, 4)), "Check now"},
		"IntervalNoteworthy":  {"Of five in a row somebody should know.", at(interval(10*time.Minute), failed(Check, -1, 10*time.Minute, 5)), "Check now, CheckFailed"},
		"IntervalRefused":     {"What a person must put right is told at once, long before the token ends.", at(interval(10*time.Minute), failed(Check, 40164, 0, 1)), "Check in 10m0s, CheckFailed"},
		"IntervalReset":       {"It waits as any failure of its class does.", at(interval(10*time.Minute), failed(Check, 40125, 10*time.Minute, 1)), "Check in 50m0s, CheckFailed"},
		"IntervalFailedDue":   {"A failed Check delays no Refresh.", at(interval(10*time.Minute), ends(time.Minute), failed(Check, 40164, 0, 1)), "Refresh now, CheckFailed"},
		"IntervalDoubles":     {"In mode Classic each failure doubles the interval: the quota is small.", at(classic, interval(10*time.Minute), failed(Verify, -1, 4*time.Minute, 2)), "Verify in 20m0s"},
		"IntervalLongest":     {"An hour at most.", at(classic, ends(3*time.Hour), interval(10*time.Minute), failed(Verify, -1, 10*time.Minute, 99)), "Verify in 50m0s, CheckFailed"},
		"IntervalBudget":      {"100 of 500 a day are kept for doubts.", at(classic, ends(9*time.Hour), interval(10*time.Minute), verifiedToday(400)), "Verify in 4h0m0s"},
		"CheckOfPredecessor":  {"It failed, and its token is gone: no cause.", at(interval(10*time.Minute), failed(Check, 40164, 20*time.Minute, 1), withAnotherToken(Check)), "Check now"},
		"CheckNoToken":        {"What is not valid needs no Check.", at(interval(10*time.Minute), ends(-time.Minute)), "Refresh now, no token"},

		// Who must not force.
		"NeverRequest":        {"WeChat may have another token: one plain call for each request.", at(neverForce, requested(0)), "Refresh now, ForceNotAllowed"},
		"NeverRequestAsked":   {"It has none: the next comes in its time.", at(neverForce, requested(time.Minute), obtained(0)), "Refresh in 55m2s, ForceNotAllowed"},
		"NeverRequestClassic": {"Each call would end the token.", at(classic, neverForce, requested(0)), "Refresh in 50m0s, ForceNotAllowed"},
		"NeverInvalid":        {"The plain call may bring another token.", at(neverForce, foundInvalid(0)), "Refresh now, Revoked, no token"},
		"NeverInvalidSame":    {"It brought the invalid one: somebody else has to force one.", at(neverForce, foundInvalid(0), obtained(0), sameTokenReturned), "Refresh in 1m0s, ForceNotAllowed, no token"},
		"NeverInvalidClassic": {"The next comes in its time.", at(classic, neverForce, foundInvalid(0)), "Refresh in 50m0s, ForceNotAllowed, no token"},

		// Tickets come last.
		"NoTicketYet":          {"There is a valid token in the Secret.", at(wanting(jsapi)), "jsapi now"},
		"TicketInItsSlot":      {"WeChat is asked every 10 minutes.", at(wanting(jsapi), ticket(jsapi, 4*time.Minute, 26*time.Minute)), "jsapi in 6m0s"},
		"TicketStarted":        {"A start is no reason to ask: the slots go on.", at(wanting(jsapi), started(0), ticket(jsapi, 14*time.Minute, 2*time.Hour)), "jsapi in 6m0s"},
		"TicketTrustEnds":      {"The end of the trust comes before the slot.", at(wanting(jsapi), ticket(jsapi, 4*time.Minute, time.Minute)), "jsapi in 1m0s"},
		"TicketSecond":         {"Each type has its own time.", at(wanting(jsapi, wxCard), ticket(jsapi, 4*time.Minute, 26*time.Minute)), "wx_card now"},
		"TicketNotWanted":      {"The spec asks for none.", at(ticket(jsapi, time.Hour, -time.Minute)), "Refresh in 55m2s"},
		"TicketSecretBehind":   {"A crash now would cost the token and the ticket.", at(wanting(jsapi), secretBehind), "Refresh in 55m2s"},
		"TicketNoToken":        {"There is nothing to ask with.", at(wanting(jsapi), noToken), "Refresh now, no token"},
		"TicketTokenExpired":   {"Not while another token is not to be had.", at(wanting(jsapi), ends(-time.Minute), failed(Refresh, 45009, 0, 1)), "Refresh in 1h0m0s, CallFailed, no token"},
		"TicketTokenInvalid":   {"An invalid token brings no ticket.", at(wanting(jsapi), foundInvalid(0)), "Refresh now, Revoked, no token"},
		"TicketTokenDue":       {"The token comes first.", at(wanting(jsapi), ends(time.Minute)), "Refresh now"},
		"TicketLongDue":        {"It stands behind a token, however long it has waited.", at(wanting(jsapi), ticket(jsapi, 30*time.Minute, time.Hour), ends(297*time.Second)), "Refresh now"},
		"TicketRequest":        {"What a person asks for comes first.", at(wanting(jsapi), requested(0)), "Force now"},
		"TicketReport":         {"A report comes first.", at(wanting(jsapi), reported(0)), "Check now"},
		"TicketSuspect":        {"The token is checked first.", at(wanting(jsapi), suspected(0), failed(Ticket, 40001, 0, 1)), "Check now"},
		"TicketAnswerLost":     {"The token may be invalid.", at(wanting(jsapi), answerLost, failed(Refresh, 45009, 0, 1)), "Refresh in 1h0m0s, CallFailed"},
		"TicketForceFailed":    {"A failed Force holds up no ticket.", at(wanting(jsapi), failed(Force, sameTokenCode, 0, 1)), "jsapi now"},
		"TicketFailed":         {"It begins with 10 s: the quota is small.", at(wanting(jsapi), failed(Ticket, -1, 0, 1)), "jsapi in 10s"},
		"TicketUngranted":      {"Somebody must have the account verified.", at(wanting(jsapi), failed(Ticket, 48001, 30*time.Minute, 1)), "jsapi in 30m0s"},
		"TicketSpecChanged":    {"A changed spec ends the wait.", at(wanting(jsapi), failed(Ticket, 48001, time.Minute, 1), specChanged(0)), "jsapi now"},
		"TicketInvalidToken":   {"It waits while the token is asked about.", at(wanting(jsapi), foundValid(0), failed(Ticket, 40001, 0, 1)), "jsapi in 10s"},
		"TicketOfInvalidToken": {"There is another token: no wait.", at(wanting(jsapi), failed(Ticket, 40001, 0, 1), withAnotherToken(Ticket)), "jsapi now"},
		"TicketNoNewsForToken": {"A failed ticket delays no token.", at(wanting(jsapi), ends(time.Minute), failed(Ticket, 48001, 0, 1)), "Refresh now"},

		// All else.
		"Suspended":             {"WeChat is not called.", at(suspended, requested(0), reported(0), ends(-time.Minute)), "never"},
		"DayBudgetExhausted":    {"2,000 calls in mode Classic: the next one is for the next day.", at(classic, ends(time.Minute), calledToday(2000)), "Refresh in 4h0m0s, DayBudgetExhausted"},
		"DayBudgetNotDue":       {"Nobody misses anything yet.", at(classic, calledToday(2000)), "Refresh in 50m0s"},
		"DayBudgetKeptForDue":   {"The 200 that no Force may take.", at(classic, ends(time.Minute), calledToday(1999)), "Refresh now"},
		"DayBudgetStable":       {"Mode Stable has none.", at(ends(time.Minute), calledToday(2000)), "Refresh now"},
		"AnswerLost":            {"The call may have ended the token: another one brings its successor.", at(answerLost), "Refresh now"},
		"AnswerLostClassic":     {"In mode Classic each call ends the token.", at(classic, answerLost), "Refresh now"},
		"AnswerLostAndFailed":   {"It waits as any failure does.", at(classic, answerLost, failed(Refresh, -1, 0, 1)), "Refresh in 1s, CallFailed"},
		"AnswerLostForce":       {"A Refresh is another call: it does not wait.", at(classic, answerLost, failed(Force, -1, 0, 1)), "Refresh now, CallFailed"},
		"AnswerLostDaySpent":    {"But not beyond the day's budget.", at(classic, answerLost, calledToday(2000)), "Refresh in 4h0m0s, DayBudgetExhausted"},
		"RequestOfAnotherIsNot": {"A WeChatToken without a request waits for no Force.", at(forced(0)), "Refresh in 55m2s"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tc.given.Next(&tc.given.Wants, noon)
			if diff := cmp.Diff(tc.want, say(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
