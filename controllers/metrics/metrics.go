// Package metrics defines what the operator reports to Prometheus, and collects it.
//
// The series of the WeChatTokens are made from the cache when they are scraped: a
// scrape reads nothing from the API server, calls nobody, and finds no series of a
// WeChatToken that is gone. Counters and histograms count what the other packages
// report here. No label and no value has a secret, an appid or a message.
package metrics

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/wechat"
)

// Metrics are the metrics of one process.
type Metrics struct {
	tokens client.Reader
	spent  func(types.NamespacedName) (budget.Spent, bool)

	// ahead is how far our clock is ahead of WeChat's; nil before the first answer.
	ahead atomic.Pointer[time.Duration]

	refreshes *prometheus.CounterVec
	reports   *prometheus.CounterVec
	elsewhere prometheus.Counter
	repairs   prometheus.Counter
	requests  *prometheus.HistogramVec
	rotations prometheus.Histogram
}

// Values of the label result.
const (
	resultSuccess   = "success"
	resultUnchanged = "unchanged"
	resultFailure   = "failure"
)

// Values of the label errcode that are no errcode.
const (
	errcodeNone  = "none"  // WeChat did not answer
	errcodeOther = "other" // one that package wechat does not know
)

// New makes the metrics. tokens lists WeChatTokens from the cache; spent is what the
// account of a WeChatToken has spent, if this process knows it; verdicts are what may
// become of a report of an invalid token.
//
// The series of all counters are there from the start: increase() does not see the
// step from nothing to 1.
func New(tokens client.Reader, spent func(types.NamespacedName) (budget.Spent, bool), verdicts []string) *Metrics {
	m := &Metrics{
		tokens:    tokens,
		spent:     spent,
		refreshes: defRefreshes.counters(),
		reports:   defReports.counters(),
		elsewhere: defElsewhere.counter(),
		repairs:   defRepairs.counter(),
		requests:  defRequests.histograms(),
		rotations: prometheus.NewHistogram(defRotations.histogramOpts()),
	}
	m.refreshes.WithLabelValues(resultSuccess, "")
	m.refreshes.WithLabelValues(resultUnchanged, "")
	for _, errcode := range errcodes() {
		m.refreshes.WithLabelValues(resultFailure, errcode)
	}
	for _, verdict := range verdicts {
		m.reports.WithLabelValues(verdict)
	}
	return m
}

// errcodes are the values of the label errcode of a failure.
func errcodes() []string {
	all := []string{errcodeNone, errcodeOther}
	for _, code := range wechat.Codes() {
		all = append(all, strconv.FormatInt(code, 10))
	}
	return all
}

// errcodeOf is the value of the label errcode. Unknown codes share one: WeChat has
// thousands.
func errcodeOf(code int64) string {
	switch {
	case code == 0:
		return errcodeNone
	case slices.Contains(wechat.Codes(), code):
		return strconv.FormatInt(code, 10)
	default:
		return errcodeOther
	}
}

// Called counts a call to WeChat, of any kind. endpoint is the last part of its
// path.
func (m *Metrics) Called(endpoint string, took time.Duration, failed *wechat.Error) {
	result := resultSuccess
	if failed != nil {
		result = resultFailure
	}
	m.requests.WithLabelValues(endpoint, result).Observe(took.Seconds())
}

// Refreshed counts a call for a token. isNew says that it brought another token than
// the one in use.
func (m *Metrics) Refreshed(isNew bool, failed *wechat.Error) {
	switch {
	case failed != nil:
		m.refreshes.WithLabelValues(resultFailure, errcodeOf(failed.Code)).Inc()
	case isNew:
		m.refreshes.WithLabelValues(resultSuccess, "").Inc()
	default:
		m.refreshes.WithLabelValues(resultUnchanged, "").Inc()
	}
}

// Rotated notes that a Secret was written with a token for which it has waited since
// then. The zero time is that of a Secret that has not waited.
func (m *Metrics) Rotated(since time.Time) {
	if !since.IsZero() {
		m.rotations.Observe(time.Since(since).Seconds())
	}
}

// Reported counts a report of an invalid token.
func (m *Metrics) Reported(verdict string) { m.reports.WithLabelValues(verdict).Inc() }

// ReplacedElsewhere counts a token that somebody else has replaced.
func (m *Metrics) ReplacedElsewhere() { m.elsewhere.Inc() }

// Repaired counts a repair of a Secret.
func (m *Metrics) Repaired() { m.repairs.Inc() }

// Skewed notes how far our clock is ahead of WeChat's.
func (m *Metrics) Skewed(ahead time.Duration) { m.ahead.Store(&ahead) }

// Describe makes it a prometheus.Collector.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, own := range fromCache {
		descs <- own.desc
	}
	for _, c := range m.counted() {
		c.Describe(descs)
	}
}

func (m *Metrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.refreshes, m.reports, m.elsewhere, m.repairs, m.requests, m.rotations}
}

// untilListed is how long a scrape waits for a cache that is being filled. It then
// has the rest.
const untilListed = time.Second

// Collect makes it a prometheus.Collector.
func (m *Metrics) Collect(found chan<- prometheus.Metric) {
	for _, c := range m.counted() {
		c.Collect(found)
	}
	if ahead := m.ahead.Load(); ahead != nil {
		found <- &sample{desc: defSkew.desc, value: ahead.Seconds()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), untilListed)
	defer cancel()
	var all v1alpha1.WeChatTokenList
	if err := m.tokens.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return // the cache is not filled yet, as /readyz shows
	}
	now := time.Now()
	for i := range all.Items {
		m.collect(&all.Items[i], now, found)
	}
}
