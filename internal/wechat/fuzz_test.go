package wechat

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"wechattoken.io/operator/internal/wechat/wire"
)

const (
	fuzzSecret = "canary0secret0canary0secret0cana"
	fuzzToken  = "98_canary-token_canary-token"
	fuzzTicket = "HoagFKDcsGMVCIY2vOjf9canary-ticket"
)

// answers are what WeChat and the boxes before it have been seen to answer.
func answers() []string {
	const rid = "67b81456-7783352d-44cb33e5"
	all := []string{
		`{"access_token":"` + fuzzToken + `","expires_in":7200}`,
		`{"errcode":0,"errmsg":"ok","access_token":"` + fuzzToken + `","expires_in":7200}`,
		`{"errcode":-1000,"errmsg":"system error rid: ` + rid + `","access_token":null,"expires_in":0}`,
		`{"errcode":-1,"errmsg":"busy, keep ` + fuzzToken + `","access_token":"` + fuzzToken + `","expires_in":7200}`,
		`{"errcode":40125,"errmsg":"invalid appsecret ` + fuzzSecret + `, rid: ` + rid + `"}`,
		`{"errcode":0,"errmsg":"ok","ticket":"` + fuzzTicket + `","expires_in":7200}`,
		`{"errcode":0,"errmsg":"ok","ticket":"","expires_in":7200}`,
		`{"errcode":0,"errmsg":"ok","ticket":"` + fuzzTicket + `","expires_in":0}`,
		`{"errcode":48001,"errmsg":"api unauthorized, not even ` + fuzzTicket + ` rid: ` + rid + `","ticket":"` + fuzzTicket + `"}`,
		`{"ip_list":["101.226.62.77","101.226.62.78"]}`,
		`{"access_token":"98_t\u00e9","expires_in":7200}`,
		`{"access_token":"98_a\nb","expires_in":7200}`,
		`{"access_token":"` + fuzzToken + `","expires_in":2592001}`,
		`{"access_token":"` + fuzzToken + `","expires_in":9223372036854775807}`,
		`{"errcode":-1,"errmsg":"a\u0085b\u2028c\u202ed\u009b2Je\u200bf\u0000g\n"}`,
		`{"errcode":-1,"errmsg":"` + strings.Repeat("\u00e9", 300) + `"}`,
		`{}`, `null`, `[]`, ``, `{"errcode":`,
		"<html>\n<head><title>502 Bad Gateway</title></head>\n<pre>/cgi-bin/token?secret=" + fuzzSecret + "</pre></html>\n",
		"\x1f\x8b\x00<not json>{\"access_token\":",
	}
	for _, errmsg := range []string{
		"invalid ip 114.221.21.30 ipv6 ::ffff:114.221.21.30, not in whitelist rid: " + rid,
		"invalid ip 114.221.21.30 ipv6 ::ffff:114.221.21.30, not in whitelist, rid: " + rid,
		"invalid ip 119.253.43.19, not in whitelist",
		"invalid ip 119.253.43.19, not in whitelist hint: [jotvMa01143580]",
		"invalid appsecret rid: " + rid,
		"invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r rid: " + rid,
		"access_token expired rid: " + rid,
		"reach max api daily quota limit hint: [nl1a8a02641530!]",
		"api freq out of limit hints: [x]",
		"access clientip is not registered requestIP: 47.107.99.226 rid: " + rid,
	} {
		all = append(all, `{"errcode":40164,"errmsg":"`+errmsg+`"}`)
	}
	return all
}

// mask is what package redact puts instead of a secret.
const mask = "[redacted]"

// shows reports whether s shows the secret in a form that people or programs
// write. What the mask itself is made of reveals nothing.
func shows(s, secret string) bool {
	for _, form := range []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
	} {
		inMask := strings.ContainsAny(form, mask[:1]+mask[len(mask)-1:]) || strings.Contains(mask, form)
		if !inMask && strings.Contains(s, form) {
			return true
		}
	}
	return false
}

// ours are the messages of an Error without an errcode: none of it is from the
// wire, but for the status.
var ours = regexp.MustCompile(`^(the answer is larger than 64 KiB|the answer \(HTTP status \d+\) is not JSON as WeChat writes it|` +
	`HTTP status \d+|the answer has no usable (access_token|ticket|expires_in)|the answer has no ip_list)$`)

