package tokenserver

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

var fp = record.Fingerprint("token")

// anObject is a WeChatToken of mode Stable that is Ready.
func anObject(modify ...func(*object)) *object {
	o := &object{
		uid: "1", secretName: "shop", appID: "wx1", mode: v1alpha1.ModeStable, tickets: [2]bool{true, false},
		fingerprint: fp, overlap: 5 * time.Minute,
	}
	for _, m := range modify {
		m(o)
	}
	return o
}

// aSecret holds its token, for an hour more.
func aSecret(modify ...func(*secret)) *secret {
	s := &secret{
		owner: "1", ownerName: "shop", appID: "wx1", mode: v1alpha1.ModeStable, obtainedAt: now.Add(-time.Hour),
		token: value{"token", now.Add(time.Hour)},
	}
	s.tickets = &[2]value{{"ticket", now.Add(30 * time.Minute)}}
	for _, m := range modify {
		m(s)
	}
	return s
}

func TestOnlyAValidTokenIsAnswered(t *testing.T) {
	t.Parallel()
	theAnswer := &answer{"token", fp, "wx1", now.Add(time.Hour), time.Minute}
	notReady := func(reason string) func(*object) {
		return func(o *object) { o.ready = &condition{true, reason, "why"} }
	}
	conflict := func(reason, message string) *refusal {
		return &refusal{http.StatusConflict, reason, message, time.Second}
	}
	const pending = "The Secret does not hold it at the moment. The operator writes it: ask again"
	cases := map[string]struct {
		reason string
		what   int
		object *object
		secret *secret
		want   *answer
		refuse *refusal
	}{
		"Valid":       {"All is well.", theToken, anObject(), aSecret(), theAnswer, nil},
		"Ticket":      {"The spec asks for it.", 0, anObject(), aSecret(), &answer{"ticket", record.Fingerprint("ticket"), "wx1", now.Add(30 * time.Minute), time.Minute}, nil},
		"OtherTicket": {"The spec does not ask for it.", 1, anObject(), aSecret(), nil, &refusal{http.StatusNotFound, reasonTicketNotRequested, "spec.tickets of the WeChatToken does not ask for WxCard: add it there", 0}},
		"NoTicket":    {"It is not there yet.", 0, anObject(), aSecret(func(s *secret) { s.tickets = nil }), nil, conflict(reasonTokenPending, pending)},
		"NoSecret":    {"Somebody has deleted it just now.", theToken, anObject(), nil, nil, conflict(reasonTokenPending, pending)},
		"NotReady":    {"There was never a token.", theToken, anObject(notReady("IPNotAllowed")), nil, nil, conflict("IPNotAllowed", "why")},
		"OtherOwner":  {"The Secret is of a WeChatToken of the same name that was deleted.", theToken, anObject(), aSecret(func(s *secret) { s.owner = "0" }), nil, conflict(reasonTokenPending, pending)},
		"OtherAppID":  {"The spec has another appid since.", theToken, anObject(func(o *object) { o.appID = "wx2" }), aSecret(), nil, conflict(reasonTokenPending, pending)},
		"OtherMode":   {"The spec has another mode since.", theToken, anObject(func(o *object) { o.mode = v1alpha1.ModeClassic }), aSecret(), nil, conflict(reasonTokenPending, pending)},
		"Taker":       {"One that takes the token of another names no appid.", theToken, anObject(func(o *object) { o.appID, o.mode = "", "" }), aSecret(), theAnswer, nil},
		"Expired": {"No token is valid past its end, whatever the status says.", theToken, anObject(), aSecret(func(s *secret) { s.token.expiresAt = now }), nil,
			conflict(v1alpha1.ReasonTokenExpired, "The Secret holds an expired one, and the operator fetches the next: ask again")},
		"FromTheFuture": {"A clock was wrong when it was written.", theToken, anObject(), aSecret(func(s *secret) { s.obtainedAt = now.Add(time.Hour) }), nil,
			conflict(v1alpha1.ReasonTokenExpired, "The Secret holds an expired one, and the operator fetches the next: ask again")},
		"Revoked":         {"WeChat has called this one invalid.", theToken, anObject(notReady("TokenRevoked")), aSecret(), nil, conflict("TokenRevoked", "why")},
		"RevokedBefore":   {"The status tells of the token before this one.", theToken, anObject(notReady("TokenRevoked"), func(o *object) { o.fingerprint = "f0" }), aSecret(), theAnswer, nil},
		"TicketOfRevoked": {"A ticket is valid by itself.", 0, anObject(notReady("TokenRevoked")), aSecret(), &answer{"ticket", record.Fingerprint("ticket"), "wx1", now.Add(30 * time.Minute), time.Minute}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, refused := answerTo(tc.what, tc.object, tc.secret, now)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("%s\nanswer (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.refuse, refused, cmp.AllowUnexported(refusal{})); diff != "" {
				t.Errorf("%s\nrefusal (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNobodyKeepsATokenPastTheOverlap(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason              string
		overlap, left, want time.Duration
	}{
		"Usual":      {"A fifth of the 5 minutes for which two work.", 5 * time.Minute, time.Hour, time.Minute},
		"Classic":    {"Longer than WeChat lets two work: no longer than usual.", 10 * time.Minute, time.Hour, time.Minute},
		"Compressed": {"A fifth, in whole seconds.", 12 * time.Second, time.Minute, 2 * time.Second},
		"NearTheEnd": {"A second for the way.", 5 * time.Minute, 30 * time.Second, 29 * time.Second},
		"LastSecond": {"It may be used now, and no later.", 5 * time.Minute, 500 * time.Millisecond, 0},
		"Unknown":    {"The status has yet to say when the next one is due.", 0, time.Hour, 0},
		"Overdue":    {"Due after its end: nothing is known.", -time.Minute, time.Hour, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := maxAge(tc.overlap, tc.left); got != tc.want {
				t.Errorf("%s\ngot %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}
