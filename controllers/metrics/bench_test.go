package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
)

// A scrape must stay cheap: with 10,000 WeChatTokens there are 60,000 series. The
// test allows half as much again as was measured by
//
//	go test ./controllers/metrics -run '^$' -bench Scrape
//
// for each WeChatToken, which does not depend on the machine.
func TestScrapeAllocatesLittle(t *testing.T) {
	const allocs, bytes = 31, 3_370
	const count = 1000
	got := testing.Benchmark(func(b *testing.B) {
		b.Helper()
		benchmarkScrape(b, count)
	})
	if got.N == 0 {
		t.Fatal("it failed; go test ./controllers/metrics -run '^$' -bench Scrape says why")
	}
	t.Log(got, got.MemString())
	if most := int64(count * allocs * 3 / 2); got.AllocsPerOp() > most {
		t.Errorf("%d allocations, want at most %d", got.AllocsPerOp(), most)
	}
	if most := int64(count * bytes * 3 / 2); got.AllocedBytesPerOp() > most {
		t.Errorf("%d bytes allocated, want at most %d", got.AllocedBytesPerOp(), most)
	}
}

func BenchmarkScrape(b *testing.B) {
	for _, count := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			b.Helper()
			benchmarkScrape(b, count)
		})
	}
}

// benchmarkScrape measures what a scrape costs the manager with so many
// WeChatTokens: they are listed, and their series are written and compressed as
// Prometheus asks for it.
func benchmarkScrape(b *testing.B, count int) {
	b.Helper()
	now := time.Now()
	var tokens []*v1alpha1.WeChatToken
	for i := range count {
		tokens = append(tokens, weChatToken(named(fmt.Sprintf("token-%d", i)), valid(now)))
	}
	registry := prometheus.NewRegistry()
	m := New(holding(tokens...), func(types.NamespacedName) (budget.Spent, bool) { return budget.Spent{}, true }, verdicts)
	if err := registry.Register(m); err != nil {
		b.Fatal(err)
	}
	collected := 0
	families, err := registry.Gather()
	for _, family := range families {
		if family.GetName() == defReady.Name {
			collected = len(family.GetMetric())
		}
	}
	if collected != count {
		b.Fatalf("%d of %d WeChatTokens have a series: %v", collected, count, err)
	}
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	request := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept-Encoding", "gzip")
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if size = answer.Body.Len(); answer.Code != http.StatusOK || size == 0 {
			b.Fatalf("status %d", answer.Code)
		}
	}
	b.ReportMetric(float64(size), "answer-bytes")
}
