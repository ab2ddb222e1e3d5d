package wechat_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// canaryToken needs escaping in a URL, so that each form of it can be looked for.
const canaryToken = "98_canary+token/canary=token"

// A token is valid until it is replaced, expires or is revoked.
func TestValidFollowsTheToken(t *testing.T) {
	cases := map[string]struct {
		reason string
		token  func(*testing.T, *wechattest.Server, *wechat.Client) string
		want   bool
	}{
		"Stable":  {"A token is valid once it is there.", stableToken, true},
		"Classic": {"So does one of the other endpoint.", classicToken, true},
		"Rotated": {"After the overlap a token that was replaced is invalid.", func(t *testing.T, _ *wechattest.Server, c *wechat.Client) string {
			t.Helper()
			old := classicToken(t, nil, c)
			classicToken(t, nil, c)
			time.Sleep(300 * time.Second)
			return old
		}, false},
		"RotatedJustNow": {"Within the overlap it is still valid.", func(t *testing.T, _ *wechattest.Server, c *wechat.Client) string {
			t.Helper()
			old := classicToken(t, nil, c)
			classicToken(t, nil, c)
			time.Sleep(299 * time.Second)
			return old
		}, true},
		"Expired": {"A token expires at its own end.", func(t *testing.T, _ *wechattest.Server, c *wechat.Client) string {
			t.Helper()
			old := stableToken(t, nil, c)
			time.Sleep(7200 * time.Second)
			return old
		}, false},
		"Revoked": {"A token can become invalid early.", func(t *testing.T, s *wechattest.Server, c *wechat.Client) string {
			t.Helper()
			old := stableToken(t, nil, c)
			s.Revoke(old)
			return old
		}, false},
		"Unknown": {"A token that nobody made is invalid.", func(*testing.T, *wechattest.Server, *wechat.Client) string {
			return canaryToken
		}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := wechattest.New(wechattest.Config{})
				s.AddAccount(creds.AppID, creds.AppSecret)
				c := wechat.NewClientWithTransports("https://wechat", 5*time.Second, s.Transport(), s.Transport())
				got, err := c.Valid(t.Context(), tc.token(t, s, c))
				if err != nil || got != tc.want {
					t.Errorf("%s\ngot %t, %v, want %t", tc.reason, got, err, tc.want)
				}
			})
		})
	}
}

func stableToken(t *testing.T, _ *wechattest.Server, c *wechat.Client) string {
	t.Helper()
	got, err := c.StableToken(t.Context(), creds, false)
	if err != nil {
		t.Fatal(err)
	}
	return got.Value
}

func classicToken(t *testing.T, _ *wechattest.Server, c *wechat.Client) string {
	t.Helper()
	got, err := c.ClassicToken(t.Context(), creds)
	if err != nil {
		t.Fatal(err)
	}
	return got.Value
}

