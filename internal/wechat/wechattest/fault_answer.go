package wechattest

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"
)

// fail is the answer to a call that is not processed.
func (s *Server) fail(f Fault, req *request) answer {
	switch f.Kind {
	case FaultErrcode:
		msg := f.Message
		if msg == "" {
			msg = message(f.Code, req)
		}
		return s.render(reply{errcode: f.Code, errmsg: msg}, req.at)
	case FaultStatus:
		return page(or(f.Status, http.StatusBadGateway))
	case FaultHang:
		return answer{never: f.Delay == 0, delay: f.Delay, reset: true}
	case FaultReset:
		return answer{reset: true}
	case FaultGarbage:
		return answer{status: 200, contentType: typeJSON, body: []byte("\x1f\x8b\x00<not json>{\"access_token\":")}
	case FaultNull:
		return s.jsonAnswer(struct {
			Errcode     int     `json:"errcode"`
			Errmsg      string  `json:"errmsg"`
			AccessToken *string `json:"access_token"`
			ExpiresIn   int64   `json:"expires_in"`
		}{Errcode: systemErrorNull, Errmsg: trailed("system error", s.clock(req.at))})
	case FaultEmpty:
		return s.jsonAnswer(s.success(req))
	case FaultHuge:
		return s.jsonAnswer(s.success(req, string(bytes.Repeat([]byte("A"), or(f.Bytes, hugeBytes)))))
	default:
		return echo(req)
	}
}

// success is what a call succeeds with, holding these values.
func (s *Server) success(req *request, values ...string) any {
	if req.endpoint == Business {
		return ipBody{append([]string{}, values...)} // written [], not null
	}
	if req.endpoint == Ticket {
		return s.ticketBody(strings.Join(values, ""))
	}
	return tokenBody{AccessToken: strings.Join(values, ""), ExpiresIn: int64(s.cfg.Life / time.Second)}
}

func echo(req *request) answer {
	ans := page(http.StatusBadGateway)
	ans.body = fmt.Appendf(ans.body, "<pre>%s %s</pre>\n<pre>%s</pre>\n",
		req.endpoint, html.EscapeString(req.uri), html.EscapeString(string(req.body)))
	return ans
}

// spoil is the answer to a call that was processed.
func (f Fault) spoil(rep reply, render func(reply) answer) answer {
	if f.Kind == FaultBadTTL {
		switch body := rep.body.(type) {
		case tokenBody:
			body.ExpiresIn = f.ExpiresIn
			rep.body = body
		case ticketBody:
			body.ExpiresIn = f.ExpiresIn
			rep.body = body
		}
	}
	ans := render(rep)
	switch f.Kind {
	case FaultTruncated:
		ans.half = true
	case FaultLost:
		ans.reset = true
	case FaultSlow:
		ans.delay = f.Delay
	case FaultTextPlain:
		ans.contentType = typePlain
	}
	return ans
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}
