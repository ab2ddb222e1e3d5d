package wechattest_test

import (
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Everybody gets the same ticket until the next full two hours, each time with two
// hours to go.
func TestTicketStaysForItsPeriodAndExpiresInLies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{})
		time.Sleep(30 * time.Minute)
		stable := c.stable().AccessToken
		first := c.ticket(stable, "jsapi")
		if diff := cmp.Diff(answer{Errmsg: "ok", Ticket: first.Ticket, ExpiresIn: 7200, status: 200, contentType: first.contentType, date: first.date, raw: first.raw}, first, cmp.AllowUnexported(answer{})); diff != "" || first.Ticket == "" {
			t.Errorf("first (-want +got):\n%s", diff)
		}
		c.forced()
		time.Sleep(89*time.Minute + 59*time.Second)
		again := c.ticket(c.stable().AccessToken, "jsapi")
		if again.Ticket != first.Ticket || again.ExpiresIn != 7200 {
			t.Errorf("at 1:59:59 another one, or expires_in %d", again.ExpiresIn)
		}
		if card := c.ticket(c.stable().AccessToken, "wx_card"); card.Ticket == first.Ticket || card.Ticket == "" {
			t.Error("both types have one ticket")
		}

		time.Sleep(time.Second)
		next := c.ticket(c.stable().AccessToken, "jsapi")
		if next.Ticket == first.Ticket || next.ExpiresIn != 7200 {
			t.Errorf("at 2:00:00 the same one, or expires_in %d", next.ExpiresIn)
		}
		time.Sleep(time.Hour - time.Second)
		if !s.TicketValid(first.Ticket) || !s.TicketValid(next.Ticket) {
			t.Error("within the overlap one of them is invalid")
		}
		time.Sleep(time.Second)
		if s.TicketValid(first.Ticket) || !s.TicketValid(next.Ticket) {
			t.Error("after the overlap the old one is valid, or the new one is not")
		}
		if got := s.Counts(appID).Ticket; got.Calls != 4 || got.Rotations != 3 || got.OK != 4 {
			t.Errorf("counted %+v", got)
		}
	})
}

// Tickets in compressed time.
func TestTicketLifeIsConfigurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{TicketLife: 40 * time.Second, TicketOverlap: -1})
		token := c.stable().AccessToken
		first := c.ticket(token, "jsapi")
		time.Sleep(40 * time.Second)
		next := c.ticket(token, "jsapi")
		if first.ExpiresIn != 40 || next.Ticket == first.Ticket || s.TicketValid(first.Ticket) || !s.TicketValid(next.Ticket) {
			t.Errorf("expires_in %d, the same: %t, old one valid: %t", first.ExpiresIn, next.Ticket == first.Ticket, s.TicketValid(first.Ticket))
		}
	})
}

func TestTicketCallIsRefused(t *testing.T) {
	const notLatest = "invalid credential, access_token is invalid or not latest rid"
	cases := map[string]struct {
		reason string
		cfg    wechattest.Config
		call   func(*wechattest.Server, client) answer
		want   failure
	}{
		"NoToken": {
			reason: "A call needs a token.",
			call:   func(_ *wechattest.Server, c client) answer { return c.ticket("", "jsapi") },
			want:   failure{200, 41001, "access_token missing rid"},
		},
		"UnknownToken": {
			reason: "Nobody has made this token.",
			call:   func(_ *wechattest.Server, c client) answer { return c.ticket("98_never", "jsapi") },
			want:   failure{200, 40001, notLatest},
		},
		"RevokedToken": {
			reason: "The token was revoked.",
			call: func(s *wechattest.Server, c client) answer {
				token := c.stable().AccessToken
				s.Revoke(token)
				return c.ticket(token, "jsapi")
			},
			want: failure{200, 40001, notLatest},
		},
		"ExpiredToken": {
			reason: "The token is at its end.",
			call: func(_ *wechattest.Server, c client) answer {
				token := c.stable().AccessToken
				time.Sleep(2 * time.Hour)
				return c.ticket(token, "jsapi")
			},
			want: failure{200, 42001, "access_token expired rid"},
		},
		"WrongType": {
			reason: "There is no such ticket.",
			call:   func(_ *wechattest.Server, c client) answer { return c.ticket(c.stable().AccessToken, "x") },
			want:   failure{200, 40097, "invalid args rid"},
		},
		"Quota": {
			reason: "Both types share a quota.",
			cfg:    wechattest.Config{TicketsPerDay: 1},
			call: func(_ *wechattest.Server, c client) answer {
				token := c.stable().AccessToken
				c.ticket(token, "jsapi")
				return c.ticket(token, "wx_card")
			},
			want: failure{200, 45009, "reach max api daily quota limit rid"},
		},
		"Unauthorized": {
			reason: "Not each account has the JS-SDK.",
			call: func(s *wechattest.Server, c client) answer {
				s.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Endpoint: wechattest.Ticket, Code: 48001})
				return c.ticket(c.stable().AccessToken, "jsapi")
			},
			want: failure{200, 48001, "api unauthorized rid"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := inMemory(t, tc.cfg)
				got := tc.call(s, c)
				if diff := cmp.Diff(tc.want, got.failure()); diff != "" || got.Ticket != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
			})
		})
	}
}

// The faults that spoil a success spoil that of a ticket.
func TestTicketFaults(t *testing.T) {
	cases := map[string]struct {
		fault wechattest.Fault
		ok    func(answer) bool
	}{
		"Empty":  {wechattest.Fault{Kind: wechattest.FaultEmpty}, func(a answer) bool { return a.Errmsg == "ok" && a.Ticket == "" && a.ExpiresIn == 7200 }},
		"Huge":   {wechattest.Fault{Kind: wechattest.FaultHuge, Bytes: 1 << 17}, func(a answer) bool { return len(a.Ticket) == 1<<17 }},
		"BadTTL": {wechattest.Fault{Kind: wechattest.FaultBadTTL, ExpiresIn: -1}, func(a answer) bool { return a.Ticket != "" && a.ExpiresIn == -1 }},
		"Echo":   {wechattest.Fault{Kind: wechattest.FaultEcho}, func(a answer) bool { return a.status == 502 && strings.Contains(a.raw, "access_token=") }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := inMemory(t, wechattest.Config{})
			token := c.stable().AccessToken
			tc.fault.AppID, tc.fault.Endpoint = appID, wechattest.Ticket
			s.SetFault(tc.fault)
			if got := c.ticket(token, "jsapi"); !tc.ok(got) {
				t.Errorf("got %.200s", got.raw)
			}
			if c.business(token).Errcode != 0 {
				t.Error("a business call fails too")
			}
		})
	}
}

// The journal has what was asked for, unless it is something in the wrong place.
func TestTicketCallsAreJournaled(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	token := c.stable().AccessToken
	c.ticket(token, "wx_card")
	c.ticket(token, url.QueryEscape(token))
	calls := s.Calls()[1:]
	if len(calls) != 2 || calls[0].Ticket != wechattest.WxCard || calls[0].AppID != appID || calls[1].Ticket != "" || calls[1].Errcode != 40097 {
		t.Errorf("journal %+v", calls)
	}
}
