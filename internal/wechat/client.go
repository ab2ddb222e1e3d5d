// Package wechat asks WeChat for access_tokens, whether one is valid, and for
// tickets, and says what WeChat's errors mean. It knows nothing of Kubernetes and
// keeps nothing.
//
// No error of this package holds an AppSecret or a token, whatever WeChat or a
// proxy answers.
package wechat

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wechattoken.io/operator/internal/wechat/wire"
)

const (
	// maxHeader bounds the headers before an answer, those of interim answers
	// (1xx) with them, in bytes. Real ones stay below 1 KiB; by default
	// net/http takes 10 MiB, and up to 90 MiB of memory for them.
	maxHeader = 64 << 10
)

// Credentials identify one WeChat account.
type Credentials struct {
	AppID     string
	AppSecret string
}

// Token is an access_token and how long it is still valid, as WeChat says.
type Token struct {
	Value string
	Life  time.Duration
}

// Ticket is a ticket and its expires_in, which is that of a new ticket: WeChat
// answers the same however old the ticket is.
type Ticket struct {
	Value string
	Life  time.Duration
}

// Client calls the WeChat API. Use NewClient.
type Client struct {
	// Skew, if it is set before the first call, gets after each answer how far the
	// clock of this machine is ahead of WeChat's.
	Skew func(ahead time.Duration)

	baseURL string
	timeout time.Duration
	stable  *http.Client
	classic *http.Client
}

// NewClient returns a Client of the API at baseURL, such as
// https://api.weixin.qq.com. A call that has no whole answer after timeout has
// failed. Proxies are taken from the environment, as HTTPS_PROXY.
func NewClient(baseURL string, timeout time.Duration) *Client {
	stable := newTransport(timeout)
	stable.MaxIdleConnsPerHost = 128 // one host takes all calls; the default of 2 would make most of them shake hands anew

	// net/http repeats a GET by itself when a kept connection turns out to be
	// closed. A repeated /cgi-bin/token revokes the token that the first one
	// issued, so each of these calls has a connection of its own.
	classic := newTransport(timeout)
	classic.DisableKeepAlives = true

	return NewClientWithTransports(baseURL, timeout, stable, classic)
}

// newTransport is one as http.DefaultTransport, but for its bounds. The timeout
// of a call bounds all that the call waits for. It does not end a dial or a
// handshake, with which net/http goes on in case that another call comes: a
// server that says nothing would gather connections without end.
func newTransport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		OnProxyConnectResponse: refusedByProxy,
		DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
		TLSHandshakeTimeout:    timeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: wire.MaxBody}, // the default is 4 MiB for each call
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// refusedByProxy is the error of a proxy that makes no connection to WeChat. net/http
// itself has the text of the status only, which is the proxy's own.
func refusedByProxy(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{answer.StatusCode}
}

// NewClientWithTransports returns a Client that sends the calls of
// /cgi-bin/token through classic, and all others through stable.
func NewClientWithTransports(baseURL string, timeout time.Duration, stable, classic http.RoundTripper) *Client {
	return &Client{
		baseURL: strings.TrimSuffix(baseURL, "/"),
		timeout: timeout,
		stable:  &http.Client{Transport: stable, CheckRedirect: noRedirect},
		classic: &http.Client{Transport: classic, CheckRedirect: noRedirect},
	}
}

// noRedirect keeps the AppSecret from following a redirect to another host.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// StableToken calls POST /cgi-bin/stable_token ("getStableAccessToken").
// Without force it returns the current token, and a new one only in the last 5
// minutes of it. With force it revokes the current token and returns a new one,
// unless WeChat finds it too soon (30 s) or too often (20 a day): then it may
// return the old one. The error is an *Error.
func (c *Client) StableToken(ctx context.Context, creds Credentials, force bool) (Token, error) {
	body, err := json.Marshal(struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}{"client_credential", creds.AppID, creds.AppSecret, force})
	if err != nil {
		return Token{}, &Error{Message: "the request cannot be written as JSON"}
	}
	// A reader of known length makes net/http send Content-Length: WeChat
	// answers a chunked body with 412, and a form with 41002.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.baseURL+"/cgi-bin/stable_token", bytes.NewReader(body))
	if err != nil {
		return Token{}, badBaseURL()
	}
	req.Header.Set("Content-Type", "application/json")
	return c.token(c.stable, req, creds)
}

// ClassicToken calls GET /cgi-bin/token ("getAccessToken"). Each call issues a
// new token and revokes the one before within 5 minutes, also when its answer is
// lost. The error is an *Error.
func (c *Client) ClassicToken(ctx context.Context, creds Credentials) (Token, error) {
	query := url.Values{
		"grant_type": {"client_credential"},
		"appid":      {creds.AppID},
		"secret":     {creds.AppSecret},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.baseURL+"/cgi-bin/token?"+query.Encode(), nil)
	if err != nil {
		return Token{}, badBaseURL()
	}
	return c.token(c.classic, req, creds)
}

// Valid asks WeChat whether a token is valid, with GET
// /cgi-bin/get_api_domain_ip ("getApiDomainIp"), which every account may call.
// The error, of a call without an answer to that, is an *Error.
func (c *Client) Valid(ctx context.Context, token string) (bool, error) {
	query := url.Values{"access_token": {token}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.baseURL+"/cgi-bin/get_api_domain_ip?"+query.Encode(), nil)
	if err != nil {
		return false, badBaseURL()
	}
	body, status, failed := c.send(c.stable, req)
	if failed != nil {
		return false, failed
	}
	return parseValid(body, status, token)
}

// Ticket asks for the ticket of a kind, "jsapi" or "wx_card", with GET
// /cgi-bin/ticket/getticket. WeChat gives everybody the same one until it
// makes the next, about every two hours; a call revokes none. The error is an
// *Error; 40001, 40014 and 42001 are about the access_token.
func (c *Client) Ticket(ctx context.Context, token, kind string) (Ticket, error) {
	query := url.Values{"access_token": {token}, "type": {kind}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.baseURL+"/cgi-bin/ticket/getticket?"+query.Encode(), nil)
	if err != nil {
		return Ticket{}, badBaseURL()
	}
	body, status, failed := c.send(c.stable, req)
	if failed != nil {
		return Ticket{}, failed
	}
	return parseTicket(body, status, token)
}

func badBaseURL() *Error { return &Error{Message: "the base URL of the WeChat API is not valid"} }

// token sends req and reads the token in its answer.
func (c *Client) token(via *http.Client, req *http.Request, creds Credentials) (Token, error) {
	body, status, err := c.send(via, req)
	if err != nil {
		return Token{}, err
	}
	return parse(body, status, creds)
}

// send makes a call within the timeout and returns the answer. Of a body
// that is too large it reads one byte more than the bound.
func (c *Client) send(via *http.Client, req *http.Request) (body []byte, status int, failed *Error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.timeout)
	defer cancel()

	sent := time.Now()
	resp, err := via.Do(req.WithContext(ctx))
	if err != nil {
		return nil, 0, networkError(err, c.timeout)
	}
	answered := time.Now()
	defer resp.Body.Close()

	// Behind a 101 is a bare connection, and no timeout holds for it.
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, resp.StatusCode, nil
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, wire.MaxBody+1))
	if err != nil {
		return nil, 0, networkError(err, c.timeout)
	}
	if at := clock(resp.Header, body); c.Skew != nil && !at.IsZero() {
		c.Skew(skew(sent, answered, at))
	}
	return body, resp.StatusCode, nil
}
