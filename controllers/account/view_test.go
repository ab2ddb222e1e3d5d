package account

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wechattoken.io/operator/internal/record"
)

// What the Secret should hold. It is noon; see at for what holds if nothing else is
// said.
func TestWant(t *testing.T) {
	t.Parallel()
	type change = func(*record.Record)
	none := change(nil)
	asKnown := func(*record.Record) {}
	forgetsForced := func(r *record.Record) { r.Spent.Forced = r.Spent.Forced[1:] }
	onlyHandled := func(request, report string) change {
		return func(r *record.Record) { r.HandledRefresh, r.HandledReport = request, report }
	}
	seen := func(ago time.Duration) record.Ticket {
		return record.Ticket{Value: "seen", FirstSeen: noon.Add(-ago), Life: 2 * time.Hour, ExpiresAt: noon.Add(time.Minute)}
	}
	onSecret := func(t record.Ticket, s *situation) *situation {
		s.Wants.Secret.Tickets[jsapi] = t
		return s
	}
	ofOthers := func(s *situation) { s.Known.HandledRefresh, s.Known.HandledReport = "theirs", "theirs" }

	cases := map[string]struct {
		reason string
		given  *situation
		want   change // to what the account knows; nil for no record at all
	}{
		"Valid":          {"It is the newest token.", at(), asKnown},
		"SecretBehind":   {"The newest token counts, whatever the Secret holds.", at(secretBehind), asKnown},
		"LastSecond":     {"A token is valid until its end.", at(ends(time.Nanosecond)), asKnown},
		"NoToken":        {"There is nothing to hold.", at(noToken), none},
		"Expired":        {"The end itself is too late.", at(ends(0)), none},
		"Invalid":        {"WeChat accepts it no more.", at(foundInvalid(0)), none},
		"ObtainedAhead":  {"A clock was wrong when it was obtained.", at(func(s *situation) { s.Known.Token.ObtainedAt = noon.Add(time.Hour) }), none},
		"DueOrFailed":    {"A due token is as good as any, as long as it is valid.", at(ends(time.Minute), failed(Refresh, 40164, 0, 9)), asKnown},
		"Suspended":      {"The account says what it knows: to leave the Secret alone is the plan's part.", at(suspended), asKnown},
		"Request":        {"The token is older than the request.", at(requested(0)), asKnown},
		"RequestHandled": {"The token answers it.", at(requested(0), handled), onlyHandled("now", "")},
		"Report":         {"WeChat has not told yet.", at(reported(0)), asKnown},
		"ReportAnswered": {"WeChat calls the token valid.", at(reported(time.Minute), foundValid(0)), onlyHandled("", "report")},
		"ReportSince":    {"The check came before this report.", at(reported(0), foundValid(time.Minute)), asKnown},
		"ReportBefore":   {"The Secret remembers it, after a restart.", at(reported(0), reportHandled), onlyHandled("", "report")},
		"ReportWithdrawn": {"The Secret remembers it, though nobody reports it any more.", at(reported(0), reportHandled, func(s *situation) {
			s.Wants.Report, s.Wants.Reported = "", ""
		}), onlyHandled("", "report")},
		"ReportOfAnother":     {"It says nothing of this token.", at(reportedAnother, foundValid(0)), asKnown},
		"HandledElsewhere":    {"What another Secret of the account has answered is no business of this one.", at(ofOthers, secretBehind), asKnown},
		"ForcedStable":        {"Each forced call counts for a day.", at(forced(time.Hour, time.Minute)), asKnown},
		"ForcedClassic":       {"Only the pause after the last one counts.", at(classic, forced(time.Hour, time.Minute), calledToday(7)), forgetsForced},
		"ForcedClassicOnce":   {"It is the last one.", at(classic, forced(time.Minute)), asKnown},
		"Ticket":              {"It is wanted.", at(wanting(jsapi), ticket(jsapi, time.Minute, time.Hour)), asKnown},
		"TicketNotWanted":     {"The spec does not ask for it.", at(ticket(jsapi, time.Minute, time.Hour)), func(r *record.Record) { r.Tickets[jsapi] = record.Ticket{} }},
		"TicketsOfOneType":    {"Each type is asked for by itself.", at(wanting(wxCard), ticket(jsapi, time.Minute, time.Hour), ticket(wxCard, time.Minute, time.Hour)), func(r *record.Record) { r.Tickets[jsapi] = record.Ticket{} }},
		"TicketExpired":       {"Good is never replaced by nothing.", at(wanting(jsapi), ticket(jsapi, time.Hour, -time.Minute)), asKnown},
		"TicketOnTheSecret":   {"No process has asked for it, and it is there.", onSecret(seen(time.Minute), at(wanting(jsapi))), func(r *record.Record) { r.Tickets[jsapi] = seen(time.Minute) }},
		"TicketNewerOnSecret": {"The newest one counts.", onSecret(seen(time.Minute), at(wanting(jsapi), ticket(jsapi, time.Hour, time.Hour))), func(r *record.Record) { r.Tickets[jsapi] = seen(time.Minute) }},
		"TicketOlderOnSecret": {"The newest one counts.", onSecret(seen(time.Hour), at(wanting(jsapi), ticket(jsapi, time.Minute, time.Hour))), asKnown},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want *record.Record
			if tc.want != nil {
				known := tc.given.Known
				known.HandledRefresh, known.HandledReport = "", "" // of the account's record they are nobody's
				want = &known
				tc.want(want)
			}
			got := (&View{State: tc.given.State, Wants: tc.given.Wants}).Want(noon)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(record.Record{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// What has become of a report. It is noon, and the Secret holds what at says.
func TestReportOutcome(t *testing.T) {
	t.Parallel()
	// replaced is the situation once a call has brought another token than the one
	// that was reported, and checked.
	replaced := func(ago time.Duration) mod {
		return func(s *situation) {
			reportedAnother(s)
			obtained(ago)(s)
			s.last[Verify].token = s.Wants.Reported
		}
	}
	cases := map[string]struct {
		reason string
		given  *situation
		want   string
	}{
		"NoReport":           {"Nobody asks.", at(foundValid(0)), ""},
		"NoSecret":           {"Nothing is known of the token in it.", at(reported(0), secretBehind), ""},
		"Pending":            {"WeChat was not asked yet.", at(reported(0)), ""},
		"Invalid":            {"The successor is on its way.", at(reported(time.Minute), foundInvalid(0)), ""},
		"InvalidReturned":    {"WeChat gave the invalid token once more: the Secret still holds it.", at(reported(time.Minute), foundInvalid(0), obtained(0)), ""},
		"Confirmed":          {"WeChat has called it invalid, and there is another token.", at(foundInvalid(0), replaced(0), reportedAgo(time.Minute)), ReportConfirmed},
		"ConfirmedAtOnce":    {"A report may come in the moment of the call.", at(foundInvalid(0), replaced(time.Minute), reportedAgo(time.Minute)), ReportConfirmed},
		"Late":               {"The successor was there before the report.", at(foundInvalid(0), replaced(time.Minute), reportedAgo(0)), ReportOutdated},
		"Outdated":           {"It names another token, and nobody has checked that.", at(reportedAnother), ReportOutdated},
		"OutdatedAndValid":   {"WeChat called it valid, and it was replaced in its time.", at(foundValid(0), replaced(0), reportedAgo(time.Minute)), ReportOutdated},
		"OutdatedAndChecked": {"WeChat has called another token invalid.", at(foundInvalid(0), reportedAnother, obtained(0), reportedAgo(time.Minute)), ReportOutdated},
		"OutdatedUnanswered": {"The token is gone: nobody waits for the check that failed.", at(failed(Verify, -1, 0, 1), replaced(0), reportedAgo(time.Minute)), ReportOutdated},
		"Refuted":            {"WeChat has called the token valid, and the Secret remembers it.", at(reported(time.Minute), foundValid(0), reportHandled), ReportRefuted},
		"RefutedUnwritten":   {"The Secret does not say so yet.", at(reported(time.Minute), foundValid(0)), ""},
		"RefutedBefore":      {"The Secret answers another report of the same token.", at(reported(0), func(s *situation) { s.Known.HandledReport = "before" }), ""},
		"RefutedThenFailed":  {"What the Secret says stays.", at(reported(time.Minute), reportHandled, failed(Verify, -1, 0, 1)), ReportRefuted},
		"Unanswered":         {"WeChat was asked, and did not tell.", at(reported(time.Minute), failed(Verify, -1, 0, 1)), ReportUnanswered},
		"UnansweredBefore":   {"The check that failed was of the token before.", at(reported(0), failed(Verify, -1, 0, 1), withAnotherToken(Verify)), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := &View{State: tc.given.State, Wants: tc.given.Wants}
			if diff := cmp.Diff(tc.want, v.ReportOutcome(tc.given.Wants.Secret)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// reportedAgo is when the report that is there was seen first.
func reportedAgo(ago time.Duration) mod {
	return func(s *situation) { s.Wants.reportSince = noon.Add(-ago) }
}
