//go:build integration

package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// requests counts what one manager asks the API server for, reads included, and
// nobody else. A request counts when it arrives, before it has an effect: what
// the manager did before it wrote a status is counted when that status is seen.
type requests struct {
	kubeconfig string // leads to the API server

	mu   sync.Mutex
	made map[string]int // by what they were for, as "APPLY secrets"
}

func newRequests(n *namespace) *requests {
	n.T.Helper()
	q := &requests{made: map[string]int{}}
	q.kubeconfig = n.Proxy(n.T, func(api http.RoundTripper) testcluster.RoundTrip {
		return func(r *http.Request) (*http.Response, error) {
			q.mu.Lock()
			q.made[describe(r)]++
			q.mu.Unlock()
			return api.RoundTrip(r)
		}
	})
	return q
}

// soFar are those since the start of the manager.
func (q *requests) soFar() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.made)
}

// after returns what do costs, which brings about that many events. They are
// posted behind everything else.
func (q *requests) after(t *testing.T, events int, do func()) map[string]int {
	t.Helper()
	before := q.soFar()
	do()
	q.awaitEvents(t, before["POST events"]+events)
	time.Sleep(300 * time.Millisecond) // what would be too much may come a little later
	return since(before, q.soFar())
}

// writes are those of Secrets, WeChatTokens and events, without what a scrape asks.
func (q *requests) writes() map[string]int {
	writes := q.soFar()
	maps.DeleteFunc(writes, func(what string, _ int) bool {
		verb, _, _ := strings.Cut(what, " ")
		return slices.Contains([]string{"GET", "LIST", "WATCH"}, verb) || strings.HasSuffix(what, "reviews")
	})
	return writes
}

// awaitEvents waits until so many events were posted, as the last requests of all.
func (q *requests) awaitEvents(t *testing.T, events int) {
	t.Helper()
	testcluster.Eventually(t, "the events are posted", func() error {
		if got := q.soFar()["POST events"]; got < events {
			return fmt.Errorf("%d of %d", got, events)
		}
		return nil
	})
}

// since is what has been added to counts since before.
func since(before, now map[string]int) map[string]int {
	added := maps.Clone(now)
	for what, count := range before {
		if added[what] -= count; added[what] == 0 {
			delete(added, what)
		}
	}
	return added
}

// describe is [testcluster.RequestOf], and tells the others, such as those for
// discovery, by their path.
func describe(r *http.Request) string {
	if what := testcluster.RequestOf(r); what != "" {
		return what
	}
	return r.Method + " " + r.URL.Path
}

// A new token costs one call to WeChat and four requests: the AppSecret is read,
// the Secret and the status are written, and an event is posted. A forced refresh
// reads nothing: the watches have told what there is to know.
func TestRequestsOfAToken(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{OpenAccounts: true})
	q := newRequests(ns)
	m := ns.start(url, "--kubeconfig="+q.kubeconfig)
	m.AwaitReady()
	// The first token of a process also costs discovery.
	q.after(t, 1, func() {
		ns.create(newApp(v1alpha1.ModeStable, 1))
		ns.awaitReady()
	})

	apps := fleet(10)
	callsBefore := calls(fake)
	got := q.after(t, len(apps), func() {
		ns.create(apps...)
		ns.awaitReady()
	})
	want := map[string]int{
		"GET secrets":               len(apps),
		"APPLY secrets":             len(apps),
		"PATCH wechattokens/status": len(apps),
		"POST events":               len(apps),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests for %d new tokens (-want +got):\n%s", len(apps), diff)
	}
	if got := calls(fake) - callsBefore; got != len(apps) {
		t.Errorf("%d calls to WeChat for %d new tokens", got, len(apps))
	}

	forced := []app{apps[0], apps[1]} // of each mode one
	callsBefore = calls(fake)
	got = q.after(t, len(forced), func() {
		for _, a := range forced {
			ns.requestRefresh(a)
		}
		for _, a := range forced {
			ns.awaitRefreshed(a)
		}
	})
	want = map[string]int{
		"APPLY secrets":             len(forced),
		"PATCH wechattokens/status": len(forced),
		"POST events":               len(forced),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests for %d forced refreshes (-want +got):\n%s", len(forced), diff)
	}
	if got := calls(fake) - callsBefore; got != len(forced) {
		t.Errorf("%d calls to WeChat for %d forced refreshes", got, len(forced))
	}
	if code := m.Terminate(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
