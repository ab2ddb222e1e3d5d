package wechat_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// What breaks on the wire is reported in the same words each time, and without a
// URL: that of /cgi-bin/token holds the AppSecret.
func TestNetworkFailuresShowNoSecret(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)

	faulty := func(kind wechattest.FaultKind) *wechat.Client {
		s := wechattest.New(wechattest.Config{})
		s.AddAccount(creds.AppID, creds.AppSecret)
		s.SetFault(wechattest.Fault{Kind: kind})
		srv := httptest.NewServer(s)
		t.Cleanup(srv.Close)
		return wechat.NewClient(srv.URL, 200*time.Millisecond)
	}
	to := func(baseURL string) *wechat.Client { return wechat.NewClient(baseURL, time.Second) }

	cases := map[string]struct {
		client *wechat.Client
		want   string
		lost   bool
	}{
		"Refused":      {to(gone.URL), "the connection was refused", false},
		"UnknownHost":  {to("http://no-such-host.invalid"), "the host name does not resolve", false},
		"NotTLS":       {to(strings.Replace(gone.URL, "http:", "https:", 1)), "the connection was refused", false},
		"Certificate":  {to(tls.URL), "the server's TLS certificate is not accepted: its authority is unknown", false},
		"BadURL":       {to("http://a b"), "the base URL of the WeChat API is not valid", false},
		"Hang":         {faulty(wechattest.FaultHang), "no whole answer within 200ms", true},
		"Reset":        {faulty(wechattest.FaultReset), "the connection broke before the whole answer was there", true},
		"Truncated":    {faulty(wechattest.FaultTruncated), "the connection broke before the whole answer was there", true},
		"LostAnswer":   {faulty(wechattest.FaultLost), "the connection broke before the whole answer was there", true},
		"EchoedAtYou":  {faulty(wechattest.FaultEcho), "", true},
		"GarbageBytes": {faulty(wechattest.FaultGarbage), "the answer (HTTP status 200) is not JSON as WeChat writes it", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for endpoint, ask := range endpoints(t) {
				_, err := ask(tc.client)
				failed, ok := errors.AsType[*wechat.Error](err)
				if !ok {
					t.Fatalf("%s: got %v, want a *wechat.Error", endpoint, err)
				}
				if tc.want != "" && failed.Message != tc.want {
					t.Errorf("%s: message %q, want %q", endpoint, failed.Message, tc.want)
				}
				if failed.Lost != tc.lost {
					t.Errorf("%s: lost = %t, want %t", endpoint, failed.Lost, tc.lost)
				}
				for _, form := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
					if strings.Contains(form, creds.AppSecret) || strings.Contains(form, "secret=") {
						t.Errorf("%s: the error shows the AppSecret: %s", endpoint, form)
					}
				}
			}
		})
	}
}

func TestGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, c := fake(t, wechattest.Config{})
	_, err := c.StableToken(ctx, creds, false)
	if failed, ok := errors.AsType[*wechat.Error](err); !ok || failed.Message != "the call was given up" {
		t.Errorf("got %v", err)
	}
}

// A proxy of the environment is used for both endpoints; its failure says so.
// The client reads the environment once per process, so the transport is asked
// here as http.ProxyFromEnvironment would be.
func TestProxyFailureSaysSo(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &url.URL{Scheme: "http", Host: gone.Addr().String()}
	gone.Close()
	through := &http.Transport{Proxy: http.ProxyURL(proxy)}
	t.Cleanup(through.CloseIdleConnections)
	c := wechat.NewClientWithTransports("https://api.weixin.qq.com", time.Second, through, through)
	_, err = c.ClassicToken(t.Context(), creds)
	if failed, ok := errors.AsType[*wechat.Error](err); !ok || failed.Message != "the proxy cannot be reached" {
		t.Errorf("got %v, want a sentence about the proxy", err)
	}
}

type broken struct{ err error }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.err }

// What net/http says in words of its own is not repeated: around it is the URL,
// and /cgi-bin/token has the AppSecret there.
func TestUnknownFailureShowsNothing(t *testing.T) {
	for endpoint, ask := range endpoints(t) {
		via := broken{errors.New("malformed HTTP response")}
		_, err := ask(wechat.NewClientWithTransports("https://wechat", time.Second, via, via))
		failed, ok := errors.AsType[*wechat.Error](err)
		if !ok || failed.Message != "the request failed on its way" || !failed.Lost {
			t.Errorf("%s: got %#v", endpoint, err)
		}
	}
}

// A call that was given up may have been carried out.
func TestGivenUpIsLost(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	_, err := wechat.NewClient(srv.URL, 5*time.Second).StableToken(ctx, creds, true)
	if failed, ok := errors.AsType[*wechat.Error](err); !ok || !failed.Lost {
		t.Errorf("got %#v, want a lost answer", err)
	}
}
