package wechat_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

const canaryTicket = "HoagFKDcsGMVCIY2vOjf9canary-ticket"

// The ticket of each kind arrives, from the endpoint that has it.
func TestTicketsArrive(t *testing.T) {
	s, c := fake(t, wechattest.Config{})
	token := stableToken(t, s, c)
	seen := map[string]bool{}
	for _, kind := range []string{"jsapi", "wx_card"} {
		got, err := c.Ticket(t.Context(), token, kind)
		if err != nil || !s.TicketValid(got.Value) || got.Life != 7200*time.Second || seen[got.Value] {
			t.Errorf("%s: got a ticket of %s, %v", kind, got.Life, err)
		}
		seen[got.Value] = true
	}
}

// P2: what is no ticket is not taken for one.
func TestOnlyATicketIsTakenForOne(t *testing.T) {
	const trailer = " rid: 67b81456-7783352d-44cb33e5"
	good := wechat.Ticket{Value: canaryTicket, Life: 7200 * time.Second}
	cases := map[string]struct {
		reason string
		status int
		body   string
		want   wechat.Ticket
		failed *wechat.Error
		bad    bool // the token
	}{
		"Good":      {"", 200, `{"errcode":0,"errmsg":"ok","ticket":"` + canaryTicket + `","expires_in":7200}`, good, nil, false},
		"NoErrcode": {"", 200, `{"ticket":"` + canaryTicket + `","expires_in":7200}`, good, nil, false},
		"ErrorWithTicket": {"An errcode counts, whatever else is there, and the ticket is not shown.", 200, `{"errcode":-1,"errmsg":"keep ` + canaryTicket + trailer + `","ticket":"` + canaryTicket + `","expires_in":7200}`, wechat.Ticket{},
			&wechat.Error{Code: -1, HTTPStatus: 200, Message: "keep [redacted]"}, false},
		"NotLatest": {"The token is invalid, by this answer.", 200, `{"errcode":40001,"errmsg":"invalid credential` + trailer + `"}`, wechat.Ticket{},
			&wechat.Error{Code: 40001, HTTPStatus: 200, Message: "invalid credential"}, true},
		"Invalid": {"", 200, `{"errcode":40014,"errmsg":"invalid access_token"}`, wechat.Ticket{},
			&wechat.Error{Code: 40014, HTTPStatus: 200, Message: "invalid access_token"}, true},
		"Expired": {"", 200, `{"errcode":42001,"errmsg":"access_token expired"}`, wechat.Ticket{},
			&wechat.Error{Code: 42001, HTTPStatus: 200, Message: "access_token expired"}, true},
		"Unauthorized": {"", 200, `{"errcode":48001,"errmsg":"api unauthorized` + trailer + `"}`, wechat.Ticket{},
			&wechat.Error{Code: 48001, HTTPStatus: 200, Message: "api unauthorized"}, false},
		"EchoOfURL": {"", 200, `{"errcode":-1,"errmsg":"bad url ?access_token=98_canary%2Btoken%2Fcanary%3Dtoken"}`, wechat.Ticket{},
			&wechat.Error{Code: -1, HTTPStatus: 200, Message: "bad url ?access_token=[redacted]"}, false},
		"Empty":      {"", 200, `{"errcode":0,"errmsg":"ok","ticket":"","expires_in":7200}`, wechat.Ticket{}, unusable(200, "the answer has no usable ticket"), false},
		"Null":       {"", 200, `{"errcode":0,"ticket":null,"expires_in":7200}`, wechat.Ticket{}, unusable(200, "the answer has no usable ticket"), false},
		"LineFeed":   {"", 200, `{"errcode":0,"ticket":"a\nb","expires_in":7200}`, wechat.Ticket{}, unusable(200, "the answer has no usable ticket"), false},
		"Nothing":    {"", 200, `{}`, wechat.Ticket{}, unusable(200, "the answer has no usable ticket"), false},
		"Token":      {"Another endpoint answers.", 200, `{"access_token":"98_x","expires_in":7200}`, wechat.Ticket{}, unusable(200, "the answer has no usable ticket"), false},
		"NoLife":     {"", 200, `{"errcode":0,"ticket":"` + canaryTicket + `"}`, wechat.Ticket{}, unusable(200, "the answer has no usable expires_in"), false},
		"ZeroLife":   {"", 200, `{"ticket":"` + canaryTicket + `","expires_in":0}`, wechat.Ticket{}, unusable(200, "the answer has no usable expires_in"), false},
		"PastLife":   {"", 200, `{"ticket":"` + canaryTicket + `","expires_in":-1}`, wechat.Ticket{}, unusable(200, "the answer has no usable expires_in"), false},
		"LongLife":   {"", 200, `{"ticket":"` + canaryTicket + `","expires_in":2592001}`, wechat.Ticket{}, unusable(200, "the answer has no usable expires_in"), false},
		"GoodBut500": {"A server in trouble is not trusted.", 500, `{"ticket":"` + canaryTicket + `","expires_in":7200}`, wechat.Ticket{}, unusable(500, "HTTP status 500"), false},
		"BadGateway": {"", 502, `<html>` + canaryTicket, wechat.Ticket{}, unusable(502, "the answer (HTTP status 502) is not JSON as WeChat writes it"), false},
		"Huge":       {"", 200, `{"ticket":"` + strings.Repeat("1", 64<<10) + `","expires_in":7200}`, wechat.Ticket{}, unusable(200, "the answer is larger than 64 KiB"), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := answering(t, tc.status, tc.body).Ticket(t.Context(), canaryToken, "jsapi")
			failed, _ := errors.AsType[*wechat.Error](err)
			if got != tc.want {
				t.Errorf("%s\ngot %+v, want %+v", tc.reason, got, tc.want)
			}
			if diff := cmp.Diff(tc.failed, failed, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.IgnoreFields(wechat.Error{}, "RID")); diff != "" {
				t.Errorf("%s\nerror (-want +got):\n%s", tc.reason, diff)
			}
			if failed != nil && failed.InvalidToken() != tc.bad {
				t.Errorf("%s\ninvalid token: got %t", tc.reason, failed.InvalidToken())
			}
		})
	}
}

