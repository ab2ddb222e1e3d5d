package wechat

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"wechattoken.io/operator/internal/redact"
)

// Class says what ends a failure.
type Class int

// The classes.
const (
	// Transient passes by itself: WeChat is busy, out of reach, or answers
	// something unknown.
	Transient Class = iota
	// MinuteQuota passes with the next minute.
	MinuteQuota
	// DayQuota passes with the next day, or when somebody clears the quota.
	DayQuota
	// WrongRequest ends when somebody changes the appid or the AppSecret.
	WrongRequest
	// Refused ends when somebody acts in the WeChat console.
	Refused
)

// classes holds the codes of the two token endpoints, from the pages of
// getAccessToken and getStableAccessToken on developers.weixin.qq.com, and
// those seen in the wild. A code that is not here is Transient, so that an
// unknown answer is tried again.
var classes = map[int64]Class{
	-1:    Transient, // system busy
	-1000: Transient, // system error, with access_token null

	45011: MinuteQuota,
	45009: DayQuota,

	40001: WrongRequest, // the AppSecret is wrong, or of another account
	40002: WrongRequest, // grant_type
	40013: WrongRequest, // no such appid
	40125: WrongRequest, // the AppSecret is wrong
	41002: WrongRequest, // appid missing
	41004: WrongRequest, // AppSecret missing
	61024: WrongRequest, // the account is managed by a third-party platform

	40164: Refused, // the caller's IP is not on the allow-list
	40243: Refused, // the AppSecret is frozen
	48004: Refused, // the API is forbidden for irregularities
	50002: Refused, // the user is limited
	50004: Refused, // the token API is forbidden to this account
	50007: Refused, // the account is frozen
	61004: Refused, // the caller's IP is not registered
	89501: Refused, // the IP waits for the administrator's confirmation
	89503: Refused, // the same; the administrator got a message
	89506: Refused, // refused twice: this IP is blocked for 24 hours
	89507: Refused, // refused once: this IP is blocked for 1 hour
}

// Codes are the errcodes that are known, in order.
func Codes() []int64 { return slices.Sorted(maps.Keys(classes)) }

// Error is a call without the answer it was made for. Two equal failures give
// equal Errors: nothing in one changes from answer to answer.
type Error struct {
	Code       int64      // errcode; zero when none came
	Message    string     // errmsg without its trailer, or what else went wrong
	HTTPStatus int        // zero when no answer came
	CallerIP   netip.Addr // the address WeChat saw; only with 40164 and 61004

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

// Class says what ends the failure.
func (e *Error) Class() Class { return classes[e.Code] }

// InvalidToken reports whether the error, of a call with an access_token, says
// that this token is invalid.
func (e *Error) InvalidToken() bool { return invalidToken(e.Code) }

var (
	// trailer is what WeChat puts behind an errmsg, new in each answer:
	// " rid: …", ", rid: …", " hint: […]".
	trailer = regexp.MustCompile(`(?s),?\s*(rid:|hints?:\s*\[).*$`)

	// callerIP finds the address in "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not
	// in whitelist" and "access clientip is not registered requestIP: 1.2.3.4".
	callerIP = regexp.MustCompile(`(?i)(?:invalid ip|requestip:)\s*([0-9a-f.:]+)`)
)

// maxMessage bounds Error.Message, in bytes.
const maxMessage = 256

// answered is the Error for an errcode.
func answered(code int64, errmsg string, status int, secrets ...string) *Error {
	errmsg = trailer.ReplaceAllString(errmsg, "")
	e := &Error{Code: code, HTTPStatus: status, Message: clean(errmsg, secrets...)}
	if m := callerIP.FindStringSubmatch(errmsg); m != nil && (code == 40164 || code == 61004) {
		if addr, err := netip.ParseAddr(strings.TrimRight(m[1], ".:")); err == nil {
			e.CallerIP = addr.Unmap()
		}
	}
	return e
}

// clean makes an errmsg fit to be shown: without the secrets should they be
// echoed, on one line, nothing in it that moves a terminal's cursor, and of
// bounded length.
func clean(errmsg string, secrets ...string) string {
	msg := redact.Secrets(errmsg, secrets...)
	msg = strings.Join(strings.FieldsFunc(msg, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " ")
	msg = redact.Secrets(msg, secrets...) // what was on two lines may be one now
	if len(msg) > maxMessage {
		msg = msg[:maxMessage]
	}
	return strings.ToValidUTF8(msg, "")
}
