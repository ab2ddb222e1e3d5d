package wechattest

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// reply is the outcome of a call, before it takes the form of an answer.
type reply struct {
	status  int // HTTP status, if it is not 200
	errcode int
	errmsg  string // without the trailer
	body    any    // of a success

	rotated      bool // the call made a new token or ticket
	forceRefused bool // it was forced, and that was too soon or too often
	invalidToken bool // it came with a token that is not valid
}

// tokenBody is the success of both token endpoints. It has no errcode.
type tokenBody struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
}

func grant(t *token, now time.Time, rotated bool) reply {
	return reply{body: tokenBody{AccessToken: t.value, ExpiresIn: t.remaining(now)}, rotated: rotated}
}

func refuse(code int, req *request) reply {
	return reply{errcode: code, errmsg: message(code, req)}
}

// render gives a reply its form on the wire.
func (s *Server) render(r reply, now time.Time) answer {
	if r.status != 0 {
		return page(r.status)
	}
	body := r.body
	if r.errcode != 0 {
		body = struct {
			Errcode int    `json:"errcode"`
			Errmsg  string `json:"errmsg"`
		}{r.errcode, trailed(r.errmsg, s.clock(now))}
	}
	return s.jsonAnswer(body)
}

// textPlainEvery is how often JSON comes as text/plain. That it does has been
// observed, how often has not.
const textPlainEvery = 8

const (
	typeJSON  = "application/json; encoding=utf-8"
	typePlain = "text/plain"
	typeHTML  = "text/html"
)

func (s *Server) jsonAnswer(body any) answer {
	ans := answer{status: 200, contentType: typeJSON, body: marshal(body)}
	if s.answers.Add(1)%textPlainEvery == 0 {
		ans.contentType = typePlain
	}
	return ans
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("wechattest: " + err.Error()) // only our own types come here
	}
	return b
}

// systemErrorNull is the errcode of the observed answer that carries a null
// token.
const systemErrorNull = -1000

// messages are the errmsg of the errcodes, as observed or, failing that, as
// the tables of getAccessToken and getStableAccessToken put it.
var messages = map[int]string{
	-1000: "system error",
	-1:    "system error",
	40001: "invalid credential, access_token is invalid or not latest",
	40002: "invalid grant_type",
	40013: "invalid appid",
	40014: "invalid access_token",
	40097: "invalid args",
	40125: "invalid appsecret",
	40243: "AppSecret is frozen",
	41001: "access_token missing",
	41002: "appid missing",
	41004: "appsecret missing",
	42001: "access_token expired",
	43001: "require GET method",
	43002: "require POST method",
	43003: "require https",
	45009: "reach max api daily quota limit",
	45011: "api minute-quota reach limit  mustslower  retry next minute",
	45035: "access clientip is not registered, not in ip-white-list",
	47001: "data format error",
	48001: "api unauthorized",
	48004: "api forbidden for irregularities, view detail on mp.weixin.qq.com",
	48017: "this ip of api.weixin.qq.com is retired", // the wording is not known
	50001: "user unauthorized",
	50002: "user limited",
	50004: "user not allow to use accesstoken, maybe for punishment",
	50007: "account is frozen",
	61024: "should use component access_token",
	89501: "ip is waiting for the confirmation of the administrator",
	89503: "this ip needs the confirmation of the administrator",
	89506: "this ip was refused twice by the administrator, try again after 24 hours",
	89507: "this ip was refused by the administrator, try again after 1 hour",
}

// stableHint is what WeChat puts behind some messages about classic tokens
// (observed, also of a business call whose quota was spent).
const stableHint = ", could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"

func message(code int, req *request) string {
	switch {
	case code == 40164:
		return notAllowed(req)
	case code == 61004:
		return "access clientip is not registered requestIP: " + req.from.String()
	case (code == 45009 || code == 40001) && req.classic():
		return messages[code] + stableHint
	}
	if m, ok := messages[code]; ok {
		return m
	}
	return "error"
}

// notAllowed is the message that holds the caller's address. For IPv4 it has
// been observed; for IPv6 it has not.
func notAllowed(req *request) string {
	v6 := req.from.String()
	if req.from.Is4() {
		v6 = "::ffff:" + v6
	}
	return fmt.Sprintf("invalid ip %s ipv6 %s, not in whitelist", req.from, v6)
}

// trailed adds a new request id, unless the message brings a trailer along.
// The id's first part is the Unix time (observed).
func trailed(message string, now time.Time) string {
	if strings.Contains(message, "rid: ") || strings.Contains(message, "hint: [") {
		return message
	}
	return message + " rid: " + rid(now)
}

func rid(now time.Time) string {
	var random [8]byte
	rand.Read(random[:]) // never fails
	return fmt.Sprintf("%08x-%08x-%08x", uint32(now.Unix()),
		binary.BigEndian.Uint32(random[:4]), binary.BigEndian.Uint32(random[4:]))
}
