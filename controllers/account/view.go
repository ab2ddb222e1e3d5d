package account

import (
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// View is what an account is to one WeChatToken, at one moment.
type View struct {
	State
	Wants Wants
}

// Next is the call that the WeChatToken needs next.
func (v *View) Next(now time.Time) Next { return v.State.Next(&v.Wants, now) }

// Told reports whether WeChat has told this process anything of the account's token.
func (v *View) Told() bool { return v.told() }

// Want is what the Secret should hold: the newest token and its tickets. It is nil
// while there is no valid token. ReplacedAt is not set.
func (v *View) Want(now time.Time) *record.Record {
	t := v.Token(now)
	if !v.Valid(t, now) {
		return nil
	}
	want := &record.Record{
		Token: *t, Spent: v.Known.Spent,
		HandledRefresh: v.Wants.handled, HandledReport: v.handledReport(&v.Wants, t),
		Verified: true,
	}
	if n := len(want.Spent.Forced); v.Mode == v1alpha1.ModeClassic && n > 1 {
		want.Spent.Forced = want.Spent.Forced[n-1:] // only the pause after the last one counts
	}
	for _, place := range v.Wants.Tickets {
		want.Tickets[place] = v.Ticket(&v.Wants, place, now)
	}
	return want
}

// What became of a report of an invalid token.
const (
	ReportConfirmed  = "invalid"    // WeChat agrees, and there is another token
	ReportRefuted    = "valid"      // WeChat does not agree
	ReportOutdated   = "outdated"   // the token had been replaced before
	ReportUnanswered = "unanswered" // WeChat was asked, and did not tell yet
)

// ReportOutcomes are all of them.
var ReportOutcomes = []string{ReportConfirmed, ReportRefuted, ReportOutdated, ReportUnanswered}

// ReportOutcome is what has become of the report now that the Secret holds r; empty
// if that is not known yet. With all but ReportUnanswered it is handled.
func (v *View) ReportOutcome(r *record.Record) string {
	w := &v.Wants
	if w.Report == "" || r == nil {
		return ""
	}
	calledInvalid := v.foundInvalid && v.last[Verify].token == w.Reported
	switch {
	case w.Reported == r.Token.Fingerprint() && r.HandledReport == w.Report:
		return ReportRefuted
	case w.Reported != r.Token.Fingerprint() && calledInvalid && !w.reportSince.After(v.tokenAt()):
		return ReportConfirmed
	case w.Reported != r.Token.Fingerprint():
		return ReportOutdated
	case v.unanswered(Check, w.Reported), v.unanswered(Verify, w.Reported):
		return ReportUnanswered
	default:
		return ""
	}
}

// unanswered reports whether the last call of a kind was about the token, and failed.
func (v *View) unanswered(kind Kind, fingerprint string) bool {
	return v.last[kind].failure != nil && v.last[kind].token == fingerprint
}
