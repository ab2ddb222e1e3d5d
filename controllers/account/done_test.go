package account

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// brings is an answer with a token that is valid for so long.
func brings(value string, life time.Duration) Answer {
	return Answer{Token: wechat.Token{Value: value, Life: life}}
}

func fails(code int64) Answer { return Answer{Err: &wechat.Error{Code: code}} }

func lost() Answer { return Answer{Err: &wechat.Error{Lost: true}} }

// What an answer changes: all that is not in "changes" stays. The call begins at
// noon and ends a second later.
func TestDone(t *testing.T) {
	t.Parallel()
	const (
		present = "98_present"
		next    = "98_next"
		life    = 2 * time.Hour
	)
	end := noon.Add(time.Second)
	// The changes.
	token := func(value string, obtained, expires time.Time) mod {
		return func(s *situation) {
			s.Known.Token.Value, s.Known.Token.ObtainedAt, s.Known.Token.ExpiresAt = value, obtained, expires
		}
	}
	isNext := token(next, noon, noon.Add(life))
	succeeds := func(kind Kind) mod {
		return func(s *situation) { s.last[kind].succeededAt, s.last[kind].failure = noon, nil }
	}
	fail := func(kind Kind, a Answer, count int) mod {
		return func(s *situation) {
			if kind <= Force { // these share one failure
				s.last[Refresh].failure, s.last[Force].failure = nil, nil
			}
			s.last[kind].failure = &Failure{Err: a.Err, At: end, Count: count}
		}
	}
	// replaced is the end of the token that had been in use, from noon.
	replaced := func(in time.Duration) mod {
		return func(s *situation) { s.State.replaced = []ending{{record.Fingerprint(present), noon.Add(in)}} }
	}
	const overlap = 5 * time.Minute // after the call
	elsewhere := func(s *situation) { s.Known.Spent.Elsewhere = []time.Time{noon} }
	asked := verifiedToday(1)
	countsForced := func(s *situation) { s.Known.Spent.Forced = append(s.Known.Spent.Forced, noon) }
	nothingLost := func(s *situation) { s.answerLost, s.forcedUncounted = false, false }
	noFailure := func(s *situation) {
		s.last[Refresh].failure, s.last[Force].failure, s.last[Check].failure = nil, nil, nil
	}
	invalidBefore := func(s *situation) { s.Known.Token.PredecessorInvalidAt = noon.Add(-3 * time.Second) }
	sameReturned := func(is bool) mod { return func(s *situation) { s.sameTokenReturned = is } }
	invalid := func(is bool) mod { return func(s *situation) { s.foundInvalid = is } }
	suspects := func(s *situation) { s.suspect, s.suspectAt = record.Fingerprint(present), end }
	ticketA := record.Ticket{Value: "A", FirstSeen: noon, Life: life, ExpiresAt: noon.Add(30 * time.Minute)}

	cases := map[string]struct {
		reason  string
		given   *situation
		kind    Kind
		answer  Answer
		changes []mod
	}{
		"FirstToken": {
			"Its life begins with the call.", at(noToken), Refresh, brings(next, life),
			[]mod{func(s *situation) { s.Known.Token.AppID, s.Known.Token.Mode = shop.AppID, s.Mode }, isNext, succeeds(Refresh)},
		},
		"NewToken":   {"It is the newest.", at(ends(overlap - time.Second)), Refresh, brings(next, life), []mod{isNext, succeeds(Refresh), replaced(overlap - time.Second)}},
		"NewClassic": {"The call counts, and ends the token.", at(classic, calledToday(7)), Refresh, brings(next, life), []mod{isNext, succeeds(Refresh), calledToday(8), replaced(overlap)}},
		"NewAfterFailures": {
			"All is well.", at(ends(time.Minute), failed(Refresh, -1, time.Minute, 3), failed(Check, -1, time.Minute, 3), answerLost), Refresh, brings(next, life),
			[]mod{isNext, noFailure, succeeds(Refresh), nothingLost, replaced(time.Minute)},
		},
		"NewAfterFailedForce": {
			"The token answers for both kinds.", at(ends(time.Minute), failed(Force, -1, time.Minute, 3)), Refresh, brings(next, life),
			[]mod{isNext, noFailure, succeeds(Refresh), replaced(time.Minute)},
		},
		"NewThird": {
			"The end of the first does not move.", at(ends(time.Minute), replaced(-time.Minute)), Refresh, brings(next, life),
			[]mod{isNext, succeeds(Refresh), func(s *situation) {
				s.State.replaced = append(s.State.replaced, ending{record.Fingerprint(present), noon.Add(time.Minute)})
			}},
		},

		"CheckSame": {"Nothing is new but that WeChat was asked.", at(), Check, brings(present, time.Hour), []mod{succeeds(Check), sameReturned(true)}},
		"CheckSameAfterFailures": {
			"WeChat answers again. A Force that brought the same token goes on to wait.", at(failed(Check, -1, time.Minute, 3), failed(Force, sameTokenCode, time.Minute, 1)), Check, brings(present, time.Hour),
			[]mod{succeeds(Check), sameReturned(true)},
		},
		"CheckNew": {
			"Somebody else has forced one, after the last Check, and WeChat counts it.", at(checked(time.Minute), failed(Force, -1, time.Minute, 1)), Check, brings(next, life),
			[]mod{isNext, noFailure, succeeds(Check), countsForced, elsewhere, replaced(overlap - time.Minute)},
		},
		"CheckNewLong": {
			"Without a Check before it, the token may have ended long ago.", at(), Check, brings(next, life),
			[]mod{isNext, succeeds(Check), countsForced, elsewhere, replaced(overlap - time.Hour)},
		},
		"CheckNewDue": {"It was due: nobody has forced it.", at(ends(time.Minute)), Check, brings(next, life), []mod{isNext, succeeds(Check), replaced(time.Minute)}},
		"CheckNewLost": {
			"The Force whose answer was lost has worked: it was this operator's.", at(forcedUncounted, answerLost, obtained(time.Second)), Check, brings(next, life),
			[]mod{isNext, succeeds(Check), nothingLost, countsForced, replaced(overlap - time.Second)},
		},
		"CheckFails": {
			"The failures of other calls stay.", at(failed(Check, -1, time.Minute, 3), failed(Force, -1, time.Minute, 1)), Check, fails(-1),
			[]mod{fail(Check, fails(-1), 4)},
		},

		"SameToken":         {"Nothing is new but that WeChat was asked.", at(), Refresh, brings(present, time.Hour), []mod{succeeds(Refresh), sameReturned(true)}},
		"SameTokenRounded":  {"3 s are the whole seconds and the way.", at(), Refresh, brings(present, time.Hour-3*time.Second), []mod{succeeds(Refresh), sameReturned(true)}},
		"SameTokenShortens": {"What differs more is a correction.", at(), Refresh, brings(present, 30*time.Minute), []mod{token(present, noon.Add(-time.Hour), noon.Add(30*time.Minute)), succeeds(Refresh), sameReturned(true)}},
		"SameTokenLengthens": {
			"WeChat still gives a token that has ended by our clock.", at(ends(-time.Second)), Refresh, brings(present, time.Second),
			[]mod{token(present, noon.Add(-time.Hour), end), succeeds(Refresh), sameReturned(true)},
		},
		"SameTokenFinds": {
			"The lost Force was not carried out.", at(forcedUncounted, answerLost), Refresh, brings(present, time.Hour),
			[]mod{succeeds(Refresh), nothingLost, sameReturned(true)},
		},

		"Forced":        {"It counts.", at(), Force, brings(next, life), []mod{isNext, succeeds(Force), countsForced, replaced(overlap)}},
		"ForcedClassic": {"It counts twice: for the spacing and for the day.", at(classic), Force, brings(next, life), []mod{isNext, succeeds(Force), countsForced, calledToday(1), replaced(overlap)}},
		"ForcedSame": {
			"WeChat counts it, and it is a failure.", at(), Force, brings(present, time.Hour),
			[]mod{succeeds(Force), countsForced, sameReturned(true), fail(Force, Answer{}, 1)},
		},
		"ForcedSameAgain": {
			"One more in a row.", at(failed(Force, sameTokenCode, time.Minute, 1)), Force, brings(present, time.Hour),
			[]mod{succeeds(Force), countsForced, sameReturned(true), fail(Force, Answer{}, 2)},
		},
		"ForcedForgets": {
			"A day later a call does not count.", at(forced(25 * time.Hour)), Force, brings(next, life),
			[]mod{isNext, succeeds(Force), replaced(overlap), func(s *situation) { s.Known.Spent.Forced = []time.Time{noon} }},
		},

		"Failed":        {"The token stays.", at(), Refresh, fails(-1), []mod{fail(Refresh, fails(-1), 1)}},
		"FailedAgain":   {"Failures of one class are in a row.", at(failed(Refresh, -1, time.Minute, 2)), Refresh, fails(12345), []mod{fail(Refresh, fails(12345), 3)}},
		"FailedAnew":    {"Another class begins anew.", at(failed(Refresh, -1, time.Minute, 2)), Refresh, fails(45009), []mod{fail(Refresh, fails(45009), 1)}},
		"FailedForced":  {"Refresh and Force share one failure; a refused Force does not count.", at(failed(Refresh, -1, time.Minute, 2)), Force, fails(-1), []mod{fail(Force, fails(-1), 3)}},
		"FailedClassic": {"The call counts also when it brings nothing.", at(classic), Refresh, fails(-1), []mod{fail(Refresh, fails(-1), 1), calledToday(1)}},

		"LostRefresh": {"A plain call ends no token.", at(), Refresh, lost(), []mod{fail(Refresh, lost(), 1)}},
		"LostForce":   {"WeChat may have ended the token, and counted.", at(), Force, lost(), []mod{fail(Force, lost(), 1), answerLost, forcedUncounted}},
		"LostClassic": {"Each call ends the token.", at(classic), Refresh, lost(), []mod{fail(Refresh, lost(), 1), answerLost, calledToday(1)}},
		"LostForceFound": {
			"The plain call brings the token of the lost Force, which counts now.", at(forcedUncounted, answerLost), Refresh, brings(next, life),
			[]mod{isNext, succeeds(Refresh), nothingLost, countsForced, replaced(overlap - time.Hour)},
		},
		"LostForceFirst": {
			"The first token tells nothing of a Force.", at(noToken, forcedUncounted), Refresh, brings(next, life),
			[]mod{func(s *situation) { s.Known.Token.AppID, s.Known.Token.Mode = shop.AppID, s.Mode }, isNext, succeeds(Refresh), nothingLost},
		},

		"VerifyValid":   {"The token is valid.", at(), Verify, Answer{Valid: true}, []mod{succeeds(Verify), asked}},
		"VerifyInvalid": {"The token is invalid.", at(), Verify, Answer{}, []mod{succeeds(Verify), invalid(true), asked}},
		"VerifyInvalidAfterSame": {
			"The plain call is worth another try: it is long ago.", at(sameTokenReturned, checked(5*time.Second)), Verify, Answer{},
			[]mod{succeeds(Verify), invalid(true), sameReturned(false), asked},
		},
		"VerifyInvalidJustChecked": {
			"WeChat has no other token: only a Force helps.", at(sameTokenReturned, checked(time.Second)), Verify, Answer{},
			[]mod{succeeds(Verify), invalid(true), asked},
		},
		"VerifyFailed":   {"It says nothing of the token, and counts.", at(), Verify, fails(-1), []mod{fail(Verify, fails(-1), 1), asked}},
		"VerifyAnswered": {"The failures are over.", at(failed(Verify, -1, time.Minute, 4), verifiedToday(7)), Verify, Answer{Valid: true}, []mod{succeeds(Verify), verifiedToday(8)}},

		"InvalidReplaced": {
			"Somebody has forced a token, and WeChat counted; the new one remembers why it came.", at(foundInvalid(3 * time.Second)), Refresh, brings(next, life),
			[]mod{isNext, succeeds(Refresh), invalidBefore, countsForced, elsewhere, replaced(overlap - time.Hour)},
		},
		"InvalidForced": {
			"It counts once.", at(foundInvalid(3*time.Second), sameTokenReturned), Force, brings(next, life),
			[]mod{isNext, succeeds(Force), invalidBefore, countsForced, elsewhere, replaced(overlap)},
		},
		"InvalidReturned": {
			"Nothing was forced.", at(foundInvalid(3 * time.Second)), Refresh, brings(present, time.Hour),
			[]mod{succeeds(Refresh), sameReturned(true)},
		},
		"InvalidClassic": {
			"A plain call of somebody else ends the token there: no forced one.", at(classic, foundInvalid(3*time.Second)), Refresh, brings(next, life),
			[]mod{isNext, succeeds(Refresh), invalidBefore, calledToday(1), elsewhere, replaced(overlap)},
		},

		"Ticket": {"It is trusted.", at(), Ticket, Answer{Ticket: wechat.Ticket{Value: "A", Life: life}}, []mod{succeeds(Ticket), func(s *situation) { s.Known.Tickets[jsapi] = ticketA }}},
		"TicketSecond": {
			"Each type has a place.", at(), Ticket + wxCard, Answer{Ticket: wechat.Ticket{Value: "A", Life: life}},
			[]mod{succeeds(Ticket + wxCard), func(s *situation) { s.Known.Tickets[wxCard] = ticketA }},
		},
		"TicketFailed":      {"The ticket stays.", at(ticket(jsapi, time.Minute, time.Hour)), Ticket, fails(48001), []mod{fail(Ticket, fails(48001), 1)}},
		"TicketFailedAgain": {"Failures of one class are in a row.", at(failed(Ticket, -1, time.Minute, 4)), Ticket, fails(-1), []mod{fail(Ticket, fails(-1), 5)}},
		"TicketSuspects":    {"It was the token.", at(), Ticket, fails(40001), []mod{fail(Ticket, fails(40001), 1), suspects}},
		"TicketSuspectsOne": {"A token is a suspect once.", at(suspected(time.Minute)), Ticket, fails(42001), []mod{fail(Ticket, fails(42001), 1)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := *tc.given
			want.Known.Spent.Forced = append([]time.Time(nil), tc.given.Known.Spent.Forced...)
			want.last[tc.kind].at, want.last[tc.kind].token = noon, tc.given.Known.Token.Fingerprint()
			for _, change := range tc.changes {
				change(&want)
			}
			got := tc.given.State
			got.Done(Call{Kind: tc.kind, Mode: got.Mode, Credentials: shop, Token: got.Known.Token, Start: noon}, tc.answer, end)
			opts := cmp.Options{
				cmp.AllowUnexported(State{}, attempt{}, ending{}, record.Record{}),
				cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Failure{}, "Since"),
			}
			if diff := cmp.Diff(want.State, got, opts); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// An unknown errcode that comes back for an hour does not seem to pass by itself. What
// is known to pass may take a day.
func TestUnknownErrcodeLastsAfterAnHour(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		codes  []int64 // one each 20 minutes, the last one at noon
		want   bool
	}{
		"AnHour":  {"Nobody knows that it passes.", []int64{12345, 12345, 12345, 12345}, true},
		"Shorter": {"It may pass.", []int64{12345, 12345, 12345}, false},
		"Another": {"The hour begins with this errcode.", []int64{54321, 12345, 12345, 12345}, false},
		"Known":   {"WeChat is busy, for 12 hours as somebody has seen.", []int64{-1, -1, -1, -1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := at(noToken).State
			for i, code := range tc.codes {
				then := noon.Add(time.Duration(i+1-len(tc.codes)) * 20 * time.Minute)
				s.Done(Call{Kind: Refresh, Mode: s.Mode, Credentials: shop, Start: then}, fails(code), then)
			}
			if got := s.Next(&Wants{}, noon).Cause; got.Kind != CallFailed || got.Lasting != tc.want {
				t.Errorf("%s\ngot %+v, want lasting %t", tc.reason, got, tc.want)
			}
		})
	}
}

// An answer never changes what was spent for another holder of the slice: views of
// the account share it.
func TestDoneKeepsViews(t *testing.T) {
	t.Parallel()
	s := at(forced(time.Hour))
	view := s.State
	s.Done(Call{Kind: Force, Mode: s.Mode, Credentials: shop, Token: s.Known.Token, Start: noon}, brings("98_next", time.Hour), noon)
	if diff := cmp.Diff(budget.Spent{Forced: []time.Time{noon.Add(-time.Hour)}}, view.Known.Spent); diff != "" {
		t.Errorf("the view changed (-want +got):\n%s", diff)
	}
}