// Only WeChat says that a token is valid or invalid. Any other answer is an error.
func TestValidOnlyByWeChatsAnswer(t *testing.T) {
	const trailer = " rid: 67b81456-7783352d-44cb33e5"
	cases := map[string]struct {
		reason string
		status int
		body   string
		want   bool
		failed *wechat.Error
		class  wechat.Class
	}{
		"Valid":       {"", 200, `{"ip_list":["101.226.62.77"]}`, true, nil, 0},
		"ValidOK":     {"Some answers carry errcode 0.", 200, `{"errcode":0,"errmsg":"ok","ip_list":["101.226.62.77"]}`, true, nil, 0},
		"NotLatest":   {"", 200, `{"errcode":40001,"errmsg":"invalid credential, access_token is invalid or not latest` + trailer + `"}`, false, nil, 0},
		"Invalid":     {"", 200, `{"errcode":40014,"errmsg":"invalid access_token` + trailer + `"}`, false, nil, 0},
		"Expired":     {"", 200, `{"errcode":42001,"errmsg":"access_token expired` + trailer + `"}`, false, nil, 0},
		"InvalidList": {"An errcode counts, whatever else is there.", 200, `{"errcode":42001,"errmsg":"x","ip_list":["101.226.62.77"]}`, false, nil, 0},
		"ErrorWithList": {"An errcode counts, whatever else is there.", 200, `{"errcode":-1,"errmsg":"system error` + trailer + `","ip_list":["101.226.62.77"]}`, false,
			&wechat.Error{Code: -1, HTTPStatus: 200, Message: "system error"}, wechat.Transient},
		"Missing": {"The call came without its token; the token may be valid.", 200, `{"errcode":41001,"errmsg":"access_token missing` + trailer + `"}`, false,
			&wechat.Error{Code: 41001, HTTPStatus: 200, Message: "access_token missing"}, wechat.Transient},
		"DayQuota": {"", 200, `{"errcode":45009,"errmsg":"reach max api daily quota limit hint: [nl1a8a02641530!]"}`, false,
			&wechat.Error{Code: 45009, HTTPStatus: 200, Message: "reach max api daily quota limit"}, wechat.DayQuota},
		"IP": {"The allow-list of an official account holds for business calls too.", 200, `{"errcode":40164,"errmsg":"invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist` + trailer + `"}`, false,
			&wechat.Error{Code: 40164, HTTPStatus: 200, Message: "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist", CallerIP: netip.MustParseAddr("1.2.3.4")}, wechat.Refused},
		"Unknown": {"An unknown code does not make a token invalid.", 200, `{"errcode":99999,"errmsg":"what, rid: 67b81456"}`, false,
			&wechat.Error{Code: 99999, HTTPStatus: 200, Message: "what"}, wechat.Transient},
		"Echo": {"An echo of the token is not shown.", 200, `{"errcode":-1,"errmsg":"bad token ` + canaryToken + `"}`, false,
			&wechat.Error{Code: -1, HTTPStatus: 200, Message: "bad token [redacted]"}, wechat.Transient},
		"EchoOfURL": {"", 200, `{"errcode":-1,"errmsg":"bad url ?access_token=98_canary%2Btoken%2Fcanary%3Dtoken"}`, false,
			&wechat.Error{Code: -1, HTTPStatus: 200, Message: "bad url ?access_token=[redacted]"}, wechat.Transient},
		"Nothing":     {"Any gateway may answer this.", 200, `{}`, false, unusable(200, "the answer has no ip_list"), wechat.Transient},
		"EmptyList":   {"", 200, `{"ip_list":[]}`, false, unusable(200, "the answer has no ip_list"), wechat.Transient},
		"NullList":    {"", 200, `{"ip_list":null}`, false, unusable(200, "the answer has no ip_list"), wechat.Transient},
		"Null":        {"", 200, `null`, false, unusable(200, "the answer has no ip_list"), wechat.Transient},
		"Garbage":     {"", 200, `<html>` + canaryToken, false, unusable(200, "the answer (HTTP status 200) is not JSON as WeChat writes it"), wechat.Transient},
		"StrangeList": {"", 200, `{"ip_list":"101.226.62.77"}`, false, unusable(200, "the answer (HTTP status 200) is not JSON as WeChat writes it"), wechat.Transient},
		"BadGateway":  {"", 502, `<html>` + canaryToken, false, unusable(502, "the answer (HTTP status 502) is not JSON as WeChat writes it"), wechat.Transient},
		"ValidBut500": {"A list from a server in trouble is not trusted.", 500, `{"ip_list":["101.226.62.77"]}`, false, unusable(500, "HTTP status 500"), wechat.Transient},
		"Huge":        {"", 200, `{"ip_list":["` + strings.Repeat("1", 64<<10) + `"]}`, false, unusable(200, "the answer is larger than 64 KiB"), wechat.Transient},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := answering(t, tc.status, tc.body).Valid(t.Context(), canaryToken)
			failed, ok := errors.AsType[*wechat.Error](err)
			if err != nil && !ok {
				t.Fatalf("%s\ngot a %T, want a *wechat.Error", tc.reason, err)
			}
			if got != tc.want {
				t.Errorf("%s\ngot %t, want %t", tc.reason, got, tc.want)
			}
			if diff := cmp.Diff(tc.failed, failed, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.IgnoreFields(wechat.Error{}, "RID")); diff != "" {
				t.Errorf("%s\nerror (-want +got):\n%s", tc.reason, diff)
			}
			if failed != nil && failed.Class() != tc.class {
				t.Errorf("%s\nclass = %v, want %v", tc.reason, failed.Class(), tc.class)
			}
		})
	}
}

func unusable(status int, message string) *wechat.Error {
	return &wechat.Error{HTTPStatus: status, Message: message, Lost: true}
}

// Whatever goes wrong with a check, its error does not show the token.
func TestValidShowsNoToken(t *testing.T) {
	for _, kind := range []wechattest.FaultKind{
		wechattest.FaultEcho, wechattest.FaultReset, wechattest.FaultHang, wechattest.FaultTruncated,
		wechattest.FaultLost, wechattest.FaultGarbage, wechattest.FaultStatus, wechattest.FaultErrcode,
	} {
		t.Run(string(kind), func(t *testing.T) {
			s, _ := fake(t, wechattest.Config{})
			s.SetFault(wechattest.Fault{Kind: kind, Code: -1, Message: "no such token " + canaryToken})
			srv := httptest.NewServer(s)
			t.Cleanup(srv.Close)
			_, err := wechat.NewClient(srv.URL, 200*time.Millisecond).Valid(t.Context(), canaryToken)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, form := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
				if strings.Contains(form, "canary") || strings.Contains(form, "access_token=") {
					t.Errorf("the error shows the token: %s", form)
				}
			}
		})
	}
	if _, err := wechat.NewClient("http://a b", time.Second).Valid(t.Context(), canaryToken); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v, want an error without the token", err)
	}
}

// Checks keep their connection: checks that are due for many accounts at once
// need no handshake for each.
func TestValidKeepsItsConnection(t *testing.T) {
	var from []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.RemoteAddr)
		io.WriteString(w, `{"ip_list":["101.226.62.77"]}`)
	}))
	t.Cleanup(srv.Close)
	c := wechat.NewClient(srv.URL, 5*time.Second)
	for range 2 {
		if got, err := c.Valid(t.Context(), canaryToken); err != nil || !got {
			t.Fatalf("got %t, %v", got, err)
		}
	}
	if from[0] != from[1] {
		t.Errorf("two calls came over two connections, %v", from)
	}
}