// FuzzParse gives all readers of answers any answer.
func FuzzParse(f *testing.F) {
	for _, body := range answers() {
		for _, status := range []uint16{200, 502} {
			f.Add([]byte(body), status, fuzzSecret)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, status uint16, secret string) {
		// As net/http delivers it.
		status = min(max(status, 100), 999)
		creds := Credentials{AppID: "wx0123456789abcdef", AppSecret: secret}

		var said struct {
			ErrCode     integer `json:"errcode"`
			ErrMsg      string  `json:"errmsg"`
			AccessToken string  `json:"access_token"`
			Ticket      string  `json:"ticket"`
			ExpiresIn   integer `json:"expires_in"`
		}
		// A field of a wrong type is bad only for the reader that wants it.
		text := bytes.TrimPrefix(body, []byte("\ufeff"))
		_ = json.Unmarshal(text, &said)
		good := json.Unmarshal(text, new(outcome)) == nil && len(body) <= wire.MaxBody && status == http.StatusOK && said.ErrCode == 0
		var listed struct {
			ErrCode integer  `json:"errcode"`
			ErrMsg  string   `json:"errmsg"`
			IPList  []string `json:"ip_list"`
		}
		valid := json.Unmarshal(text, &listed) == nil && len(body) <= wire.MaxBody && status == http.StatusOK && listed.ErrCode == 0 && len(listed.IPList) > 0

		token, err := parse(body, int(status), creds)
		if (token != Token{}) == (err != nil) {
			t.Errorf("got a token %t with error %v", token != Token{}, err)
		}
		if err == nil && (!good || token.Value != said.AccessToken || token.Life != time.Duration(said.ExpiresIn)*time.Second) {
			t.Errorf("a token was taken that nobody issued: %#v", token)
		}
		if err == nil && (!usable(token.Value) || token.Life <= 0 || token.Life > 30*24*time.Hour) {
			t.Errorf("a token was taken that cannot be used: %#v", token)
		}
		checkError(t, err, status, secret, said.AccessToken)

		got, err := parseValid(body, int(status), secret)
		if got && (err != nil || !valid) {
			t.Errorf("a token is valid that nobody spoke of: %v", err)
		}
		if !got && err == nil && listed.ErrCode != 40001 && listed.ErrCode != 40014 && listed.ErrCode != 42001 {
			t.Errorf("errcode %d made a token invalid", listed.ErrCode)
		}
		checkError(t, err, status, secret)

		ticket, err := parseTicket(body, int(status), secret)
		if (ticket != Ticket{}) == (err != nil) {
			t.Errorf("got a ticket %t with error %v", ticket != Ticket{}, err)
		}
		if err == nil && (!good || ticket.Value != said.Ticket || ticket.Life != time.Duration(said.ExpiresIn)*time.Second) {
			t.Errorf("a ticket was taken that nobody issued: %#v", ticket)
		}
		if err == nil && (!usable(ticket.Value) || ticket.Life <= 0 || ticket.Life > 30*24*time.Hour) {
			t.Errorf("a ticket was taken that cannot be used: %#v", ticket)
		}
		checkError(t, err, status, secret, said.Ticket)

		if said.ErrCode == 0 {
			return
		}
		// Equal failures read equal, whatever trailer they have.
		for _, trailer := range []string{" rid: %s", ", rid: %s", " hint: [%s]", " hints: [%s!]"} {
			var failed [2]*Error
			for i, id := range []string{"67b81456-7783352d-44cb33e5", "invalid ip 1.2.3.4"} {
				again, err := json.Marshal(map[string]any{"errcode": said.ErrCode, "errmsg": said.ErrMsg + fmt.Sprintf(trailer, id)})
				if err != nil {
					t.Fatal(err)
				}
				_, err = parse(again, int(status), creds)
				if failed[i], _ = errors.AsType[*Error](err); failed[i] != nil {
					failed[i].RID = ""
				}
			}
			if failed[0] == nil || failed[1] == nil {
				continue // with the trailer it is larger than the bound
			}
			if *failed[0] != *failed[1] {
				t.Errorf("with the trailer %q two equal failures are\n%#v and\n%#v", trailer, failed[0], failed[1])
			}
		}
	})
}

