package wechattest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestBusinessCall(t *testing.T) {
	const (
		notLatest = "invalid credential, access_token is invalid or not latest"
		hint      = ", could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
	)
	cases := map[string]struct {
		reason string
		token  func(*wechattest.Server, client) string
		want   failure
	}{
		"Stable": {
			reason: "A valid token is answered without an errcode.",
			token:  func(_ *wechattest.Server, c client) string { return c.stable().AccessToken },
			want:   failure{Status: 200},
		},
		"Classic": {
			reason: "A valid token is answered without an errcode.",
			token:  func(_ *wechattest.Server, c client) string { return c.classic().AccessToken },
			want:   failure{Status: 200},
		},
		"Missing": {
			reason: "A call needs a token.",
			token:  func(*wechattest.Server, client) string { return "" },
			want:   failure{200, 41001, "access_token missing rid"},
		},
		"Unknown": {
			reason: "Nobody has made this token.",
			token:  func(*wechattest.Server, client) string { return "98_never" },
			want:   failure{200, 40001, notLatest + " rid"},
		},
		"ClassicReplaced": {
			reason: "WeChat points the users of a replaced classic token to the stable ones.",
			token: func(_ *wechattest.Server, c client) string {
				old := c.classic().AccessToken
				c.classic()
				time.Sleep(300 * time.Second)
				return old
			},
			want: failure{200, 40001, notLatest + hint + " rid"},
		},
		"StableReplaced": {
			reason: "A forced call replaces a token for good.",
			token: func(_ *wechattest.Server, c client) string {
				old := c.stable().AccessToken
				c.forced()
				time.Sleep(300 * time.Second)
				return old
			},
			want: failure{200, 40001, notLatest + " rid"},
		},
		"Expired": {
			reason: "A token that reached its own end is expired, not replaced.",
			token: func(_ *wechattest.Server, c client) string {
				old := c.stable().AccessToken
				time.Sleep(7000 * time.Second)
				c.stable()
				time.Sleep(200 * time.Second)
				return old
			},
			want: failure{200, 42001, "access_token expired rid"},
		},
		"Revoked": {
			reason: "A token can become invalid early.",
			token: func(s *wechattest.Server, c client) string {
				old := c.stable().AccessToken
				s.Revoke(old)
				return old
			},
			want: failure{200, 40001, notLatest + " rid"},
		},
		"LongForgotten": {
			reason: "A token that has been invalid for long is one that never was.",
			token: func(_ *wechattest.Server, c client) string {
				old := c.classic().AccessToken
				time.Sleep(2*7200*time.Second + time.Second)
				c.classic()
				return old
			},
			want: failure{200, 40001, notLatest + " rid"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := inMemory(t, wechattest.Config{})
				token := tc.token(s, c)
				got := c.business(token)
				if diff := cmp.Diff(tc.want, got.failure()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
				if diff := cmp.Diff(tc.want, c.list(http.MethodGet, "/cgi-bin/getcallbackip", token).failure()); diff != "" {
					t.Errorf("%s getcallbackip (-want +got):\n%s", tc.reason, diff)
				}
				valid := tc.want.Errcode == 0
				if s.Valid(token) != valid {
					t.Errorf("%s\nValid: got %t, want %t", tc.reason, !valid, valid)
				}
				if (len(got.IPList) > 0) != valid {
					t.Errorf("%s\nip_list: got %v", tc.reason, got.IPList)
				}
			})
		})
	}
}

