package wechattest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestStableRefusals(t *testing.T) {
	cases := map[string]struct {
		reason string
		method string // POST if empty
		body   io.Reader
		want   failure
	}{
		"GET": {
			reason: "The endpoint takes POST only.",
			method: http.MethodGet,
			body:   http.NoBody,
			want:   failure{200, 43002, "require POST method rid"},
		},
		"Form": {
			reason: "A form has no appid in it.",
			body:   strings.NewReader("grant_type=client_credential&appid=" + appID + "&secret=" + secret),
			want:   failure{200, 41002, "appid missing rid"},
		},
		"Empty": {
			reason: "Neither has an empty body.",
			body:   strings.NewReader(""),
			want:   failure{200, 41002, "appid missing rid"},
		},
		"BrokenJSON": {
			reason: "JSON that ends early is not the same as no JSON.",
			body:   strings.NewReader(`{"appid":"` + appID),
			want:   failure{200, 47001, "data format error rid"},
		},
		"WrongType": {
			reason: "force_refresh is a boolean.",
			body:   strings.NewReader(`{"grant_type":"client_credential","appid":"` + appID + `","secret":"` + secret + `","force_refresh":"yes"}`),
			want:   failure{200, 47001, "data format error rid"},
		},
		"Chunked": {
			reason: "A body without Content-Length does not reach WeChat.",
			body:   struct{ io.Reader }{strings.NewReader(`{"appid":"` + appID + `"}`)},
			want:   failure{Status: 412},
		},
		"NoSecret": {
			reason: "A call needs an AppSecret.",
			body:   asJSON(stableRequest{GrantType: grant, AppID: appID}),
			want:   failure{200, 41004, "appsecret missing rid"},
		},
		"GrantType": {
			reason: "There is one grant type.",
			body:   asJSON(stableRequest{GrantType: "password", AppID: appID, Secret: secret}),
			want:   failure{200, 40002, "invalid grant_type rid"},
		},
		"UnknownAppID": {
			reason: "There is no such account.",
			body:   asJSON(stableRequest{GrantType: grant, AppID: other, Secret: secret}),
			want:   failure{200, 40013, "invalid appid rid"},
		},
		"WrongSecret": {
			reason: "The account has another AppSecret.",
			body:   asJSON(stableRequest{GrantType: grant, AppID: appID, Secret: "wrong"}),
			want:   failure{200, 40125, "invalid appsecret rid"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := inMemory(t, wechattest.Config{})
			method := tc.method
			if method == "" {
				method = http.MethodPost
			}
			got := c.must(method, "/cgi-bin/stable_token", tc.body)
			if diff := cmp.Diff(tc.want, got.failure()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if got := s.Counts("").Stable.Rotations; got != 0 {
				t.Errorf("%s\na refused call made a token", tc.reason)
			}
		})
	}
}

func TestClassicRefusals(t *testing.T) {
	cases := map[string]struct {
		reason               string
		grant, appID, secret string
		want                 failure
	}{
		"NoAppID":      {reason: "A call needs an appid.", grant: grant, secret: secret, want: failure{200, 41002, "appid missing rid"}},
		"NoSecret":     {reason: "A call needs an AppSecret.", grant: grant, appID: appID, want: failure{200, 41004, "appsecret missing rid"}},
		"GrantType":    {reason: "There is one grant type.", grant: "x", appID: appID, secret: secret, want: failure{200, 40002, "invalid grant_type rid"}},
		"UnknownAppID": {reason: "There is no such account.", grant: grant, appID: other, secret: secret, want: failure{200, 40013, "invalid appid rid"}},
		"WrongSecret":  {reason: "The account has another AppSecret.", grant: grant, appID: appID, secret: "wrong", want: failure{200, 40125, "invalid appsecret rid"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, c := inMemory(t, wechattest.Config{})
			got := c.classicOf(tc.grant, tc.appID, tc.secret)
			if diff := cmp.Diff(tc.want, got.failure()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}

	t.Run("POST", func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		got := c.must(http.MethodPost, "/cgi-bin/token?appid="+appID, strings.NewReader("x"))
		if diff := cmp.Diff(failure{200, 43001, "require GET method rid"}, got.failure()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestOnlyAllowedCallersGetTokens(t *testing.T) {
	here, elsewhere := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
	refused := failure{200, 40164, "invalid ip 192.0.2.1 ipv6 ::ffff:192.0.2.1, not in whitelist rid"}
	cases := map[string]struct {
		reason  string
		server  []netip.Prefix
		account []netip.Prefix
		want    failure
	}{
		"NoList":        {reason: "Without a list everybody may.", want: failure{Status: 200}},
		"Listed":        {reason: "The server's list has the caller.", server: []netip.Prefix{elsewhere, here}, want: failure{Status: 200}},
		"NotListed":     {reason: "The server's list does not have the caller.", server: []netip.Prefix{elsewhere}, want: refused},
		"OnlyAccount":   {reason: "An account has a list of its own.", account: []netip.Prefix{elsewhere}, want: refused},
		"AccountAllows": {reason: "The account's list overrides.", server: []netip.Prefix{elsewhere}, account: []netip.Prefix{here}, want: failure{Status: 200}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := inMemory(t, wechattest.Config{AllowIPs: tc.server})
			s.Allow(appID, tc.account...)
			if diff := cmp.Diff(tc.want, c.stable().failure()); diff != "" {
				t.Errorf("%s stable (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, c.classic().failure()); diff != "" {
				t.Errorf("%s classic (-want +got):\n%s", tc.reason, diff)
			}
		})
	}

	t.Run("Again", func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{})
		s.Allow(appID, elsewhere)
		s.Allow(appID)
		if got := c.stable().Errcode; got != 0 {
			t.Errorf("after Allow without prefixes: got %d, want 0", got)
		}
	})
}

func TestFrozenAccountGetsNoTokenAndKeepsItsOwn(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	token := c.stable().AccessToken
	s.Freeze(appID, true)
	got := []int{c.stable().Errcode, c.classic().Errcode, c.business(token).Errcode}
	if diff := cmp.Diff([]int{40243, 40243, 0}, got); diff != "" {
		t.Errorf("errcodes while frozen (-want +got):\n%s", diff)
	}
	s.Freeze(appID, false)
	if got := c.stable().AccessToken; got != token {
		t.Error("after the thaw: got another token")
	}
}

func TestSecretCanBeReset(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	s.SetSecret(appID, "another")
	if got := c.stable().Errcode; got != 40125 {
		t.Errorf("errcode with the old secret: got %d, want 40125", got)
	}
	if got := c.classicOf(grant, appID, "another").Errcode; got != 0 {
		t.Errorf("errcode with the new secret: got %d, want 0", got)
	}
}

func TestOpenAccountsTakeTheirFirstSecret(t *testing.T) {
	cases := map[string]struct {
		reason  string
		appID   string
		secrets []string
		want    []int
	}{
		"First":     {reason: "The first secret counts from then on.", appID: other, secrets: []string{"a", "b", "a"}, want: []int{0, 40125, 0}},
		"NoSecret":  {reason: "An empty secret is none.", appID: other, secrets: []string{"", "a"}, want: []int{41004, 0}},
		"Malformed": {reason: "Only WeChat's form of appid is accepted.", appID: "wx123", secrets: []string{"a"}, want: []int{40013}},
		"Known":     {reason: "An account that was added keeps its secret.", appID: appID, secrets: []string{"a", secret}, want: []int{40125, 0}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, c := inMemory(t, wechattest.Config{OpenAccounts: true})
			var got []int
			for _, secret := range tc.secrets {
				got = append(got, c.post(stableRequest{GrantType: grant, AppID: tc.appID, Secret: secret}).Errcode)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRequestIDTellsTheTimeAndIsNewInEveryAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := inMemory(t, wechattest.Config{})
		time.Sleep(time.Hour)
		first, second := c.business("x").Errmsg, c.business("x").Errmsg
		if first == second {
			t.Error("two answers have the same request id")
		}
		m := trailer.FindStringSubmatch(first)
		if m == nil {
			t.Fatalf("no request id in %q", first)
		}
		if got, err := strconv.ParseInt(m[1], 16, 64); err != nil || got != time.Now().Unix() {
			t.Errorf("first part: got %d, %v, want the Unix time %d", got, err, time.Now().Unix())
		}
	})
}

func TestAnswersAreJSONAndSometimesCallItPlainText(t *testing.T) {
	_, c := inMemory(t, wechattest.Config{})
	got := map[string]int{}
	for range 80 {
		got[c.business("x").contentType]++
	}
	want := map[string]int{"application/json; encoding=utf-8": 70, "text/plain": 10}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("content types (-want +got):\n%s", diff)
	}
}

func TestSuccessHasNoErrcode(t *testing.T) {
	_, c := inMemory(t, wechattest.Config{})
	stable := c.stable()
	for name, a := range map[string]answer{"stable": stable, "classic": c.classic(), "business": c.business(stable.AccessToken)} {
		if strings.Contains(a.raw, "err") {
			t.Errorf("%s: got %s", name, a.raw)
		}
	}
}

func TestUnknownPathIsAPage(t *testing.T) {
	_, c := inMemory(t, wechattest.Config{})
	got := c.must(http.MethodGet, "/cgi-bin/nothing", nil)
	if got.status != 404 || got.contentType != "text/html" {
		t.Errorf("got %d %s, want 404 text/html", got.status, got.contentType)
	}
}

func asJSON(body stableRequest) io.Reader {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings and a boolean
	}
	return strings.NewReader(string(b))
}
