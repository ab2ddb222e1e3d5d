package controllers

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

func wanting(types ...v1alpha1.TicketType) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Tickets = types }
}

func bothTickets(wt *v1alpha1.WeChatToken) {
	wanting(v1alpha1.TicketJSAPI, v1alpha1.TicketWxCard)(wt)
}

// A ticket is trusted for 30 minutes after the last moment at which WeChat is
// known to give it.
func TestTrustInATicket(t *testing.T) {
	const minute = time.Minute
	at := noon.Add
	// A ticket that was seen first at noon, polled last 50 minutes later.
	known := poll{
		ticket: ticket{value: "A", appID: testAppID, seen: at(0), life: 2 * time.Hour, end: at(60 * minute)},
		before: "Z", at: at(50 * minute), failure: &failure{},
	}
	with := func(mod func(*poll)) poll {
		p := known
		mod(&p)
		return p
	}
	cases := map[string]struct {
		reason   string
		known    poll
		value    string
		life     time.Duration
		start    time.Time
		wantSeen time.Time
		wantEnd  time.Time
		keeps    bool // the ticket that was known
	}{
		"First": {
			reason: "How old it is, nobody knows.",
			value:  "A", life: 2 * time.Hour, start: at(0),
			wantSeen: at(0), wantEnd: at(30 * minute),
		},
		"FirstOfFractions": {
			reason: "The Secret keeps whole seconds.",
			value:  "A", life: 2 * time.Hour, start: at(700 * time.Millisecond),
			wantSeen: at(0), wantEnd: at(30 * minute),
		},
		"Successor": {
			reason: "It is younger than the poll before.",
			known:  known, value: "B", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(60 * minute), wantEnd: at(50*minute + 2*time.Hour + 30*minute),
		},
		"SuccessorAfterAGap": {
			reason: "It may be as old as the gap.",
			known:  known, value: "B", life: 2 * time.Hour, start: at(150 * minute),
			wantSeen: at(150 * minute), wantEnd: at(50*minute + 2*time.Hour + 30*minute),
		},
		"SuccessorAfterALongGap": {
			reason: "It may be about to be replaced, and works as long as any.",
			known:  known, value: "B", life: 2 * time.Hour, start: at(10 * time.Hour),
			wantSeen: at(10 * time.Hour), wantEnd: at(10*time.Hour + 30*minute),
		},
		"SameWithTimeLeft": {
			reason: "Nothing is written.",
			known:  with(func(p *poll) { p.ticket.end = at(76 * minute) }), value: "A", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(0), wantEnd: at(76 * minute), keeps: true,
		},
		"SameNearItsEnd": {
			reason: "The poll has confirmed it.",
			known:  with(func(p *poll) { p.ticket.end = at(75 * minute) }), value: "A", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(0), wantEnd: at(90 * minute), keeps: true,
		},
		"SameAfterItsEnd": {
			reason: "WeChat still gives it.",
			known:  known, value: "A", life: 2 * time.Hour, start: at(5 * time.Hour),
			wantSeen: at(0), wantEnd: at(5*time.Hour + 30*minute), keeps: true,
		},
		"PredecessorAgain": {
			reason: "One server of WeChat's is behind: the old one is not young again.",
			known:  known, value: "Z", life: 2 * time.Hour, start: at(55 * minute),
			wantSeen: at(0), wantEnd: at(60 * minute), keeps: true,
		},
		"PredecessorForGood": {
			reason: "WeChat gives no other one any more.",
			known:  known, value: "Z", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(60 * minute), wantEnd: at(50*minute + 2*time.Hour + 30*minute),
		},
		"LifeTooLong": {
			reason: "No ticket lives for a month.",
			known:  known, value: "B", life: 30 * 24 * time.Hour, start: at(60 * minute),
			wantSeen: at(60 * minute), wantEnd: at(50*minute + 2*time.Hour + 30*minute),
		},
		"Compressed": {
			reason: "All follows from the life.",
			known:  known, value: "B", life: 40 * time.Second, start: at(50*minute + 3*time.Second),
			wantSeen: at(50*minute + 3*time.Second), wantEnd: at(50*minute + 49*time.Second),
		},
		"SeenInTheFuture": {
			reason: "A clock was wrong: nothing is known of the ticket.",
			known:  with(func(p *poll) { p.ticket.seen, p.ticket.end = at(9*time.Hour), at(11*time.Hour) }), value: "A", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(60 * minute), wantEnd: at(90 * minute),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.known
			got.brought(testAppID, wechat.Ticket{Value: tc.value, Life: tc.life}, tc.start)
			want := ticket{value: tc.value, appID: testAppID, seen: tc.wantSeen, life: min(tc.life, 2*time.Hour), end: tc.wantEnd}
			if tc.keeps {
				want.value, want.life = tc.known.ticket.value, tc.known.ticket.life
			}
			if diff := cmp.Diff(want, got.ticket, cmp.AllowUnexported(ticket{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if got.failure != nil || !got.at.Equal(tc.start.Truncate(time.Second)) {
				t.Errorf("%s\nthe poll at %s is noted at %s, with failure %v", tc.reason, tc.start, got.at, got.failure)
			}
		})
	}
}

// Each slot of 10 minutes has one poll, counted from when the ticket was first
// seen, whatever the process knows beside that.
func TestPollsLieOnAGrid(t *testing.T) {
	tk := ticket{value: "A", seen: noon, life: 2 * time.Hour}
	bit := offset("uid", time.Minute)
	cases := map[string]struct {
		last time.Duration // after noon
		want time.Duration
	}{
		"JustSeen":           {0, 10 * time.Minute},
		"PolledInItsSlot":    {10*time.Minute + bit, 20 * time.Minute},
		"PolledBeforeTheBit": {10 * time.Minute, 20 * time.Minute},
		"PolledLate":         {19*time.Minute + 59*time.Second, 20 * time.Minute},
		"StartedAgain":       {84 * time.Minute, 90 * time.Minute},
		"ClockSetBack":       {-time.Hour, 10 * time.Minute},
	}
	for name, tc := range cases {
		if got := tk.nextPoll("uid", noon.Add(tc.last)); !got.Equal(noon.Add(tc.want + bit)) {
			t.Errorf("%s: got %s, want %s", name, got.Sub(noon), tc.want+bit)
		}
	}
	if bit <= 0 || bit >= time.Minute {
		t.Errorf("the bit is %s", bit)
	}

	// Objects with other bits do not add polls.
	uids := []types.UID{"a", "b", "c", "d"}
	last, polls := noon, 0
	for now := noon; now.Before(noon.Add(2 * time.Hour)); now = now.Add(time.Second) {
		for _, uid := range uids {
			if !now.Before(tk.nextPoll(uid, last)) {
				last, polls = now, polls+1
			}
		}
	}
	if polls != 11 {
		t.Errorf("%d polls in 2 hours, want 11", polls)
	}
	for life, want := range map[time.Duration]time.Duration{40 * time.Second: 3 * time.Second, time.Second: time.Second, 2 * time.Hour: 10 * time.Minute} {
		if got := (ticket{value: "A", life: life}).every(); got != want {
			t.Errorf("a life of %s is polled every %s, want %s", life, got, want)
		}
	}
}

// What is wrong says how long to wait.
func TestWaitsForATicket(t *testing.T) {
	has := ticket{value: "A", life: 2 * time.Hour}
	cases := map[string]struct {
		reason string
		code   int64
		count  int
		ticket ticket
		want   time.Duration
	}{
		"First":        {"It may pass at once, and costs a quota that nobody knows.", -1, 1, has, 10 * time.Second},
		"FirstOfAll":   {"The same without a ticket.", -1, 1, ticket{}, 10 * time.Second},
		"Third":        {"Each further one waits for twice as long.", 0, 3, has, 40 * time.Second},
		"Many":         {"An outage costs as many calls as none.", -1, 30, has, 10 * time.Minute},
		"Compressed":   {"Waits follow from the life.", -1, 30, ticket{value: "A", life: 40 * time.Second}, 3 * time.Second},
		"DeadToken":    {"The token is asked about meanwhile.", 40001, 1, has, 10 * time.Second},
		"Unauthorized": {"Somebody must have the account verified.", 48001, 1, has, time.Hour},
		"UserLimited":  {"The same in other words.", 50001, 9, has, time.Hour},
		"DayQuota":     {"As for the token.", 45009, 1, has, time.Hour},
		"MinuteQuota":  {"As for the token.", 45011, 1, has, 30 * time.Second},
		"NotAllowed":   {"As for the token.", 40164, 1, has, 5 * time.Minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := &failure{err: &wechat.Error{Code: tc.code}, count: tc.count, at: noon.Add(30 * time.Second)}
			if got := ticketWait(f, tc.ticket); got != tc.want {
				t.Errorf("%s\ngot %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

// A live token of the account, and a ticket that is due for a poll.
func dueForAPoll() observed {
	wt := weChatToken(wanting(v1alpha1.TicketJSAPI))
	wt.UID, wt.Generation = "uid", 1
	token := &issued{value: "98", fingerprint: fingerprint("98"), account: "id", appID: testAppID, mode: v1alpha1.ModeStable, obtained: noon.Add(-time.Hour), expires: noon.Add(time.Hour)}
	token.tickets[0] = ticket{value: "A", appID: testAppID, seen: noon.Add(-11 * time.Minute), life: 2 * time.Hour, end: noon.Add(time.Hour)}
	o := observed{wt: wt, account: "id", creds: &wechat.Credentials{AppID: testAppID}, inSecret: token}
	o.token, o.askedAt, o.settled = token, token.obtained, true
	o.polls[0] = poll{ticket: token.tickets[0], at: token.tickets[0].seen}
	o.polled = [2]int64{1, 1}
	o.tried, o.questioned = attemptOf(wt), attemptOf(wt)
	want := render(wt, token)
	o.secret = &corev1.Secret{Data: want.Data}
	o.secret.Annotations, o.secret.Labels = want.Annotations, want.Labels
	return o
}

// A call for a ticket stands behind all others, and needs a live token.
func TestTicketCallStandsBehind(t *testing.T) {
	type asked struct {
		Ticket      v1alpha1.TicketType
		Check, Made bool
	}
	ticketCall := asked{Ticket: v1alpha1.TicketJSAPI, Made: true}
	cases := map[string]struct {
		reason string
		mod    func(*observed)
		want   asked
	}{
		"Due":       {"Nothing else is wanted.", func(*observed) {}, ticketCall},
		"NotDue":    {"It was polled in this slot.", func(o *observed) { o.polls[0].at = noon.Add(-30 * time.Second) }, asked{}},
		"Started":   {"A start is no reason to ask.", func(o *observed) { o.since = noon }, asked{}},
		"NotWanted": {"The spec asks for none.", func(o *observed) { o.wt.Spec.Tickets = nil }, asked{}},
		"None": {"There is no ticket yet.", func(o *observed) {
			o.inSecret.tickets, o.polls[0], o.since = tickets{}, poll{}, noon
		}, ticketCall},
		"Untrusted": {"It is past its end.", func(o *observed) {
			o.inSecret.tickets[0].end, o.polls[0], o.since = noon.Add(-time.Minute), poll{}, noon
		}, ticketCall},
		"TokenDue":  {"The token comes first.", func(o *observed) { o.inSecret.expires = noon.Add(time.Minute) }, asked{Made: true}},
		"Forced":    {"What a person asks for comes first.", func(o *observed) { bumped("1")(o.wt) }, asked{Made: true}},
		"Reported":  {"A report comes first.", func(o *observed) { reporting(o.inSecret.fingerprint)(o.wt) }, asked{Made: true, Check: true}},
		"FoundDead": {"A dead token brings no ticket.", func(o *observed) { o.checked = checked{fingerprint: o.inSecret.fingerprint, at: noon, dead: true} }, asked{Made: true}},
		"DeadAndFailing": {"A dead token brings no ticket, also while no other is to be had.", func(o *observed) {
			o.inSecret.expires = noon.Add(-time.Minute)
			o.failure = &failure{err: &wechat.Error{Code: 45009}, at: noon, count: 1}
		}, asked{}},
		"Lost": {"The token may be dead.", func(o *observed) {
			o.lost, o.failure = true, &failure{err: &wechat.Error{Code: 45009}, at: noon, count: 1}
		}, asked{}},
		"OtherAccount": {"The token is of another AppSecret.", func(o *observed) {
			o.account, o.failure = "other", &failure{err: &wechat.Error{Code: 40125}, at: noon, count: 1}
		}, asked{}},
		"FailingToken":  {"The failure of a forced call holds up no ticket.", func(o *observed) { o.failure = &failure{forced: true, at: noon, count: 1} }, ticketCall},
		"Calling":       {"One call at a time.", func(o *observed) { o.calling = true }, asked{}},
		"Suspended":     {"Nothing is asked.", func(o *observed) { suspendedSpec(o.wt) }, asked{}},
		"SomebodyElses": {"Nothing is asked.", func(o *observed) { o.holder = "is somebody else's" }, asked{}},
		"Failed":        {"It waits.", func(o *observed) { o.polls[0].failure = ticketFailure(48001) }, asked{}},
		"FailedAndChanged": {"A change of the spec ends the wait.", func(o *observed) {
			o.polls[0].failure, o.wt.Generation = ticketFailure(48001), 2
		}, ticketCall},
		"Doubted": {"The token is asked about first.", func(o *observed) {
			o.polls[0].failure, o.polls[0].with = ticketFailure(40001), o.inSecret.fingerprint
			o.doubted, o.doubtedAt = o.inSecret.fingerprint, noon
		}, asked{Made: true, Check: true}},
		"DoubtedOnce": {"WeChat has said that the token lives.", func(o *observed) {
			o.polls[0].failure, o.polls[0].with = ticketFailure(40001), o.inSecret.fingerprint
			o.doubted, o.doubtedAt = o.inSecret.fingerprint, noon.Add(-time.Minute)
			o.checked = checked{fingerprint: o.inSecret.fingerprint, at: noon.Add(-time.Minute)}
		}, asked{}},
		"AnotherToken": {"The failure was the dead token's.", func(o *observed) {
			o.polls[0].failure, o.polls[0].with = ticketFailure(40001), "another"
			o.doubted, o.doubtedAt = "another", noon
		}, ticketCall},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := dueForAPoll()
			tc.mod(&o)
			p := decide(o.judged(testWindow), testWindow, noon)
			var got asked
			if p.call != nil {
				got = asked{p.call.ticket, p.call.check, true}
			}
			if got != tc.want {
				t.Errorf("%s\ngot %+v, want %+v", tc.reason, got, tc.want)
			}
		})
	}
}

func ticketFailure(code int64) *failure {
	return &failure{err: &wechat.Error{Code: code, Message: "no"}, at: noon, count: 1}
}

// P3: a Secret without tickets is what it was before there were any, byte by
// byte. An upgrade of the operator costs neither a call nor a write.
func TestSecretWithoutTicketsIsAsBefore(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	in := &issued{
		value: "token", fingerprint: fingerprint("token"), account: "acc", appID: testAppID, mode: v1alpha1.ModeStable, obtained: at, expires: at.Add(2 * time.Hour),
		handled: "1", forced: []time.Time{at}, classic: dayCount{"2026-11-22", 3},
	}
	got := render(weChatToken(writing("x")), in)
	want := map[string]string{
		"wechattoken.io/account":            "acc",
		"wechattoken.io/appid":              "wx0123456789abcdef",
		"wechattoken.io/classic-calls":      "2026-11-22 3",
		"wechattoken.io/expires-at":         "2026-11-22T12:00:00Z",
		"wechattoken.io/forced-calls":       "1795341600",
		"wechattoken.io/handled-dead-token": "",
		"wechattoken.io/handled-refresh-at": "1",
		"wechattoken.io/layout":             "dc3257f42b1d73b0",
		"wechattoken.io/mode":               "Stable",
		"wechattoken.io/obtained-at":        "2026-11-22T10:00:00Z",
		"wechattoken.io/seal":               "41bc2d407d914b21",
		"wechattoken.io/token-fingerprint":  "3c469e9d6c5875d3",
	}
	if diff := cmp.Diff(want, got.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"access_token", "appid", "expires_at", "obtained_at"}, slices.Sorted(maps.Keys(got.Data))); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// What is asked for, and under which keys, changes the layout; the order in
// which it is asked for does not.
func TestLayoutKnowsTickets(t *testing.T) {
	seen := map[string]string{}
	for name, wt := range map[string]*v1alpha1.WeChatToken{
		"none": weChatToken(), "jsapi": weChatToken(wanting(v1alpha1.TicketJSAPI)), "card": weChatToken(wanting(v1alpha1.TicketWxCard)), "both": weChatToken(bothTickets),
		"renamed": weChatToken(bothTickets, func(wt *v1alpha1.WeChatToken) {
			wt.Spec.Secret = &v1alpha1.TokenSecret{Keys: &v1alpha1.SecretKeys{JSAPITicket: "x"}}
		}),
	} {
		if other := seen[layout(wt)]; other != "" {
			t.Errorf("%s and %s look the same", name, other)
		}
		seen[layout(wt)] = name
	}
	if layout(weChatToken(bothTickets)) != layout(weChatToken(wanting(v1alpha1.TicketWxCard, v1alpha1.TicketJSAPI))) {
		t.Error("the order counts")
	}
}

// Whatever stands on a Secret: a ticket that is read back is what was written,
// and an edited one is none. A token whose seal is broken takes no ticket along.
func FuzzTicketsIn(f *testing.F) {
	f.Add("ticket", testAppID, int64(1_900_000_000), int64(7200), int32(7200), "", "")
	f.Add("t", "a b", int64(-1), int64(0), int32(-1), "wechattoken.io/jsapi-ticket", "x")
	f.Add("t", "", int64(1<<33), int64(40), int32(40), annotationSeal, "x")
	f.Fuzz(func(t *testing.T, value, appID string, seen, trusted int64, life int32, edited, to string) {
		in := ticket{value: value, appID: appID, seen: time.Unix(seen, 0).UTC(), end: time.Unix(seen, 0).Add(time.Duration(trusted) * time.Second).UTC(), life: time.Duration(life) * time.Second}
		holder := &issued{value: "98_token", fingerprint: fingerprint("98_token"), appID: appID, obtained: noon, expires: noon}
		holder.tickets[0] = in
		want := render(weChatToken(wanting(v1alpha1.TicketJSAPI)), holder)
		s := &corev1.Secret{Data: want.Data}
		s.Annotations = want.Annotations
		got := ticketsIn(s)
		if got[1] != (ticket{}) {
			t.Errorf("a ticket that nobody wrote: %+v", got[1])
		}
		if got[0] == (ticket{}) {
			written := in.value != "" && !slices.Contains([]byte(appID), ' ') && in.seen.Year() >= 0 && in.seen.Year() <= 9999 && in.end.Year() >= 0 && in.end.Year() <= 9999
			if written {
				t.Error("what was written cannot be read")
			}
			return
		}
		if diff := cmp.Diff(in, got[0], cmp.AllowUnexported(ticket{})); diff != "" {
			t.Errorf("read back (-written +read):\n%s", diff)
		}

		// The record of one type is none of the other.
		s.Annotations[ticketKinds[1].annotation] = s.Annotations[ticketKinds[0].annotation]
		if ticketsIn(s)[1] != (ticket{}) {
			t.Error("the record of one type is taken for the other's")
		}
		if before, there := s.Annotations[edited]; there && before != to && edited != ticketKinds[1].annotation {
			s.Annotations[edited] = to
			if got := ticketsIn(s)[0]; (got == ticket{}) != (edited == ticketKinds[0].annotation) {
				t.Errorf("%s was edited, and the ticket is %+v", edited, got)
			}
		}
		s.Data["jsapi_ticket"] = append([]byte("x"), s.Data["jsapi_ticket"]...)
		if got := ticketsIn(s)[0]; got.value == "x"+value {
			t.Error("an edited ticket is trusted")
		}
	})
}
