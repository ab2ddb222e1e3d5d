package wechattest_test

import (
	"regexp"
	"testing"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestConfigCheck(t *testing.T) {
	cases := map[string]struct {
		reason string
		cfg    wechattest.Config
		ok     bool
	}{
		"Zero":       {reason: "WeChat's values are possible.", ok: true},
		"Defaults":   {reason: "They are the zero value's.", cfg: wechattest.Defaults(), ok: true},
		"Compressed": {reason: "Time can be compressed.", cfg: wechattest.Config{Life: 40 * time.Second, Window: 10 * time.Second}, ok: true},
		"NoWindow":   {reason: "There need not be a window.", cfg: wechattest.Config{Life: time.Second, Window: -1}, ok: true},
		"Fraction":   {reason: "expires_in has no fractions.", cfg: wechattest.Config{Life: 1500 * time.Millisecond, Window: -1}},
		"NoLife":     {reason: "A token has a life.", cfg: wechattest.Config{Life: -1, Window: -1}},
		"AllWindow":  {reason: "A window as long as the life would make every call a new token.", cfg: wechattest.Config{Life: 40 * time.Second}},
		"NoTicket":   {reason: "A ticket has a life.", cfg: wechattest.Config{TicketLife: -1}},
		"ShortToken": {reason: "A short token is not unique.", cfg: wechattest.Config{TokenLength: 8}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := tc.cfg.Check(); (err == nil) != tc.ok {
				t.Errorf("%s\nCheck: got %v, want ok: %t", tc.reason, err, tc.ok)
			}
		})
	}
}

func TestMistakesOfATestPanic(t *testing.T) {
	s := wechattest.New(wechattest.Config{})
	cases := map[string]struct {
		reason string
		do     func()
	}{
		"Config":    {reason: "No server can be made.", do: func() { wechattest.New(wechattest.Config{Life: time.Second}) }},
		"Fault":     {reason: "There is no such fault.", do: func() { s.SetFault(wechattest.Fault{}) }},
		"Rotate":    {reason: "There is no such account.", do: func() { s.Rotate(appID) }},
		"Freeze":    {reason: "There is no such account.", do: func() { s.Freeze(appID, true) }},
		"Allow":     {reason: "There is no such account.", do: func() { s.Allow(appID) }},
		"SetSecret": {reason: "There is no such account.", do: func() { s.SetSecret(appID, secret) }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("%s\nit did not panic", tc.reason)
				}
			}()
			tc.do()
		})
	}
}

func TestTokensHaveTheLengthAskedFor(t *testing.T) {
	form := regexp.MustCompile(`^98_[0-9A-Za-z_-]+$`)
	for want, cfg := range map[int]wechattest.Config{136: {}, 32: {TokenLength: 32}, 4096: {TokenLength: 4096}} {
		_, c := inMemory(t, cfg)
		seen := map[string]bool{}
		for range 100 {
			token := c.classic().AccessToken
			if len(token) != want || !form.MatchString(token) || seen[token] {
				t.Fatalf("got %d bytes, want %d, of another form: %t, seen before: %t", len(token), want, !form.MatchString(token), seen[token])
			}
			seen[token] = true
		}
	}
}

func TestNegativeLimitsAreNone(t *testing.T) {
	_, c := inMemory(t, wechattest.Config{ForceSpacing: -1, Overlap: -1, ForcedPerDay: -1, StablePerMinute: -1, StablePerDay: -1, ClassicPerDay: -1})
	last := c.forced().AccessToken
	for range 50 {
		token := c.forced().AccessToken
		if token == last {
			t.Fatal("a forced call did not refresh")
		}
		if c.business(last).Errcode != 40001 {
			t.Fatal("a token outlived its replacement")
		}
		last = token
	}
}
