package wechat_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

var creds = wechat.Credentials{AppID: "wx0123456789abcdef", AppSecret: "canary0secret0canary0secret0cana"}

// fake is a WeChat on loopback that knows creds.
func fake(t *testing.T, cfg wechattest.Config) (*wechattest.Server, *wechat.Client) {
	t.Helper()
	s := wechattest.New(cfg)
	s.AddAccount(creds.AppID, creds.AppSecret)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, wechat.NewClient(srv.URL, 5*time.Second)
}

// ask is a call of either endpoint.
type ask func(*wechat.Client) (wechat.Token, error)

func endpoints(t *testing.T) map[string]ask {
	t.Helper()
	return map[string]ask{
		"Stable":  func(c *wechat.Client) (wechat.Token, error) { return c.StableToken(t.Context(), creds, false) },
		"Forced":  func(c *wechat.Client) (wechat.Token, error) { return c.StableToken(t.Context(), creds, true) },
		"Classic": func(c *wechat.Client) (wechat.Token, error) { return c.ClassicToken(t.Context(), creds) },
	}
}

func TestTokensOfAnyLengthArrive(t *testing.T) {
	for _, length := range []int{32, 136, 512, 4096} {
		for name, ask := range endpoints(t) {
			t.Run(fmt.Sprint(name, length), func(t *testing.T) {
				s, c := fake(t, wechattest.Config{TokenLength: length})
				got, err := ask(c)
				if err != nil {
					t.Fatal(err)
				}
				if len(got.Value) != length || !s.Valid(got.Value) {
					t.Errorf("got a token of %d bytes, valid %t; want %d bytes, valid", len(got.Value), s.Valid(got.Value), length)
				}
				if got.Life <= 7100*time.Second || got.Life > 7200*time.Second {
					t.Errorf("life = %s, want what WeChat said: 7200 s", got.Life)
				}
			})
		}
	}
}

func TestForceMakesANewToken(t *testing.T) {
	_, c := fake(t, wechattest.Config{})
	first, _ := c.StableToken(t.Context(), creds, false)
	again, _ := c.StableToken(t.Context(), creds, false)
	forced, err := c.StableToken(t.Context(), creds, true)
	if err != nil || first.Value == "" {
		t.Fatal("no token:", err)
	}
	if again.Value != first.Value {
		t.Error("without force the token changed")
	}
	if forced.Value == first.Value {
		t.Error("with force the token did not change")
	}
}

