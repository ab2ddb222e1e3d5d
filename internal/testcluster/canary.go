package testcluster

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Canaries are secrets that must be seen nowhere but in Secrets.
type Canaries struct {
	mu    sync.Mutex
	signs map[string]string // how a secret may be written, to what that is
}

// Add adds a secret with all the ways to write it, or a part of it that helps.
func (c *Canaries) Add(what, secret string) {
	quoted, err := json.Marshal(secret)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.signs == nil {
		c.signs = map[string]string{}
	}
	for how, written := range map[string]string{
		"as it is":            secret,
		"cut off":             secret[:16],
		"without its start":   secret[len(secret)-16:],
		"as in a query":       url.QueryEscape(secret),
		"as in a path":        url.PathEscape(secret),
		"as in JSON":          strings.Trim(string(quoted), `"`),
		"as in Go":            strings.Trim(strconv.Quote(secret), `"`),
		"as in HTML":          html.EscapeString(secret),
		"in base64":           base64.StdEncoding.EncodeToString([]byte(secret))[:20],
		"in hex":              fmt.Sprintf("%x", secret)[:32],
		"in a dump of memory": fmt.Sprintf("% x", secret[:8]),
	} {
		c.signs[written] = what + " " + how
	}
}

// In says which of the secrets stand in text, and where first.
func (c *Canaries) In(text string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []string
	for written, what := range c.signs {
		if i := strings.Index(text, written); i >= 0 {
			start := strings.LastIndexByte(text[:i], '\n') + 1
			found = append(found, fmt.Sprintf("%s, in %.200q", what, text[max(start, i-100):i]))
		}
	}
	slices.Sort(found)
	return found
}

// issued is a secret in an answer of WeChat's.
var issued = regexp.MustCompile(`"(access_token|ticket)":"([^"]+)"`)

// FakeWeChat is [FakeWeChat], and adds every token and ticket that leaves it.
func (c *Canaries) FakeWeChat(tb testing.TB, cfg wechattest.Config) (fake *wechattest.Server, url string) {
	tb.Helper()
	fake = wechattest.New(cfg)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fake.ServeHTTP(&recorder{ResponseWriter: w, seen: func(body []byte) {
			for _, m := range issued.FindAllSubmatch(body, -1) {
				what := "a ticket"
				if string(m[1]) == "access_token" {
					what = "a token"
				}
				c.Add(what, string(m[2][:min(len(m[2]), 512)]))
			}
		}}, r)
	}))
	tb.Cleanup(server.Close)
	tb.Cleanup(server.CloseClientConnections) // those that hang would hold up Close
	return fake, server.URL
}

// recorder shows each piece of an answer to seen. An answer of the fake has one.
type recorder struct {
	http.ResponseWriter

	seen func([]byte)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.seen(p)
	return r.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
