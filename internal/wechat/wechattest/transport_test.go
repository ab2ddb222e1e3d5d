package wechattest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestTransportEndsWithItsContext(t *testing.T) {
	gone := errors.New("the caller has gone")
	cases := map[string]struct {
		reason string
		fault  wechattest.Fault
		cfg    wechattest.Config
	}{
		"Hang":    {reason: "A hanging call ends with its context.", fault: wechattest.Fault{Kind: wechattest.FaultHang}},
		"Slow":    {reason: "A slow call ends with its context.", fault: wechattest.Fault{Kind: wechattest.FaultSlow, Delay: time.Minute}},
		"Latency": {reason: "So does every call.", fault: wechattest.Fault{Kind: wechattest.FaultTextPlain}, cfg: wechattest.Config{Latency: time.Minute}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := inMemory(t, tc.cfg)
				s.SetFault(tc.fault)
				ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, gone)
				defer cancel()
				start := time.Now()
				_, err := c.try(ctx, http.MethodGet, "/cgi-bin/get_api_domain_ip", nil)
				if !errors.Is(err, gone) {
					t.Errorf("%s\ngot %v, want %v", tc.reason, err, gone)
				}
				if got := time.Since(start); got != 5*time.Second {
					t.Errorf("%s\nit took %v, want 5s", tc.reason, got)
				}
			})
		})
	}
}

func TestTransportHonoursTheClientsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{})
		s.SetFault(wechattest.Fault{Kind: wechattest.FaultHang})
		c.http.Timeout = 3 * time.Second
		start := time.Now()
		_, err := c.try(t.Context(), http.MethodGet, "/cgi-bin/get_api_domain_ip", nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v, want a timeout after 3s", err, time.Since(start))
		}
	})
}

func TestTransportDoesNotStartWhenItsContextHasEnded(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.try(ctx, http.MethodGet, "/cgi-bin/token", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if got := len(s.Calls()); got != 0 {
		t.Errorf("calls: got %d, want none", got)
	}
}

func TestTransportIsAWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := inMemory(t, wechattest.Config{})
		body := &closing{Reader: strings.NewReader("{}")}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api2.weixin.qq.com/cgi-bin/stable_token", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 2
		resp, err := s.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if !body.closed {
			t.Error("the request's body is not closed")
		}
		if resp.ContentLength != int64(len(raw)) || resp.Request != req || resp.Status != "200 OK" {
			t.Errorf("got Content-Length %d for %d bytes, status %q", resp.ContentLength, len(raw), resp.Status)
		}
		if diff := cmp.Diff(time.Now().UTC().Format(http.TimeFormat), resp.Header.Get("Date")); diff != "" {
			t.Errorf("Date (-want +got):\n%s", diff)
		}
	})
}

// closing remembers that it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}