// Each code has its class, and what is shown is the same each time.
func TestErrorsHaveAClass(t *testing.T) {
	cases := map[string]struct {
		reason string
		code   int64
		errmsg string
		want   wechat.Error
		class  wechat.Class
	}{
		"Busy":             {"-1 is transient.", -1, "system error rid: %s", wechat.Error{Message: "system error"}, wechat.Transient},
		"SystemError":      {"-1000 is transient.", -1000, "system error rid: %s", wechat.Error{Message: "system error"}, wechat.Transient},
		"Unknown":          {"A code nobody knows is tried again.", 99999, "what, rid: %s", wechat.Error{Message: "what"}, wechat.Transient},
		"MinuteQuota":      {"", 45011, "api minute-quota reach limit mustslower retry next minute rid: %s", wechat.Error{Message: "api minute-quota reach limit mustslower retry next minute"}, wechat.MinuteQuota},
		"DayQuota":         {"An older trailer.", 45009, "reach max api daily quota limit hint: [%s!]", wechat.Error{Message: "reach max api daily quota limit"}, wechat.DayQuota},
		"WrongSecret":      {"", 40001, "invalid credential rid: %s", wechat.Error{Message: "invalid credential"}, wechat.WrongRequest},
		"GrantType":        {"", 40002, "invalid grant_type, rid: %s", wechat.Error{Message: "invalid grant_type"}, wechat.WrongRequest},
		"AppID":            {"", 40013, "invalid appid rid: %s", wechat.Error{Message: "invalid appid"}, wechat.WrongRequest},
		"Secret":           {"", 40125, "invalid appsecret, rid: %s", wechat.Error{Message: "invalid appsecret"}, wechat.WrongRequest},
		"AppIDMissing":     {"", 41002, "appid missing rid: %s", wechat.Error{Message: "appid missing"}, wechat.WrongRequest},
		"SecretMissing":    {"", 41004, "appsecret missing hints: [%s]", wechat.Error{Message: "appsecret missing"}, wechat.WrongRequest},
		"Platform":         {"", 61024, "must use component token rid: %s", wechat.Error{Message: "must use component token"}, wechat.WrongRequest},
		"IP":               {"", 40164, "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: %s", wechat.Error{Message: "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist", CallerIP: netip.MustParseAddr("1.2.3.4")}, wechat.Refused},
		"IPOld":            {"The shape of old.", 40164, "invalid ip 119.253.43.19, not in whitelist hint: [%s]", wechat.Error{Message: "invalid ip 119.253.43.19, not in whitelist", CallerIP: netip.MustParseAddr("119.253.43.19")}, wechat.Refused},
		"IPv6":             {"An IPv6 egress.", 40164, "invalid ip 2001:db8::7, not in whitelist rid: %s", wechat.Error{Message: "invalid ip 2001:db8::7, not in whitelist", CallerIP: netip.MustParseAddr("2001:db8::7")}, wechat.Refused},
		"IPMapped":         {"An IPv4 address in IPv6 clothes.", 40164, "invalid ip ::ffff:1.2.3.4, not in whitelist rid: %s", wechat.Error{Message: "invalid ip ::ffff:1.2.3.4, not in whitelist", CallerIP: netip.MustParseAddr("1.2.3.4")}, wechat.Refused},
		"IPNotThere":       {"No address in the message is no failure.", 40164, "not in whitelist rid: %s", wechat.Error{Message: "not in whitelist"}, wechat.Refused},
		"NotRegistered":    {"", 61004, "access clientip is not registered requestIP: 47.107.99.226 rid: %s", wechat.Error{Message: "access clientip is not registered requestIP: 47.107.99.226", CallerIP: netip.MustParseAddr("47.107.99.226")}, wechat.Refused},
		"Frozen":           {"", 40243, "appsecret frozen rid: %s", wechat.Error{Message: "appsecret frozen"}, wechat.Refused},
		"Irregular":        {"", 48004, "api forbidden for irregularities, view detail on mp.weixin.qq.com rid: %s", wechat.Error{Message: "api forbidden for irregularities, view detail on mp.weixin.qq.com"}, wechat.Refused},
		"Limited":          {"", 50002, "user limited rid: %s", wechat.Error{Message: "user limited"}, wechat.Refused},
		"Forbidden":        {"", 50004, "user not allow to use accesstoken, maybe for punishment rid: %s", wechat.Error{Message: "user not allow to use accesstoken, maybe for punishment"}, wechat.Refused},
		"AccountFrozen":    {"", 50007, "account frozen rid: %s", wechat.Error{Message: "account frozen"}, wechat.Refused},
		"ToConfirm":        {"", 89501, "ip to confirm rid: %s", wechat.Error{Message: "ip to confirm"}, wechat.Refused},
		"ToConfirmMessage": {"", 89503, "ip to confirm rid: %s", wechat.Error{Message: "ip to confirm"}, wechat.Refused},
		"BlockedDay":       {"", 89506, "ip refused rid: %s", wechat.Error{Message: "ip refused"}, wechat.Refused},
		"BlockedHour":      {"", 89507, "ip refused rid: %s", wechat.Error{Message: "ip refused"}, wechat.Refused},
		"SecretEchoed":     {"An echo of the AppSecret is not shown.", 40125, "invalid appsecret " + creds.AppSecret + " rid: %s", wechat.Error{Message: "invalid appsecret [redacted]"}, wechat.WrongRequest},
		"ControlChars":     {"One line is one line.", -1, "a\n\tb \x00c rid: %s", wechat.Error{Message: "a b c"}, wechat.Transient},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Code, tc.want.HTTPStatus = tc.code, http.StatusOK
			for _, rid := range []string{"67b81456-7783352d-44cb33e5", "67b81457-00000000-ffffffff"} {
				if strings.Contains(tc.errmsg, "rid: ") {
					tc.want.RID = rid
				}
				body, err := json.Marshal(map[string]any{"errcode": tc.code, "errmsg": fmt.Sprintf(tc.errmsg, rid)})
				if err != nil {
					t.Fatal(err)
				}
				_, err = answering(t, http.StatusOK, string(body)).StableToken(t.Context(), creds, false)
				got, ok := errors.AsType[*wechat.Error](err)
				if !ok {
					t.Fatalf("%s\ngot %v, want a *wechat.Error", tc.reason, err)
				}
				if diff := cmp.Diff(tc.want, *got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("%s\nerror (-want +got):\n%s", tc.reason, diff)
				}
				if got.Class() != tc.class {
					t.Errorf("%s\nclass = %v, want %v", tc.reason, got.Class(), tc.class)
				}
			}
		})
	}
}

