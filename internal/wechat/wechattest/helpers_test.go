package wechattest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

const (
	appID  = "wx0123456789abcdef"
	other  = "wxfedcba9876543210"
	secret = "a-secret-for-tests"
)

// client talks to a fake as a program would.
type client struct {
	t    testing.TB
	http *http.Client
	base string
}

// inMemory is a server with one account, and a client that needs no network.
func inMemory(tb testing.TB, cfg wechattest.Config) (*wechattest.Server, client) {
	tb.Helper()
	s := wechattest.New(cfg)
	s.AddAccount(appID, secret)
	return s, client{tb, &http.Client{Transport: s.Transport()}, "https://api.weixin.qq.com"}
}

// answer is whatever came back.
type answer struct {
	AccessToken string   `json:"access_token"`
	ExpiresIn   int64    `json:"expires_in"`
	Errcode     int      `json:"errcode"`
	Errmsg      string   `json:"errmsg"`
	IPList      []string `json:"ip_list"`
	Ticket      string   `json:"ticket"`

	status      int
	contentType string
	date        string
	raw         string
}

type stableRequest struct {
	GrantType    string `json:"grant_type,omitempty"`
	AppID        string `json:"appid,omitempty"`
	Secret       string `json:"secret,omitempty"`
	ForceRefresh bool   `json:"force_refresh,omitempty"`
}

func (c client) stable() answer {
	return c.post(stableRequest{GrantType: grant, AppID: appID, Secret: secret})
}

func (c client) forced() answer {
	return c.post(stableRequest{GrantType: grant, AppID: appID, Secret: secret, ForceRefresh: true})
}

const grant = "client_credential"

func (c client) post(body stableRequest) answer {
	c.t.Helper()
	return c.must(http.MethodPost, "/cgi-bin/stable_token", asJSON(body))
}

func (c client) classic() answer { return c.classicOf(grant, appID, secret) }

func (c client) classicOf(grant, appID, secret string) answer {
	c.t.Helper()
	q := url.Values{"grant_type": {grant}, "appid": {appID}, "secret": {secret}}
	return c.must(http.MethodGet, "/cgi-bin/token?"+q.Encode(), nil)
}

func (c client) business(token string) answer {
	c.t.Helper()
	return c.list(http.MethodGet, "/cgi-bin/get_api_domain_ip", token)
}

// list makes the business call of a path.
func (c client) list(method, path, token string) answer {
	c.t.Helper()
	return c.must(method, path+"?access_token="+url.QueryEscape(token), nil)
}

func (c client) ticket(token, kind string) answer {
	c.t.Helper()
	return c.must(http.MethodGet, "/cgi-bin/ticket/getticket?access_token="+url.QueryEscape(token)+"&type="+kind, nil)
}

// must sends a request that has to be answered with JSON.
func (c client) must(method, path string, body io.Reader) answer {
	c.t.Helper()
	a, err := c.try(c.t.Context(), method, path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(a.raw), &a); err != nil && a.status == http.StatusOK {
		c.t.Fatalf("%s %s: %v in %q", method, path, err, a.raw)
	}
	return a
}

// try sends a request that may fail.
func (c client) try(ctx context.Context, method, path string, body io.Reader) (answer, error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, contentType: resp.Header.Get("Content-Type"), date: resp.Header.Get("Date"), raw: string(raw)}, err
}

// valid checks with a business call which of the tokens are valid.
func (c client) valid(tokens ...string) []bool {
	c.t.Helper()
	out := make([]bool, len(tokens))
	for i, t := range tokens {
		out[i] = c.business(t).Errcode == 0
	}
	return out
}

// trailer is the request id at the end of an errmsg.
var trailer = regexp.MustCompile(` rid: ([0-9a-f]{8})-[0-9a-f]{8}-[0-9a-f]{8}$`)

// failure is an answer without what changes from call to call.
type failure struct {
	Status  int
	Errcode int
	Errmsg  string
}

func (a answer) failure() failure {
	return failure{a.status, a.Errcode, trailer.ReplaceAllString(a.Errmsg, " rid")}
}
