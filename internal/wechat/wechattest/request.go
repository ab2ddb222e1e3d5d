package wechattest

import (
	"io"
	"net/http"
	"net/netip"
	"time"
)

// maxBody bounds what is read of a request, in bytes.
const maxBody = 1 << 20

// request is a call, once read.
type request struct {
	endpoint Endpoint
	at       time.Time
	from     netip.Addr
	uri      string
	body     []byte

	grantType, appID, secret string
	force                    bool

	token string
	known *token // what token names, if it is known

	ticket TicketKind

	refused *reply // the answer to a call that cannot be read
}

func (r *request) refuse(code int) {
	rep := refuse(code, r)
	r.refused = &rep
}

// classic reports whether the call is about a classic token.
func (r *request) classic() bool {
	return r.endpoint == Classic || r.known != nil && r.known.classic
}

func (r *request) readBody(from *http.Request) {
	// A body that ends early is a bad body, and answered as such.
	r.body, _ = io.ReadAll(io.LimitReader(from.Body, maxBody))
}

// caller is the address a call comes from; invalid if it has none.
func caller(r *http.Request) netip.Addr {
	at, _ := netip.ParseAddrPort(r.RemoteAddr)
	return at.Addr().Unmap().WithZone("")
}
