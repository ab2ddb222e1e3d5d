package wechat

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode"

	"wechattoken.io/operator/internal/redact"
)

// Error is a call without the answer it was made for. Two equal failures give
// equal Errors but for RID: nothing else in one changes from answer to answer.
type Error struct {
	Code       int64      // errcode; zero when none came
	Message    string     // errmsg without its trailer, or what else went wrong
	HTTPStatus int        // zero when no answer came
	CallerIP   netip.Addr // the address WeChat saw; only with an errcode whose remedy names it

	// RID names the call at WeChat: its page API 诊断 explains it. It is empty where
	// none came.
	RID string

	// Lost says that the call may have been carried out though no answer of
	// WeChat's arrived.
	Lost bool
}

func (e *Error) Error() string {
	if e.Code == 0 {
		return "wechat: " + e.Message
	}
	return fmt.Sprintf("wechat: errcode %d: %s", e.Code, e.Message)
}

// Meaning is what the errcode means. An unknown errcode, and none, is Transient.
func (e *Error) Meaning() Errcode { return meaning(e.Code) }

// Unknown reports whether WeChat has answered an errcode of which nothing is known,
// not even whether it passes.
func (e *Error) Unknown() bool {
	_, known := errcodes[e.Code]
	return e.Code != 0 && !known && e.Class() == Transient
}

// Class says what ends the failure.
func (e *Error) Class() Class { return e.Meaning().Class }

// Remedy is what somebody has to do, in one sentence without full stop.
func (e *Error) Remedy() string {
	caller := "this cluster's address"
	if e.CallerIP.IsValid() {
		caller = e.CallerIP.String()
	}
	return strings.ReplaceAll(e.Meaning().Remedy, callerMark, caller)
}

// InvalidToken reports whether the error, of a call with an access_token, says
// that this token is invalid.
func (e *Error) InvalidToken() bool { return e.Meaning().InvalidToken }

var (
	// trailer is what WeChat puts behind an errmsg, new in each answer:
	// " rid: …", ", rid: …", " hint: […]".
	trailer = regexp.MustCompile(`(?s),?\s*(rid:|hints?:\s*\[).*$`)

	// rid finds the id of the call: "rid: 62bd3be0-1f6c4d2a-3d1c7b5e".
	rid = regexp.MustCompile(`\brid:\s*([0-9A-Za-z]+(?:-[0-9A-Za-z]+)+)`)

	// callerIP finds the address in "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not
	// in whitelist" and "access clientip is not registered requestIP: 1.2.3.4".
	callerIP = regexp.MustCompile(`(?i)(?:invalid ip|requestip:)\s*([0-9a-f.:]+)`)
)

// callerMark in a Remedy is where the address goes that WeChat saw.
const callerMark = "{caller}"

// maxRID bounds Error.RID, in bytes. WeChat's have 26.
const maxRID = 64

// maxMessage bounds Error.Message, in bytes.
const maxMessage = 256

// answered is the Error for an errcode.
func answered(code int64, errmsg string, status int, secrets ...string) *Error {
	e := &Error{Code: code, HTTPStatus: status}
	if m := rid.FindStringSubmatch(errmsg); m != nil && len(m[1]) <= maxRID && redact.Secrets(m[1], secrets...) == m[1] {
		e.RID = m[1]
	}
	errmsg = trailer.ReplaceAllString(errmsg, "")
	e.Message = clean(errmsg, secrets...)
	if m := callerIP.FindStringSubmatch(errmsg); m != nil && strings.Contains(e.Meaning().Remedy, callerMark) {
		// The 32 hex digits of an AppSecret are an IPv6 address, too.
		addr, err := netip.ParseAddr(strings.TrimRight(m[1], ".:"))
		if all := addr.Unmap().StringExpanded(); err == nil && redact.Secrets(all, secrets...) == all {
			e.CallerIP = addr.Unmap()
		}
	}
	return e
}

// clean makes an errmsg fit to be shown: on one line, nothing in it that moves a
// terminal's cursor, without the secrets should they be echoed, and of bounded
// length. A text that is known gets no other treatment: a secret can stand behind
// each of them.
func clean(errmsg string, secrets ...string) string {
	msg := strings.Join(strings.FieldsFunc(errmsg, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " ")
	msg = redact.Secrets(msg, secrets...)
	if len(msg) > maxMessage {
		msg = msg[:maxMessage]
	}
	return strings.ToValidUTF8(msg, "")
}