// WeChat's documents have GET. What it answers to a POST is undocumented; the fake does
// not mind.
func TestBusinessCallsListAddresses(t *testing.T) {
	cases := map[string]struct {
		reason string
		method string
		path   string
		want   string
	}{
		"DomainIPs":       {"It lists where WeChat's API is.", http.MethodGet, "/cgi-bin/get_api_domain_ip", `{"ip_list":["101.226.62.77","101.226.62.78","101.226.62.79","101.226.62.80"]}`},
		"CallbackIPs":     {"It lists where WeChat's pushes come from.", http.MethodGet, "/cgi-bin/getcallbackip", `{"ip_list":["106.55.206.146","106.55.206.211"]}`},
		"PostDomainIPs":   {"A POST is as good.", http.MethodPost, "/cgi-bin/get_api_domain_ip", `{"ip_list":["101.226.62.77","101.226.62.78","101.226.62.79","101.226.62.80"]}`},
		"PostCallbackIPs": {"A POST is as good.", http.MethodPost, "/cgi-bin/getcallbackip", `{"ip_list":["106.55.206.146","106.55.206.211"]}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := overLoopback(t, httptest.NewServer)
			token := c.stable().AccessToken
			if diff := cmp.Diff(tc.want, c.list(tc.method, tc.path, token).raw); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if got := s.Counts("").Business; got.OK != 1 {
				t.Errorf("%s\ncounted %+v, want a call that was good", tc.reason, got)
			}
		})
	}
}

func TestBusinessQuota(t *testing.T) {
	const (
		domain   = "/cgi-bin/get_api_domain_ip"
		callback = "/cgi-bin/getcallbackip"
		spent    = "reach max api daily quota limit"
	)
	// spend makes so many calls, of which none may be refused.
	spend := func(c client, n int, path, token string) {
		for i := range n {
			if got := c.list(http.MethodGet, path, token); got.Errcode != 0 {
				c.t.Fatalf("call %d: %s", i+1, got.raw)
			}
		}
	}
	cases := map[string]struct {
		reason string
		limit  int
		call   func(*wechattest.Server, client) answer
		want   failure
	}{
		"Default": {
			reason: "Users report 1,000 calls a day at least.",
			call: func(_ *wechattest.Server, c client) answer {
				token := c.stable().AccessToken
				spend(c, 1000, domain, token)
				return c.business(token)
			},
			want: failure{200, 45009, spent + " rid"},
		},
		"CallbackIPs": {
			reason: "getcallbackip has a limit, too.",
			limit:  2,
			call: func(_ *wechattest.Server, c client) answer {
				token := c.stable().AccessToken
				spend(c, 2, callback, token)
				return c.list(http.MethodGet, callback, token)
			},
			want: failure{200, 45009, spent + " rid"},
		},
		"Classic": {
			reason: "WeChat points the users of classic tokens to the stable ones.",
			limit:  1,
			call: func(_ *wechattest.Server, c client) answer {
				token := c.classic().AccessToken
				spend(c, 1, domain, token)
				return c.business(token)
			},
			want: failure{200, 45009, spent + ", could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r rid"},
		},
		"AllTokens": {
			reason: "The tokens of an account share its limit.",
			limit:  2,
			call: func(_ *wechattest.Server, c client) answer {
				spend(c, 1, domain, c.stable().AccessToken)
				spend(c, 1, domain, c.classic().AccessToken)
				return c.business(c.forced().AccessToken)
			},
			want: failure{200, 45009, spent + " rid"},
		},
		"OtherPath": {
			reason: "Each path has a limit of its own.",
			limit:  1,
			call: func(_ *wechattest.Server, c client) answer {
				token := c.stable().AccessToken
				spend(c, 1, callback, token)
				return c.business(token)
			},
			want: failure{Status: 200},
		},
		"OtherAccount": {
			reason: "Each account has a limit of its own.",
			limit:  1,
			call: func(s *wechattest.Server, c client) answer {
				s.AddAccount(other, secret)
				spend(c, 1, domain, c.classicOf(grant, other, secret).AccessToken)
				return c.business(c.stable().AccessToken)
			},
			want: failure{Status: 200},
		},
		"InvalidToken": {
			reason: "A call with an invalid token costs nothing, and is refused for the token.",
			limit:  1,
			call: func(s *wechattest.Server, c client) answer {
				revoked := c.stable().AccessToken
				s.Revoke(revoked)
				c.business(revoked)
				spend(c, 1, domain, c.forced().AccessToken)
				return c.business(revoked)
			},
			want: failure{200, 40001, "invalid credential, access_token is invalid or not latest rid"},
		},
		"NextDay": {
			reason: "The limit is that of a day in Beijing.",
			limit:  1,
			call: func(_ *wechattest.Server, c client) answer {
				time.Sleep(untilMidnightInChina() - time.Minute)
				token := c.stable().AccessToken
				spend(c, 1, domain, token)
				time.Sleep(time.Minute)
				return c.business(token)
			},
			want: failure{Status: 200},
		},
		"None": {
			reason: "A negative limit is none.",
			limit:  -1,
			call: func(_ *wechattest.Server, c client) answer {
				token := c.stable().AccessToken
				spend(c, 1001, domain, token)
				return c.business(token)
			},
			want: failure{Status: 200},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := inMemory(t, wechattest.Config{BusinessPerDay: tc.limit})
				if diff := cmp.Diff(tc.want, tc.call(s, c).failure()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
			})
		})
	}
}

func TestStableCallReturnsTheRevokedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{})
		revoked := c.stable().AccessToken
		if !s.Revoke(revoked) {
			t.Error("Revoke: got false for a valid token")
		}
		if s.Revoke(revoked) {
			t.Error("Revoke: got true for a revoked token")
		}
		if c.stable().AccessToken != revoked {
			t.Error("normal call: got another token, want the present one, though it is revoked")
		}
		if diff := cmp.Diff([]bool{true}, c.valid(c.forced().AccessToken)); diff != "" {
			t.Errorf("token of a forced call (-want +got):\n%s", diff)
		}
	})
}
