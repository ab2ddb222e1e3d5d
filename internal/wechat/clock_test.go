package wechat_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Each call that is answered shows WeChat's clock, whether it has brought
// something or not, and whatever the endpoint.
func TestAnswersShowTheClock(t *testing.T) {
	const ahead = 90 * time.Second
	calls := map[string]func(*wechat.Client, string) error{
		"Stable":  func(c *wechat.Client, _ string) error { _, err := c.StableToken(t.Context(), creds, false); return err },
		"Classic": func(c *wechat.Client, _ string) error { _, err := c.ClassicToken(t.Context(), creds); return err },
		"Valid":   func(c *wechat.Client, token string) error { _, err := c.Valid(t.Context(), token); return err },
		"Ticket": func(c *wechat.Client, token string) error {
			_, err := c.Ticket(t.Context(), token, "jsapi")
			return err
		},
	}
	for name, call := range calls {
		for _, fails := range []bool{false, true} {
			s, c := fake(t, wechattest.Config{ClockOffset: ahead})
			token, err := c.StableToken(t.Context(), creds, false)
			if err != nil {
				t.Fatal(err)
			}
			if fails {
				s.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 45009})
			}
			var skews []time.Duration
			c.Skew = func(ahead time.Duration) { skews = append(skews, ahead) }
			sent := time.Now()
			err = call(c, token.Value)
			off := time.Since(sent)/2 + 500*time.Millisecond
			if (err != nil) != fails {
				t.Errorf("%s: got %v, want an error: %t", name, err, fails)
			}
			if len(skews) != 1 || (skews[0]+ahead).Abs() > off {
				t.Errorf("%s, fails %t: got %v, want once %v, give or take %v", name, fails, skews, -ahead, off)
			}
		}
	}
}

// The clock is that of the request id, unless that looks like no time.
func TestRequestIDIsTheClock(t *testing.T) {
	const date = "Tue, 08 Aug 2023 08:56:10 GMT"
	at := time.Date(2023, 8, 8, 8, 56, 10, 0, time.UTC)
	cases := map[string]struct {
		reason string
		date   string
		behind string // the errmsg
		want   time.Time
	}{
		"Observed":   {"WeChat's request ids begin with the Unix time.", date, " rid: 64d20329-7783352d-44cb33e5", at.Add(-time.Second)},
		"Comma":      {"Another way to write it.", date, ", rid: 64d20329-7783352d-44cb33e5", at.Add(-time.Second)},
		"NoDate":     {"The id is enough.", "", " rid: 64d20329-7783352d-44cb33e5", at.Add(-time.Second)},
		"NoID":       {"So is the header.", date, "", at},
		"Hint":       {"An older trailer has no time in it.", date, " hint: [64d20329]", at},
		"NoTime":     {"An id of a new form raises no alarm.", date, " rid: 00000001-7783352d-44cb33e5", at},
		"OtherForm":  {"Nor one that cannot be read.", date, " rid: xyz", at},
		"Neither":    {"There is no time then.", "", "", time.Time{}},
		"DateBroken": {"A header that is no date is none.", "yesterday", "", time.Time{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Date"] = nil // else net/http sets it
				if tc.date != "" {
					w.Header().Set("Date", tc.date)
				}
				fmt.Fprintf(w, `{"errcode":40013,"errmsg":"invalid appid%s"}`, tc.behind)
			}))
			t.Cleanup(srv.Close)
			c := wechat.NewClient(srv.URL, 5*time.Second)
			var skews []time.Duration
			c.Skew = func(ahead time.Duration) { skews = append(skews, ahead) }
			if _, err := c.StableToken(t.Context(), creds, false); err == nil || err.Error() != "wechat: errcode 40013: invalid appid" {
				t.Errorf("%s\ngot %v, want an error that is the same each time", tc.reason, err)
			}
			if tc.want.IsZero() {
				if len(skews) > 0 {
					t.Errorf("%s\ngot %v, want nothing", tc.reason, skews)
				}
				return
			}
			if len(skews) != 1 {
				t.Fatalf("%s\ngot %v, want one", tc.reason, skews)
			}
			if got := time.Now().Add(-skews[0]); got.Before(tc.want) || got.Sub(tc.want) > time.Minute {
				t.Errorf("%s\nWeChat's clock: %v, want %v and a little more", tc.reason, got, tc.want)
			}
		})
	}
}
