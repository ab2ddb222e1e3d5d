//go:build integration

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"

	"wechattoken.io/operator/internal/testcluster"
)

// effects stands between a manager and the rest of the world, the API server
// and WeChat. It sees every effect that the manager has there: each call for a
// token, and each write of a Secret or a status. It lets one happen at a time,
// and can strike the manager down at the edge of any of them.
type effects struct {
	ns         *namespace
	kubeconfig string // leads to the API server
	weChat     string // leads to WeChat

	started chan struct{} // closed when struck may be called
	victim  *testcluster.Program

	oneAtATime sync.Mutex
	more       *sync.Cond        // one more has happened, or the manager was killed
	strikeAt   string            // the point at which the manager is to die
	waits      map[string]string // what waits for another effect, such as "call 1"
	struck     bool              // it was killed: nothing passes any more
	points     []string          // those that were passed, such as "before call 1"
	happened   map[string]int    // how often each effect has happened

	mu    sync.Mutex
	reads map[string]int // how often a Secret or a lease was read, by namespace/name
}

// newEffects stands before the API server and a WeChat that is a handler.
// strikeAt is a point, or empty.
func newEffects(n *namespace, weChat http.Handler, strikeAt string) *effects {
	n.T.Helper()
	e := &effects{ns: n, started: make(chan struct{}), strikeAt: strikeAt, happened: map[string]int{}, reads: map[string]int{}}
	e.more = sync.NewCond(&e.oneAtATime)
	e.kubeconfig = n.Proxy(n.T, func(api http.RoundTripper) testcluster.RoundTrip {
		return func(r *http.Request) (*http.Response, error) { return e.toAPIServer(api, r) }
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.toWeChat(weChat, w, r) }))
	n.T.Cleanup(server.Close)
	n.T.Cleanup(server.CloseClientConnections) // calls that hang would hold up Close
	e.weChat = server.URL
	return e
}

// start starts the manager that has these effects.
func (e *effects) start(flags ...string) *testcluster.Program {
	e.ns.T.Helper()
	e.victim = e.ns.start(e.weChat, append([]string{"--kubeconfig=" + e.kubeconfig}, flags...)...)
	close(e.started)
	return e.victim
}

var (
	errStruck  = errors.New("the manager was killed")
	errRefused = errors.New("the API server refused the write") // for a conflict: nothing has happened
)

// happen lets an effect happen, unless the manager is or gets struck before it.
func (e *effects) happen(what string, do func() error) error {
	e.oneAtATime.Lock()
	defer e.oneAtATime.Unlock()
	next := func() string { return fmt.Sprintf("%s %d", what, e.happened[what]+1) }
	for first := e.waits[next()]; first != "" && e.happened[first] == 0 && !e.struck; {
		e.more.Wait()
	}
	point := next()
	if !e.pass("before " + point) {
		return errStruck
	}
	switch err := do(); {
	case errors.Is(err, errRefused):
		return nil
	case err != nil:
		return err
	}
	e.happened[what]++
	e.more.Broadcast()
	if !e.pass("after " + point) {
		return errStruck
	}
	return nil
}

// pass reports whether the manager gets past a point.
func (e *effects) pass(point string) bool {
	if e.struck {
		return false
	}
	if !slices.Contains(e.points, point) { // a write that was refused is tried again
		e.points = append(e.points, point)
	}
	if point != e.strikeAt {
		return true
	}
	<-e.started
	e.victim.Kill()
	e.struck = true
	e.more.Broadcast()
	return false
}

// had returns the points that were passed and how often each effect happened.
func (e *effects) had() (points []string, happened map[string]int) {
	e.oneAtATime.Lock()
	defer e.oneAtATime.Unlock()
	return slices.Clone(e.points), maps.Clone(e.happened)
}

// looks is how often the manager has read a Secret or a lease.
func (e *effects) looks(namespace, name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reads[path.Join(namespace, name)]
}

// toWeChat passes a call on. Only the whole answer counts as one.
func (e *effects) toWeChat(weChat http.Handler, w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	// WeChat goes on when its caller ends.
	call := r.WithContext(context.WithoutCancel(r.Context()))
	what := "call"
	if r.URL.Path == "/cgi-bin/get_api_domain_ip" {
		what = "question"
	}
	if err := e.happen(what, func() error { weChat.ServeHTTP(answer, call); return nil }); err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// toAPIServer passes a request on, and a write only as a whole.
func (e *effects) toAPIServer(transport http.RoundTripper, r *http.Request) (*http.Response, error) {
	what, read := effectOf(r)
	if what == "" {
		if read != "" {
			e.mu.Lock()
			e.reads[read]++
			e.mu.Unlock()
		}
		return transport.RoundTrip(r)
	}
	var body []byte
	var err error
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	var resp *http.Response
	err = e.happen(what, func() error {
		// So does the API server.
		write := r.Clone(context.WithoutCancel(r.Context()))
		write.Body, write.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		var err error
		if resp, err = transport.RoundTrip(write); err != nil {
			return err
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(answer))
		if err == nil && resp.StatusCode == http.StatusConflict {
			return errRefused
		}
		return err
	})
	return resp, err
}

// effectOf says what a request to the API server writes, such as "write Secret
// shop" or "write status of shop", or else which single Secret or lease it reads,
// as namespace/name. Events are left out: they follow from the status.
func effectOf(r *http.Request) (writes, reads string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	i := slices.Index(parts, "namespaces")
	if i < 0 || len(parts) < i+4 {
		return "", ""
	}
	namespace, kind, name := parts[i+1], parts[i+2], parts[i+3]
	switch {
	case (kind == "secrets" || kind == "leases") && r.Method == http.MethodGet:
		return "", path.Join(namespace, name)
	case kind == "secrets" && r.Method == http.MethodDelete:
		return "delete Secret " + name, ""
	case kind == "secrets":
		return "write Secret " + name, ""
	case kind == "wechattokens" && r.Method != http.MethodGet:
		return "write status of " + name, ""
	default:
		return "", ""
	}
}
