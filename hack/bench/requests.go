package main

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"wechattoken.io/operator/internal/testcluster"
)

// counts are requests by verb and resource, as "APPLY secrets".
type counts map[string]int

// resources are those that the manager may use, but for leases: the API server has
// some too. Watches are counted when they end, so they are left out.
var resources = []string{"secrets", "wechattokens", "events", "pods"}

// counted reports whether requests of a name count here.
func counted(what string) bool {
	verb, resource, _ := strings.Cut(what, " ")
	resource, _, _ = strings.Cut(resource, "/")
	return slices.Contains(resources, resource) && verb != "WATCH" && verb != "WATCHLIST"
}

// requests counts those that the bench makes.
type requests struct {
	mu   sync.Mutex
	made counts
}

// count is a wrapper for the transport of a client.
func (r *requests) count(next http.RoundTripper) http.RoundTripper { return counting{r, next} }

type counting struct {
	*requests

	next http.RoundTripper
}

func (c counting) RoundTrip(req *http.Request) (*http.Response, error) {
	what := testcluster.RequestOf(req)
	resp, err := c.next.RoundTrip(req)
	if counted(what) && err == nil { // otherwise the API server has hardly seen it
		c.mu.Lock()
		c.made[what]++
		c.mu.Unlock()
	}
	return resp, err
}

// requestsOfManager are all that the API server has had so far, less those of the
// bench.
func (w *world) requestsOfManager() counts {
	metrics, err := w.clients.RESTClient().Get().AbsPath("/metrics").DoRaw(w.Context())
	w.must(err)
	w.counted.mu.Lock()
	defer w.counted.mu.Unlock()
	all := counts(testcluster.RequestsIn(string(metrics))).less(w.counted.made)
	maps.DeleteFunc(all, func(what string, _ int) bool { return !counted(what) })
	return all
}

// less is what is left of c without what is in other.
func (c counts) less(other counts) counts {
	left := maps.Clone(c)
	for what, n := range other {
		left[what] -= n
	}
	maps.DeleteFunc(left, func(_ string, n int) bool { return n == 0 })
	return left
}

// sum is how many there are.
func (c counts) sum() (sum int) {
	for _, n := range c {
		sum += n
	}
	return sum
}

// writes are those that are no reads.
func (c counts) writes() counts {
	w := maps.Clone(c)
	maps.DeleteFunc(w, func(what string, _ int) bool {
		return strings.HasPrefix(what, "GET ") || strings.HasPrefix(what, "LIST ")
	})
	return w
}