// Whatever goes wrong with a call for a ticket, its error shows neither the
// token nor the ticket.
func TestTicketCallShowsNoSecret(t *testing.T) {
	for _, kind := range []wechattest.FaultKind{
		wechattest.FaultEcho, wechattest.FaultReset, wechattest.FaultHang, wechattest.FaultTruncated, wechattest.FaultNull, wechattest.FaultEmpty,
		wechattest.FaultLost, wechattest.FaultGarbage, wechattest.FaultStatus, wechattest.FaultErrcode, wechattest.FaultHuge,
	} {
		t.Run(string(kind), func(t *testing.T) {
			s, _ := fake(t, wechattest.Config{})
			s.SetFault(wechattest.Fault{Kind: kind, Code: -1, Message: "no such token " + canaryToken})
			srv := httptest.NewServer(s)
			t.Cleanup(srv.Close)
			_, err := wechat.NewClient(srv.URL, 200*time.Millisecond).Ticket(t.Context(), canaryToken, "jsapi")
			if err == nil {
				t.Fatal("got no error")
			}
			for _, form := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
				if strings.Contains(form, "canary") || strings.Contains(form, "access_token=") || strings.Contains(form, "AAAA") {
					t.Errorf("the error shows the token: %s", form)
				}
			}
		})
	}
	if _, err := wechat.NewClient("http://a b", time.Second).Ticket(t.Context(), canaryToken, "jsapi"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v, want an error without the token", err)
	}
}

// A ticket is asked for as WeChat documents it.
func TestTicketRequest(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Method + " " + r.URL.RequestURI() }))
	t.Cleanup(srv.Close)
	_, _ = wechat.NewClient(srv.URL, 5*time.Second).Ticket(t.Context(), "a+b", "wx_card")
	if want := "GET /cgi-bin/ticket/getticket?access_token=a%2Bb&type=wx_card"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
