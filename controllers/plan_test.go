package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
)

// What to do with the Secrets. It is half a second past noon; see observed for what
// there is if nothing else is said.
func TestPlan(t *testing.T) {
	t.Parallel()
	nothing := plan{}
	writes := func(facts ...fact) plan { return plan{write: remembered(facts...)} }
	repairs := func(facts ...fact) plan { return plan{write: remembered(facts...), repair: true} }
	waits := func(d time.Duration) plan { return plan{wake: noon.Add(d), repair: true} }
	removingOld := func(p plan) plan { p.remove = oldSecrets(); return p }
	replacedNow := replaced(0)
	handledReport := func(r *record.Record) { r.HandledReport = "report" }
	teamLabel := spec(func(wt *v1alpha1.WeChatToken) {
		wt.Spec.Secret = &v1alpha1.TokenSecret{Labels: map[string]v1alpha1.LabelValue{"team": "shop"}}
	})
	teamAnnotation := spec(func(wt *v1alpha1.WeChatToken) {
		wt.Spec.Secret = &v1alpha1.TokenSecret{Annotations: map[string]v1alpha1.AnnotationValue{"team": "shop"}}
	})
	otherKey := spec(func(wt *v1alpha1.WeChatToken) {
		wt.Spec.Secret = &v1alpha1.TokenSecret{Keys: &v1alpha1.SecretKeys{AccessToken: "TOKEN"}}
	})
	otherAppID := func(r *record.Record) { r.Token.AppID = "wxfedcba9876543210" }

	cases := map[string]struct {
		reason string
		given  *observation
		want   plan
	}{
		// Nothing may be touched.
		"Suspended":         {"spec.suspend keeps the operator away.", observed(spec(suspendedSpec), accountKnows(next)), nothing},
		"SuspendedDamaged":  {"A suspended Secret is not even repaired.", observed(spec(suspendedSpec), edited(withAnotherValue)), nothing},
		"SuspendedMoved":    {"The old Secret is the one that consumers read.", observed(spec(suspendedSpec), moved), nothing},
		"NoAppSecret":       {"Nobody knows whether the token is of this account.", observed(appSecretMissing, moved), nothing},
		"Conflict":          {"The target is somebody else's, and the old Secret the one that consumers read.", observed(targetTaken, moved), nothing},
		"ConflictSuspended": {"Both keep the operator away.", observed(targetTaken, spec(suspendedSpec)), nothing},

		// Nothing is there to write.
		"NoToken":        {"WeChat has not given one yet.", observed(noToken), nothing},
		"Expired":        {"The last token stays; its successor is on the way.", observed(known(endsIn(0))), nothing},
		"ExpiredDamaged": {"No expired token is put back.", observed(known(endsIn(0)), edited(withAnotherValue)), nothing},
		"InvalidDamaged": {"No token is put back that WeChat calls invalid.", observed(foundInvalid, edited(withAnotherValue)), nothing},
		"WrongClock": {"A token of the future is none.", observed(known(func(r *record.Record) {
			r.Token.ObtainedAt, r.Token.ExpiresAt = noon.Add(time.Hour), noon.Add(3*time.Hour)
		}), edited(withoutLabels)), nothing},
		"NoTokenMoved": {"The old Secret is named for when the target holds a token.", observed(noToken, moved), removingOld(nothing)},

		// Something new is.
		"FirstToken":    {"It replaces none.", observed(noSecret), writes()},
		"NewToken":      {"It is the newest, and replaces another now.", observed(accountKnows(next)), writes(next, replacedNow)},
		"NewTokenMoved": {"The old Secret goes after the write.", observed(accountKnows(next), moved), removingOld(writes(next, replacedNow))},
		"CorrectedEnd":  {"WeChat has changed its mind; no token was replaced.", observed(secretHolds(replaced(time.Hour)), accountKnows(endsIn(time.Minute))), writes(endsIn(time.Minute), replaced(time.Hour))},
		"RevokedAndReplaced": {"The new token remembers why it came.", observed(accountKnows(next, func(r *record.Record) {
			r.Token.PredecessorInvalidAt = noon
		})), writes(next, replacedNow, func(r *record.Record) { r.Token.PredecessorInvalidAt = noon })},
		"NewTicket":       {"It is wanted.", observed(spec(wanting(v1alpha1.TicketJSAPI)), secretHolds(), accountKnows(ticket(jsapi, time.Hour))), writes(ticket(jsapi, time.Hour))},
		"TicketProlonged": {"WeChat still gives it, so it is trusted for longer.", observed(spec(wanting(v1alpha1.TicketJSAPI)), secretHolds(ticket(jsapi, time.Minute)), accountKnows(ticket(jsapi, time.Hour))), writes(ticket(jsapi, time.Hour))},
		"TicketNotWanted": {"Another WeChatToken wants it of the account.", observed(accountKnows(ticket(jsapi, time.Hour))), nothing},
		"TicketExpired":   {"Good is never replaced by nothing.", observed(spec(wanting(v1alpha1.TicketJSAPI)), secretHolds(ticket(jsapi, -time.Second))), nothing},
		"ReportRefuted": {"The answer must outlast a restart.", observed(spec(reporting(fingerprintOfPresent)), foundValid), writes(func(r *record.Record) {
			r.HandledReport, r.Spent = fingerprintOfPresent, budget.Spent{}.CallVerify(noon)
		})},
		"ReportRemembered": {"What the Secret says of its token stays on it.", observed(known(handledReport), teamLabel), writes(handledReport)},

		// Nothing is.
		"Unchanged":      {"The target holds what it should.", observed(), nothing},
		"UnchangedMoved": {"The target is right, so the old Secret goes.", observed(moved), removingOld(nothing)},
		"Additions": {"Labels and keys of others stay.", observed(edited(func(s *corev1.Secret) {
			s.Labels["team"], s.Data["note"] = "theirs", []byte("x")
		})), nothing},
		"Budget":          {"The budget alone is not worth a write.", observed(accountKnows(forcedNow)), nothing},
		"BudgetForgotten": {"Nor is it when the Secret knows of more.", observed(secretHolds(forcedNow)), nothing},
		"BudgetAndToken":  {"The budget goes with the next write.", observed(accountKnows(next, forcedNow)), writes(next, forcedNow, replacedNow)},
		"Classic":         {"It is the same in the other mode.", observed(inModeClassic), nothing},

		// The spec wants another shape.
		"LabelAdded":        {"The Secret follows the spec.", observed(teamLabel), writes()},
		"LabelDropped":      {"What the spec no longer names goes.", observed(teamLabel, secretHolds(), spec(func(wt *v1alpha1.WeChatToken) { wt.Spec.Secret = nil })), writes()},
		"AnnotationDropped": {"What the spec no longer names goes.", observed(teamAnnotation, secretHolds(), spec(func(wt *v1alpha1.WeChatToken) { wt.Spec.Secret = nil })), writes()},
		"KeyRenamed":        {"The Secret follows the spec.", observed(otherKey), writes()},
		"TicketAdded":       {"The spec wants the ticket that another WeChatToken has.", observed(accountKnows(ticket(wxCard, time.Hour)), spec(wanting(v1alpha1.TicketWxCard))), writes(ticket(wxCard, time.Hour))},
		"TicketDropped":     {"The spec no longer wants it.", observed(spec(wanting(v1alpha1.TicketJSAPI)), known(ticket(jsapi, time.Hour)), spec(wanting())), writes()},
		"AnotherAppID":      {"The Secret holds the token of another account.", observed(secretHolds(otherAppID), accountKnows(next)), writes(next, replacedNow)},
		"AnotherMode":       {"The Secret holds the token of another mode.", observed(secretHolds(inClassic), accountKnows(next)), writes(next, replacedNow)},

		// Somebody has edited the Secret.
		"Deleted":       {"The same token is written again.", observed(wrote(), noSecret), repairs()},
		"TokenEdited":   {"The same token is written again.", observed(wrote(), edited(withAnotherValue)), repairs()},
		"KeyRemoved":    {"The same token is written again.", observed(wrote(), edited(func(s *corev1.Secret) { delete(s.Data, "expires_at") })), repairs()},
		"RecordRemoved": {"The same token is written again.", observed(wrote(), edited(func(s *corev1.Secret) { s.Annotations = nil })), repairs()},
		"LabelRemoved":  {"The same token is written again.", observed(wrote(), edited(withoutLabels)), repairs()},
		"Unverified":    {"A record that nobody proves is written anew, though its token is right.", observed(wrote(), edited(unproven)), repairs()},
		"UnverifiedAlone": {"The same record without a proof counts as damage, too.", observed(func(o *observation) {
			secretHolds()(o)
			o.onTarget.Verified = false
		}), writes()},
		"TicketEdited": {"The same ticket is written again.", observed(spec(wanting(v1alpha1.TicketJSAPI)), known(ticket(jsapi, time.Hour)), wrote(ticket(jsapi, time.Hour)), edited(func(s *corev1.Secret) {
			s.Data["jsapi_ticket"] = []byte("x")
		})), repairs(ticket(jsapi, time.Hour))},
		"RepairFirst":        {"The first repair is made at once.", observed(wrote(), edited(withoutLabels)), repairs()},
		"RepairAfterRestart": {"Another process wrote it: to this one it is no repair.", observed(edited(withoutLabels)), writes()},
		"RepairPaused":       {"A fight costs 6 writes a minute.", observed(wrote(), repaired(4*time.Second), edited(withoutLabels)), waits(6 * time.Second)},
		"RepairPausedMoved":  {"The old Secret goes meanwhile.", observed(wrote(), repaired(4*time.Second), edited(withoutLabels), moved), removingOld(waits(6 * time.Second))},
		"RepairPauseOver":    {"10 s have passed since the last one.", observed(wrote(), repaired(10*time.Second), edited(withoutLabels)), repairs()},
		"RepairOfBudget":     {"Another budget makes it no other write.", observed(wrote(forcedNow), repaired(4*time.Second), edited(withoutLabels)), waits(6 * time.Second)},
		"NewWhilePaused":     {"A new token waits for no repair.", observed(wrote(), repaired(4*time.Second), edited(withoutLabels), accountKnows(next)), writes(next, replacedNow)},
		"SpecWhilePaused":    {"A changed spec waits for no repair.", observed(wrote(), repaired(4*time.Second), edited(withoutLabels), teamLabel), writes()},

		// The Secret remembers when its token replaced another.
		"ReplacedKept":        {"The same token is written again.", observed(secretHolds(replaced(time.Hour)), teamLabel), writes(replaced(time.Hour))},
		"ReplacedUnverified":  {"In its own namespace a record counts without a proof.", observed(wrote(), secretHolds(replaced(time.Hour)), edited(unproven)), writes(replaced(time.Hour))},
		"ReplacedAfterLoss":   {"This process knows what the Secret held.", observed(wrote(replaced(time.Hour)), noSecret), repairs(replaced(time.Hour))},
		"ReplacedByLoss":      {"Meanwhile the token has changed.", observed(wrote(replaced(time.Hour)), noSecret, accountKnows(next)), writes(next, replacedNow)},
		"ReplacedForgotten":   {"A restart and a lost Secret leave nobody who knows.", observed(noSecret, accountKnows(next)), writes(next)},
		"ReplacedOnTheSecret": {"The Secret counts before what this process has written.", observed(wrote(next, replaced(time.Minute)), secretHolds(replaced(time.Hour)), teamLabel), writes(replaced(time.Hour))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := decide(tc.given, noon.Add(time.Second/2))
			opts := cmp.Options{cmp.AllowUnexported(plan{}), cmpopts.IgnoreUnexported(record.Record{}), cmpopts.EquateEmpty()}
			if diff := cmp.Diff(tc.want, got, opts); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// When to look again though nothing happens, from noon; zero for never.
func TestLookAgain(t *testing.T) {
	t.Parallel()
	const refused, taken = "policy", ""
	bothTypes := spec(bothTickets)
	cases := map[string]struct {
		reason  string
		given   *observation
		refused string
		want    time.Duration
	}{
		"TokenEnds":            {"Ready turns False then.", observed(), taken, time.Hour},
		"TokenEndsOnTheSecret": {"The token in the Secret counts, not the newest.", observed(accountKnows(endsIn(2 * time.Hour))), taken, time.Hour},
		"Suspended":            {"Ready follows the token also then.", observed(spec(suspendedSpec)), taken, time.Hour},
		"NoAppSecret":          {"Ready follows the token also then.", observed(appSecretMissing), taken, time.Hour},
		"TokenReplaced":        {"A newer token leaves it 5 minutes.", observed(spec(suspendedSpec), accountKnows(next)), taken, testWindow},
		"TokenEnded":           {"Nothing changes by itself.", observed(known(endsIn(0))), taken, 0},
		"TokenInvalid":         {"It has ended already.", observed(foundInvalid), taken, 0},
		"NoSecret":             {"There is nothing to tell of.", observed(noToken), taken, 0},
		"Conflict":             {"The Secret is not ours.", observed(targetTaken), taken, 0},
		"AnotherAppID":         {"The Secret does not serve the spec.", observed(spec(func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" })), taken, 0},
		"AnotherMode":          {"The Secret does not serve the spec.", observed(spec(classic)), taken, 0},
		"WrongClock":           {"The token is of the future.", observed(known(func(r *record.Record) { r.Token.ObtainedAt = noon.Add(time.Hour / 2) })), taken, 0},
		"TicketEnds":           {"TicketsReady turns False before Ready.", observed(bothTypes, known(ticket(jsapi, 50*time.Minute), ticket(wxCard, 20*time.Minute))), taken, 20 * time.Minute},
		"TicketOutlasts":       {"Ready turns False before TicketsReady.", observed(bothTypes, known(ticket(jsapi, 2*time.Hour))), taken, time.Hour},
		"TicketEnded":          {"It is told already.", observed(bothTypes, known(ticket(jsapi, 0))), taken, time.Hour},
		"TicketNotWanted":      {"Nobody tells of it.", observed(known(ticket(jsapi, time.Minute))), taken, time.Hour},
		"RepairPaused":         {"The repair comes before anything ends.", observed(wrote(), repaired(4*time.Second), edited(withoutLabels)), taken, 6 * time.Second},
		"RepairAfterTheEnd":    {"The end comes before the repair.", observed(known(endsIn(3*time.Second)), wrote(endsIn(3*time.Second)), repaired(4*time.Second), edited(withoutLabels)), taken, 3 * time.Second},

		"Refused":           {"Nothing tells when a policy or a quota has changed.", observed(accountKnows(next)), refused, 30 * time.Second},
		"RefusedFirst":      {"The Secret holds nothing that ends.", observed(noSecret), refused, 30 * time.Second},
		"RefusedNearTheEnd": {"Several tries fit into what is left.", observed(known(endsIn(40 * time.Second))), refused, 10 * time.Second},
		"RefusedAtTheEnd":   {"A try a second is enough.", observed(known(endsIn(2 * time.Second))), refused, time.Second},
		"RefusedPastTheEnd": {"Nobody gains by haste.", observed(known(endsIn(-time.Second))), refused, 30 * time.Second},
		"RefusedReplaced": {"The token ends 5 minutes after its successor came.", observed(accountKnows(next, func(r *record.Record) {
			r.Token.ObtainedAt = noon.Add(time.Minute - testWindow)
		})), refused, 15 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := outcome{holds: tc.given.holds(noon), refused: tc.refused}
			var got time.Duration
			if at := lookAgain(tc.given, decide(tc.given, noon), out, noon); !at.IsZero() {
				got = at.Sub(noon)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
