//go:build integration

package consumers

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wechattoken.io/operator/internal/testcluster"
)

// requestLog has what the reconciler asks of the API server.
type requestLog struct {
	mu     sync.Mutex
	all    []string                           // such as "PATCH deployments/shop", or "GET running pods" of a scan
	before func(*http.Request)                // may hold a request up
	answer func(*http.Request) *http.Response // may answer instead of the API server
}

func (l *requestLog) tap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if !req.URL.Query().Has("watch") {
			_, path, _ := strings.Cut(req.URL.Path, "/namespaces/")
			_, path, _ = strings.Cut(path, "/")
			if req.URL.Query().Has("fieldSelector") {
				path = "running " + path
			}
			l.mu.Lock()
			l.all = append(l.all, req.Method+" "+path)
			l.mu.Unlock()
		}
		if l.before != nil {
			l.before(req)
		}
		if l.answer != nil {
			if answer := l.answer(req); answer != nil {
				return answer, nil
			}
		}
		return next.RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

// seen are the requests so far that begin with one of the words.
func (l *requestLog) seen(words ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.all), func(r string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(r, word) })
	})
}

// effects are the writes so far, without events, and the lists of pods but
// those of scans.
func (l *requestLog) effects() []string {
	return slices.DeleteFunc(l.seen("PATCH", "POST", "PUT", "DELETE", "GET pods"), func(r string) bool { return strings.Contains(r, " events") })
}

// settle waits until the reconciler has had nothing to ask for a second, and returns
// how many effects there were.
func (n *namespace) settle() int {
	n.T.Helper()
	last, since := -1, time.Now()
	testcluster.Eventually(n.T, "the reconciler is quiet", func() error {
		if count := len(n.requests.seen("")); count != last {
			last, since = count, time.Now()
		}
		if time.Since(since) < time.Second {
			return errors.New("not yet")
		}
		return nil
	})
	return len(n.requests.effects())
}

// refuse makes the API server refuse some requests, as long as the result is true.
func (n *namespace) refuse(those func(*http.Request) bool) *atomic.Bool {
	var refusing atomic.Bool
	refusing.Store(true)
	n.requests.answer = func(req *http.Request) *http.Response {
		if !refusing.Load() || !those(req) {
			return nil
		}
		body := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"denied by the policy of the house: first","reason":"Forbidden","code":403}`
		return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: req}
	}
	return &refusing
}
