package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"wechattoken.io/operator/internal/testcluster"
)

// counts are requests by verb and resource, as "APPLY secrets".
type counts map[string]int

// resources are those that the manager may use. Watches are counted when they
// end, so they are left out.
var resources = []string{"secrets", "wechattokens", "events", "leases", "pods"}

// requests counts those that clients make.
type requests struct {
	mu   sync.Mutex
	made counts
}

func newRequests() *requests { return &requests{made: counts{}} }

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

func (r *requests) soFar() counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.made)
}

// counted reports whether requests of a name count here.
func counted(what string) bool {
	verb, resource, _ := strings.Cut(what, " ")
	resource, _, _ = strings.Cut(resource, "/")
	return slices.Contains(resources, resource) && !strings.HasPrefix(verb, "WATCH")
}

// requestsIn reads the counts out of the metrics of an API server.
func requestsIn(metrics string) counts {
	all := counts(testcluster.RequestsIn(metrics))
	maps.DeleteFunc(all, func(what string, _ int) bool { return !counted(what) })
	return all
}

// requests are all that the API server has had so far.
func (w *world) requests(ctx context.Context) (counts, error) {
	metrics, err := w.clients.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the metrics of the API server: %w", err)
	}
	return requestsIn(string(metrics)), nil
}

// less is what is left of c without what is in others.
func (c counts) less(others ...counts) counts {
	left := maps.Clone(c)
	for _, o := range others {
		for what, n := range o {
			left[what] -= n
		}
	}
	maps.DeleteFunc(left, func(_ string, n int) bool { return n == 0 })
	return left
}

// sum is how many there are. Leases do not count: the API server has some too.
func (c counts) sum() (sum int) {
	for what, n := range c {
		if !strings.HasSuffix(what, " leases") {
			sum += n
		}
	}
	return sum
}

// writes are those that are no reads.
func (c counts) writes() counts {
	w := maps.Clone(c)
	maps.DeleteFunc(w, func(what string, _ int) bool {
		return strings.HasPrefix(what, "GET ") || strings.HasPrefix(what, "LIST ") || strings.HasSuffix(what, " leases")
	})
	return w
}

func (c counts) String() string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%d %s", c[what], what))
	}
	return strings.Join(parts, ", ")
}