// usable is what a token must be: visible ASCII.
func usable(token string) bool {
	return token != "" && strings.IndexFunc(token, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' }) < 0
}

// checkError says what is wrong with an error of this package; nil is fine.
func checkError(t *testing.T, err error, status uint16, secrets ...string) {
	t.Helper()
	if err == nil {
		return
	}
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got a %T, want an *Error", err)
	}
	if failed.HTTPStatus != int(status) {
		t.Errorf("HTTP status %d, want %d", failed.HTTPStatus, status)
	}
	msg := failed.Message
	if failed.Code == 0 && !ours.MatchString(msg) {
		t.Errorf("a message is not ours: %q", msg)
	}
	if len(msg) > maxMessage || !utf8.ValidString(msg) || strings.IndexFunc(msg, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		t.Errorf("a message is too long, or not one line of UTF-8: %q", msg)
	}
	for _, secret := range secrets {
		if failed.Code != 0 && usable(secret) && (shows(msg, secret) || shows(failed.RID, secret)) {
			t.Errorf("a message shows %q: %q, rid %q", secret, msg, failed.RID)
		}
	}
}

// failures are the ways in which a call gets no answer; each quotes text where
// its kind quotes something.
func failures(text string) []error {
	return []error{
		errors.New(text),
		fmt.Errorf("malformed HTTP response %q", text),
		context.DeadlineExceeded,
		fmt.Errorf("%s: %w", text, context.Canceled),
		&net.DNSError{Err: text, Name: text, Server: text, IsTimeout: true},
		&net.OpError{Op: "dial", Net: text, Err: os.NewSyscallError(text, syscall.ECONNREFUSED)},
		&net.OpError{Op: "dial", Net: text, Err: syscall.EHOSTUNREACH},
		&net.OpError{Op: "proxyconnect", Net: "tcp", Err: errors.New(text)},
		&net.OpError{Op: "read", Net: text, Err: syscall.ECONNRESET},
		&net.OpError{Op: text, Err: &net.AddrError{Err: text, Addr: text}},
		&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{text}}, Host: text}},
		&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired, Detail: text}},
		&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.NotAuthorizedToSign, Detail: text}},
		&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{Cert: &x509.Certificate{DNSNames: []string{text}}}},
		tls.RecordHeaderError{Msg: text},
		fmt.Errorf("%s: %w", text, http.ErrSchemeMismatch),
		fmt.Errorf("%s: %w", text, io.ErrUnexpectedEOF),
		&url.Error{Op: text, URL: text, Err: io.EOF},
	}
}

type fails struct{ err error }

func (f fails) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// FuzzNetworkError lets each call fail on the wire: with a *url.Error, that is,
// which quotes the URL, and inside it something that quotes anything. The
// message depends only on the kind of the failure.
func FuzzNetworkError(f *testing.F) {
	for kind := range failures("") {
		f.Add(uint8(kind), "Get \"https://api.weixin.qq.com/cgi-bin/token?secret="+fuzzSecret+"\": EOF", fuzzSecret, fuzzToken)
	}
	f.Fuzz(func(t *testing.T, kind uint8, text, secret, token string) {
		i := int(kind) % len(failures(""))
		message := func(text, secret, token string) [4]Error {
			via := fails{failures(text)[i]}
			c := NewClientWithTransports("https://api.weixin.qq.com", time.Second, via, via)
			creds := Credentials{AppID: "wx0123456789abcdef", AppSecret: secret}
			_, stable := c.StableToken(t.Context(), creds, false)
			_, classic := c.ClassicToken(t.Context(), creds)
			_, valid := c.Valid(t.Context(), token)
			_, ticket := c.Ticket(t.Context(), token, "jsapi")
			var all [4]Error
			for i, err := range []error{stable, classic, valid, ticket} {
				failed, ok := errors.AsType[*Error](err)
				if !ok {
					t.Fatalf("got a %T, want an *Error", err)
				}
				all[i] = *failed
			}
			return all
		}
		want, got := message("", "", ""), message(text, secret, token)
		if want != got {
			t.Errorf("the message depends on more than the kind of the failure: %+v, without a text %+v", got, want)
		}
	})
}
