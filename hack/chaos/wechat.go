package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// call is a call to WeChat by a manager.
type call struct {
	wechattest.Call

	account account
	process int       // number of the manager process, from 1
	begun   time.Time // when it came in
	ended   time.Time // when its answer was out, or its caller away
	left    bool      // its caller did not wait for the end, which the fake notices a bit later
	token   string    // fingerprint of the token in the answer, empty if none can be read there; on Business of the one asked about

	// answered says that the caller was told all there was to tell: a token, or
	// of a business call whether one is valid.
	answered bool
}

// weChat is the fake, and who listens to what is asked of it.
type weChat struct {
	*wechattest.Server

	ledger *ledger
	number atomic.Uint32

	mu      sync.Mutex
	open    map[netip.Addr]*call
	strikes map[int]func() // by process: what to do at its next call for a token, once
}

func newWeChat(l *ledger) *weChat {
	w := &weChat{ledger: l, open: map[netip.Addr]*call{}, strikes: map[int]func(){}}
	w.Server = wechattest.New(wechattest.Config{
		Life: l.pace.life, Window: l.pace.window, Overlap: l.pace.overlap,
		ClassicPerDay:  -1, // compressed time has more rotations in a day than WeChat has calls
		BusinessPerDay: -1, // each consumer calls once a second, and several share an account
		Observe:        w.observe,
	})
	return w
}

// forManager serves the calls of the manager process that number tells. Each
// call comes from an address of its own, by which observe knows it.
func (w *weChat) forManager(number func() int) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c := &call{process: number(), begun: time.Now()}
		if asked := r.URL.Query().Get("access_token"); asked != "" {
			c.token = fingerprint(asked)
		}
		var from [16]byte
		from[0] = 0xfd // local, RFC 4193
		binary.BigEndian.PutUint32(from[12:], w.number.Add(1))
		address := netip.AddrFrom16(from)
		r.RemoteAddr = netip.AddrPortFrom(address, 1).String()
		w.mu.Lock()
		w.open[address] = c
		w.mu.Unlock()

		answer := &overheard{ResponseWriter: rw}
		w.ServeHTTP(answer, r)

		w.mu.Lock()
		delete(w.open, address)
		w.mu.Unlock()
		c.ended, c.left = time.Now(), r.Context().Err() != nil
		whole := c.Status == http.StatusOK && r.Context().Err() == nil &&
			slices.Contains([]wechattest.FaultKind{"", wechattest.FaultSlow, wechattest.FaultTextPlain}, c.Fault)
		if c.Endpoint != wechattest.Business && c.Errcode == 0 {
			value := answer.token()
			if c.Fault != wechattest.FaultHuge && value != "" {
				c.token = fingerprint(value)
				w.ledger.made(c, value)
			}
			whole = whole && value != ""
		}
		c.answered = whole
		w.ledger.called(*c)
	})
}

// observe is told of a call when it has been processed and before it is
// answered.
func (w *weChat) observe(seen wechattest.Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.open[seen.From]
	if c == nil {
		return // a consumer
	}
	c.Call = seen
	c.account = account{appID: seen.AppID, mode: v1alpha1.ModeStable}
	if seen.Endpoint == wechattest.Classic {
		c.account.mode = v1alpha1.ModeClassic
	}
	if seen.Endpoint == wechattest.Business {
		return
	}
	if strike := w.strikes[c.process]; strike != nil {
		delete(w.strikes, c.process)
		strike()
	}
}

// strike calls f in the moment of the next call for a token by a process: WeChat
// has carried it out, and nobody has heard the answer. It gives up after a while.
func (w *weChat) strike(ctx context.Context, process int, f func(), wait time.Duration) {
	struck, done := context.WithTimeout(ctx, wait)
	defer done()
	w.mu.Lock()
	w.strikes[process] = func() { f(); done() }
	w.mu.Unlock()
	<-struck.Done()
	w.mu.Lock()
	delete(w.strikes, process)
	w.mu.Unlock()
}

// overheard is an answer that is listened to.
type overheard struct {
	http.ResponseWriter

	body bytes.Buffer
}

// mostHeard bounds what is kept of an answer: a token is shorter.
const mostHeard = 4096

func (o *overheard) Write(b []byte) (int, error) {
	if o.body.Len() < mostHeard {
		o.body.Write(b)
	}
	return o.ResponseWriter.Write(b)
}

// Unwrap lets the fake break the connection.
func (o *overheard) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *overheard) token() string {
	var answer struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal(o.body.Bytes(), &answer) != nil {
		return ""
	}
	return answer.Token
}
