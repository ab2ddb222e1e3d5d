package wechattest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// overLoopback is a server with one account behind a real connection.
func overLoopback(t *testing.T, start func(http.Handler) *httptest.Server) (*wechattest.Server, client) {
	t.Helper()
	s := wechattest.New(wechattest.Config{})
	s.AddAccount(appID, secret)
	web := start(s)
	t.Cleanup(web.Close)
	c := web.Client()
	// Go sends a GET again if a connection that was used before breaks.
	c.Transport.(*http.Transport).DisableKeepAlives = true
	return s, client{t, c, web.URL}
}

func startHTTP2(h http.Handler) *httptest.Server {
	web := httptest.NewUnstartedServer(h)
	web.EnableHTTP2 = true
	web.StartTLS()
	return web
}

func TestTokensOverTheWire(t *testing.T) {
	s, c := overLoopback(t, httptest.NewServer)
	token := c.stable()
	if diff := cmp.Diff([]bool{true, true}, c.valid(token.AccessToken, c.classic().AccessToken)); diff != "" {
		t.Errorf("valid (-want +got):\n%s", diff)
	}
	if got := s.Calls()[0].From.String(); got != "127.0.0.1" {
		t.Errorf("caller: got %s, want 127.0.0.1", got)
	}
}

func TestChunkedBodyOverTheWire(t *testing.T) {
	_, c := overLoopback(t, httptest.NewServer)
	got, err := c.try(t.Context(), http.MethodPost, "/cgi-bin/stable_token", struct{ io.Reader }{strings.NewReader("{}")})
	if err != nil || got.status != 412 {
		t.Errorf("got status %d, %v, want 412", got.status, err)
	}
}

func TestBrokenConnectionsOverTheWire(t *testing.T) {
	cases := map[string]struct {
		reason    string
		start     func(http.Handler) *httptest.Server
		fault     wechattest.FaultKind
		want      error // nil: any
		rotations int
	}{
		"Reset":     {reason: "The connection is reset before the call.", start: httptest.NewServer, fault: wechattest.FaultReset, want: syscall.ECONNRESET},
		"Lost":      {reason: "It is reset after the call.", start: httptest.NewServer, fault: wechattest.FaultLost, want: syscall.ECONNRESET, rotations: 1},
		"Truncated": {reason: "It ends in the middle of the answer.", start: httptest.NewServer, fault: wechattest.FaultTruncated, want: io.ErrUnexpectedEOF, rotations: 1},
		"ResetTLS":  {reason: "Under TLS it is the same.", start: httptest.NewTLSServer, fault: wechattest.FaultReset, want: syscall.ECONNRESET},
		"LostHTTP2": {reason: "HTTP/2 breaks the stream instead.", start: startHTTP2, fault: wechattest.FaultLost, rotations: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := overLoopback(t, tc.start)
			s.SetFault(wechattest.Fault{Kind: tc.fault, Count: 1})
			_, err := c.try(t.Context(), http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret="+secret, nil)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("%s\ngot %v, want %v", tc.reason, err, tc.want)
			}
			if got := s.Counts(appID).Classic.Rotations; got != tc.rotations {
				t.Errorf("%s\nrotations: got %d, want %d", tc.reason, got, tc.rotations)
			}
		})
	}
}

func TestHangEndsWhenTheCallerGoes(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"GET":     nil,
		"JSON":    asJSON(stableRequest{GrantType: grant, AppID: appID, Secret: secret}),
		"Chunked": struct{ io.Reader }{strings.NewReader("{}")},
	} {
		t.Run(name, func(t *testing.T) {
			// Close of the test server, at the end, waits for the handler.
			s, c := overLoopback(t, httptest.NewServer)
			s.SetFault(wechattest.Fault{Kind: wechattest.FaultHang})
			method := http.MethodPost
			if body == nil {
				method = http.MethodGet
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := c.try(ctx, method, "/cgi-bin/stable_token", body); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want a timeout", err)
			}
		})
	}
}