// answering is a client of a WeChat that answers always the same.
func answering(t *testing.T, status int, body string) *wechat.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return wechat.NewClient(srv.URL, 5*time.Second)
}

// Nothing but errcode 0 or none, a token and a sane life is a token.
func TestGoodIsNotReplacedByBad(t *testing.T) {
	cases := map[string]struct {
		reason string
		status int
		body   string
		want   string // the message; empty for a token
	}{
		"Good":           {"", 200, `{"access_token":"t","expires_in":7200}`, ""},
		"GoodWithZero":   {"Some answers carry errcode 0.", 200, `{"errcode":0,"errmsg":"ok","access_token":"t","expires_in":1}`, ""},
		"LongestLife":    {"", 200, `{"access_token":"t","expires_in":2592000}`, ""},
		"TooLong":        {"", 200, `{"access_token":"t","expires_in":2592001}`, "the answer has no usable expires_in"},
		"Overflow":       {"A life that overflows a Duration.", 200, `{"access_token":"t","expires_in":9223372036854775807}`, "the answer has no usable expires_in"},
		"LifeAsText":     {"A gateway has made the number a string.", 200, `{"access_token":"t","expires_in":"7200"}`, ""},
		"LifeAsWords":    {"What is no number is none.", 200, `{"access_token":"t","expires_in":"two hours"}`, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"LifeAsFraction": {"WeChat counts whole seconds.", 200, `{"access_token":"t","expires_in":7200.5}`, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"LifeEmpty":      {"", 200, `{"access_token":"t","expires_in":""}`, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"ByteOrderMark":  {"A gateway has put one before it.", 200, "\ufeff" + `{"access_token":"t","expires_in":7200}`, ""},
		"ErrcodeAsText":  {"An errcode that is plainly there counts.", 200, `{"errcode":"-1","errmsg":"busy","access_token":"t","expires_in":7200}`, "busy"},
		"NoLife":         {"", 200, `{"access_token":"t"}`, "the answer has no usable expires_in"},
		"Negative":       {"", 200, `{"access_token":"t","expires_in":-1}`, "the answer has no usable expires_in"},
		"Empty":          {"", 200, `{"access_token":"","expires_in":7200}`, "the answer has no usable access_token"},
		"Null":           {"", 200, `{"access_token":null,"expires_in":7200}`, "the answer has no usable access_token"},
		"Nothing":        {"", 200, `{}`, "the answer has no usable access_token"},
		"JSONNull":       {"", 200, `null`, "the answer has no usable access_token"},
		"Blank":          {"", 200, ``, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"TabInToken":     {"Or an HTTP header.", 200, `{"access_token":"a\tb","expires_in":7200}`, "the answer has no usable access_token"},
		"BlankInToken":   {"", 200, `{"access_token":"a b","expires_in":7200}`, "the answer has no usable access_token"},
		"NULInToken":     {"", 200, `{"access_token":"a\u0000b","expires_in":7200}`, "the answer has no usable access_token"},
		"UnicodeInToken": {"", 200, `{"access_token":"令牌","expires_in":7200}`, "the answer has no usable access_token"},
		"BytesInToken":   {"What is not UTF-8 reads as U+FFFD.", 200, "{\"access_token\":\"a\xffb\",\"expires_in\":7200}", "the answer has no usable access_token"},
		"QuotesInToken":  {"What can be shown can be a token; WeChat names no alphabet.", 200, `{"access_token":"a\"b'c\\d","expires_in":7200}`, ""},
		"BytesInErrmsg":  {"", 200, "{\"errcode\":-1,\"errmsg\":\"a\xffb\"}", "a\uFFFDb"},
		"TokenTwice":     {"Of two the last counts.", 200, `{"access_token":"t","access_token":"","expires_in":7200}`, "the answer has no usable access_token"},
		"ErrcodeTwice":   {"", 200, `{"errcode":0,"errcode":-1,"errmsg":"busy","access_token":"t","expires_in":7200}`, "busy"},
		"ErrcodeNull":    {"A null takes nothing back.", 200, `{"errcode":-1,"errcode":null,"errmsg":"busy","access_token":"t","expires_in":7200}`, "busy"},
		"UpperCaseError": {"An errcode counts in any case.", 200, `{"ERRCODE":-1,"ErrMsg":"busy","access_token":"t","expires_in":7200}`, "busy"},
		"UpperCaseToken": {"So does a token.", 200, `{"Access_Token":"t","EXPIRES_IN":7200}`, ""},
		"Nested":         {"A body as deep as it is long.", 200, `{"x":` + strings.Repeat("[", 60<<10), "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"NestedClosed":   {"", 200, `{"access_token":"t","expires_in":7200,"x":` + strings.Repeat("[", 20<<10) + strings.Repeat("]", 20<<10) + `}`, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"LifeAsFloat":    {"", 200, `{"access_token":"t","expires_in":7200.5}`, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"LifeAsPower":    {"", 200, `{"access_token":"t","expires_in":1e9}`, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"LifeTooLarge":   {"A number that overflows.", 200, `{"access_token":"t","expires_in":9223372036854775808}`, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"Garbage":        {"What comes behind the answer makes it doubtful.", 200, `{"access_token":"t","expires_in":7200}{}`, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"Array":          {"", 200, `[{"access_token":"t","expires_in":7200}]`, "the answer (HTTP status 200) is not JSON as WeChat writes it"},
		"NoContent":      {"", 204, ``, "the answer (HTTP status 204) is not JSON as WeChat writes it"},
		"Partial":        {"Half of an answer is none.", 206, `{"access_token":"t","expires_in":7200}`, "HTTP status 206"},
		"NewlineInToken": {"A token that would break an environment variable.", 200, `{"access_token":"a\nb","expires_in":7200}`, "the answer has no usable access_token"},
		"TokenAndError":  {"An errcode counts, whatever else is there.", 200, `{"errcode":-1,"errmsg":"busy","access_token":"t","expires_in":7200}`, "busy"},
		"HTML":           {"", 502, `<html>bad gateway</html>`, "the answer (HTTP status 502) is not JSON as WeChat writes it"},
		"Precondition":   {"", 412, ``, "the answer (HTTP status 412) is not JSON as WeChat writes it"},
		"TokenWith500":   {"A token from a server in trouble is not trusted.", 500, `{"access_token":"t","expires_in":7200}`, "HTTP status 500"},
		"ErrorWith500":   {"The errcode says more than the status.", 500, `{"errcode":40125,"errmsg":"invalid appsecret"}`, "invalid appsecret"},
		"Redirect":       {"A redirect is not followed: it would carry the AppSecret along.", 302, ``, "the answer (HTTP status 302) is not JSON as WeChat writes it"},
		"LongToken":      {"Each token is held in memory.", 200, `{"access_token":"` + strings.Repeat("a", 4<<10+1) + `","expires_in":7200}`, "the answer has no usable access_token"},
		"LongErrcode":    {"It may be a part of a secret.", 200, `{"errcode":1311768467463790320,"errmsg":"x"}`, "the answer has no usable errcode"},
		"Huge":           {"", 200, `{"access_token":"` + strings.Repeat("a", 64<<10) + `","expires_in":7200}`, "the answer is larger than 64 KiB"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for endpoint, ask := range endpoints(t) {
				got, err := ask(answering(t, tc.status, tc.body))
				var msg string
				if failed, ok := errors.AsType[*wechat.Error](err); ok {
					msg = failed.Message
				} else if err != nil {
					t.Fatalf("got a %T, want a *wechat.Error", err)
				}
				if msg != tc.want {
					t.Errorf("%s: %s\nmessage %q, want %q", endpoint, tc.reason, msg, tc.want)
				}
				if (got.Value != "") != (tc.want == "") {
					t.Errorf("%s: %s\ntoken %q with error %v", endpoint, tc.reason, got.Value, err)
				}
			}
		})
	}
}

// net/http repeats a GET when a kept connection breaks. One call must stay one
// call: a second one revokes the token of the first.
func TestClassicCallsOnce(t *testing.T) {
	s, c := fake(t, wechattest.Config{})
	if _, err := c.ClassicToken(t.Context(), creds); err != nil {
		t.Fatal(err)
	}
	s.SetFault(wechattest.Fault{Kind: wechattest.FaultLost, Count: 1})
	_, err := c.ClassicToken(t.Context(), creds)
	if failed, ok := errors.AsType[*wechat.Error](err); !ok || !failed.Lost {
		t.Errorf("got %v, want a lost answer", err)
	}
	if got := s.Counts(creds.AppID).Classic.Rotations; got != 2 {
		t.Errorf("WeChat rotated %d times on 2 calls", got)
	}
}

func TestRequestIsJSON(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Content-Type")
		io.WriteString(w, `{"access_token":"a b","expires_in":7200}`)
	}))
	t.Cleanup(srv.Close)
	_, err := wechat.NewClient(srv.URL, time.Second).StableToken(t.Context(), creds, false)
	if err == nil {
		t.Error("a token with a blank in it was taken")
	}
	if got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestMessageIsBounded(t *testing.T) {
	_, err := answering(t, 200, `{"errcode":-1,"errmsg":"`+strings.Repeat("é", 5000)+`"}`).StableToken(t.Context(), creds, false)
	if failed, ok := errors.AsType[*wechat.Error](err); !ok || len(failed.Message) > 256 || failed.Message == "" || strings.ContainsRune(failed.Message, '\uFFFD') {
		t.Errorf("message of %d bytes", len(failed.Message))
	}
}

// An errmsg that quotes the token beside it shows nothing.
func TestErrmsgDoesNotShowTheToken(t *testing.T) {
	_, err := answering(t, 200, `{"errcode":-1,"errmsg":"busy, keep TOKENTOKENTOKEN","access_token":"TOKENTOKENTOKEN","expires_in":7200}`).StableToken(t.Context(), creds, false)
	if err == nil || strings.Contains(err.Error(), "TOKENTOKEN") {
		t.Errorf("got %v", err)
	}
}

// WeChat may answer, or a gateway, with the AppSecret in any writing.
func TestErrmsgDoesNotShowTheAppSecret(t *testing.T) {
	const secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	spaced := strings.Join(strings.Split(secret, ""), " ")
	for name, tc := range map[string]struct {
		errmsg string
		want   string
	}{
		"UpperCase": {strings.ToUpper(secret), "[redacted]"},
		"Cut":       {secret[20:] + "/" + secret[:9], "[redacted]/[redacted]"},
		"Spaced":    {spaced, "[redacted]"},
		"ZeroWidth": {strings.ReplaceAll(spaced, " ", "\u200b"), "[redacted]"},
		"Hex":       {hex.EncodeToString([]byte(secret)), "[redacted]"},
		"Base64":    {base64.StdEncoding.EncodeToString([]byte(`{"appid":"wx","secret":"` + secret + `"}`)), "eyJhcHBpZCI6Ind4Iiwic2VjcmV0Ijoi[redacted]ifQ=="},
		"Percent":   {strings.ReplaceAll(fmt.Sprintf(" % x", secret), " ", "%25"), "[redacted]"},
		"Address":   {"0f1e:2d3c:4b5a:6978:8796:a5b4:c3d2:e1f0", "[redacted]"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, before := range []string{"invalid ip ", "invalid appsecret ", "dear customer, "} {
				body, err := json.Marshal(map[string]any{"errcode": 40164, "errmsg": before + tc.errmsg})
				if err != nil {
					t.Fatal(err)
				}
				_, err = answering(t, http.StatusOK, string(body)).StableToken(t.Context(), wechat.Credentials{AppID: "wx", AppSecret: secret}, false)
				got, ok := errors.AsType[*wechat.Error](err)
				if want := before + tc.want; !ok || got.Message != want || got.CallerIP.IsValid() {
					t.Errorf("got %v from %v, want %q", err, got.CallerIP, want)
				}
			}
		})
	}
}
