package controllers

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// metrics is what the operator tells Prometheus. Of the WeChatTokens it tells what
// the cache holds and what this process remembers at the time of a scrape: nothing
// is read and nothing is written for it, and there is no series of what is gone.
// A nil one counts nothing.
type metrics struct {
	r *WeChatTokenReconciler

	// ahead is how far our clock is ahead of WeChat's; nil before the first answer.
	ahead atomic.Pointer[time.Duration]

	refreshes *prometheus.CounterVec
	reports   *prometheus.CounterVec
	requests  *prometheus.HistogramVec
	rotations prometheus.Histogram
}

// The endpoints of WeChat, as the label has them: the last part of their path.
const (
	endpointStable  = "stable_token"
	endpointClassic = "token"
	endpointLives   = "get_api_domain_ip"
	endpointTicket  = "getticket"
)

func endpointOf(mode v1alpha1.Mode) string {
	if mode == v1alpha1.ModeClassic {
		return endpointClassic
	}
	return endpointStable
}

// Values of the label result.
const (
	resultSuccess   = "success"
	resultUnchanged = "unchanged"
	resultFailure   = "failure"
)

// Values of the label errcode that are no errcode.
const (
	errcodeNone  = "none"  // no answer of WeChat's came
	errcodeOther = "other" // one that is not known here
)

// newMetrics makes the metrics of r, and has WeChat's clock told to them. The
// series of all counters are there from the start: increase() does not see the step
// from nothing to 1.
func newMetrics(r *WeChatTokenReconciler) *metrics {
	m := &metrics{
		r:         r,
		refreshes: metricRefreshes.counters(),
		reports:   metricReports.counters(),
		requests:  metricRequests.histograms(),
		rotations: prometheus.NewHistogram(prometheus.HistogramOpts{Name: metricRotations.Name, Help: metricRotations.Help, Buckets: metricRotations.Buckets}),
	}
	m.refreshes.WithLabelValues(resultSuccess, "")
	m.refreshes.WithLabelValues(resultUnchanged, "")
	for _, errcode := range errcodes() {
		m.refreshes.WithLabelValues(resultFailure, errcode)
	}
	for _, verdict := range []string{reportDead, reportAlive, reportOutdated, reportUnanswered} {
		m.reports.WithLabelValues(verdict)
	}
	r.WeChat.Skew = func(ahead time.Duration) { m.ahead.Store(&ahead) }
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

// errcodeOf is the value of the label errcode. Codes that are not known share one:
// WeChat has thousands.
func errcodeOf(err *wechat.Error) string {
	switch {
	case err.Code == 0:
		return errcodeNone
	case slices.Contains(wechat.Codes(), err.Code):
		return strconv.FormatInt(err.Code, 10)
	default:
		return errcodeOther
	}
}

// called notes a call of WeChat.
func (m *metrics) called(endpoint string, took time.Duration, err error) {
	if m == nil {
		return
	}
	result := resultSuccess
	if err != nil {
		result = resultFailure
	}
	m.requests.WithLabelValues(endpoint, result).Observe(took.Seconds())
}

// refreshed notes what a call for a token has brought.
func (m *metrics) refreshed(isNew bool, failed *wechat.Error) {
	switch {
	case m == nil:
	case failed != nil:
		m.refreshes.WithLabelValues(resultFailure, errcodeOf(failed)).Inc()
	case isNew:
		m.refreshes.WithLabelValues(resultSuccess, "").Inc()
	default:
		m.refreshes.WithLabelValues(resultUnchanged, "").Inc()
	}
}

// rotated notes that a Secret carries a token that WeChat gave at the given time;
// zero for one that the Secret has not waited for.
func (m *metrics) rotated(newSince time.Time) {
	if m != nil && !newSince.IsZero() {
		m.rotations.Observe(time.Since(newSince).Seconds())
	}
}

// reported notes what has become of a report of a dead token, when the status
// tells it: once.
func (m *metrics) reported(before, after *v1alpha1.WeChatToken, verdict string) {
	if m == nil || verdict == "" {
		return
	}
	told := before.Status.LastHandledDeadToken != after.Status.LastHandledDeadToken
	if verdict == reportUnanswered {
		told = changed(before, after, v1alpha1.ConditionReady) != nil
	}
	if told {
		m.reports.WithLabelValues(verdict).Inc()
	}
}

// Describe makes it a prometheus.Collector.
func (m *metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, own := range fromCache {
		descs <- own.desc
	}
	for _, c := range m.counted() {
		c.Describe(descs)
	}
}

func (m *metrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.refreshes, m.reports, m.requests, m.rotations}
}

// untilListed is how long a scrape waits for a cache that is being filled. It then
// tells the rest.
const untilListed = time.Second

// Collect makes it a prometheus.Collector.
func (m *metrics) Collect(found chan<- prometheus.Metric) {
	for _, c := range m.counted() {
		c.Collect(found)
	}
	if ahead := m.ahead.Load(); ahead != nil {
		found <- &sample{desc: metricSkew.desc, value: ahead.Seconds()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), untilListed)
	defer cancel()
	var all v1alpha1.WeChatTokenList
	if err := m.r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return // the cache is not filled yet, which /readyz tells
	}
	now := time.Now()
	for i := range all.Items {
		m.collect(&all.Items[i], now, found)
	}
}

// collect tells of one WeChatToken, which belongs to the cache. One that is being
// deleted is not looked after any more.
func (m *metrics) collect(wt *v1alpha1.WeChatToken, now time.Time, found chan<- prometheus.Metric) {
	if !wt.DeletionTimestamp.IsZero() {
		return
	}
	of := []*dto.LabelPair{{Name: &labelName, Value: &wt.Name}, {Name: &labelNamespace, Value: &wt.Namespace}}
	tell := func(what Metric, value float64) { found <- &sample{what.desc, of, value} }
	for _, at := range []struct {
		what Metric
		time *metav1.Time
	}{
		{metricExpiration, wt.Status.ExpirationTime},
		{metricRefresh, wt.Status.RefreshTime},
		{metricLastRefresh, wt.Status.LastRefreshTime},
	} {
		if at.time != nil {
			tell(at.what, float64(at.time.Unix()))
		}
	}
	ready, reason := readiness(wt, now)
	tell(metricReady, ready)
	if reason != "" {
		found <- &sample{metricReadyReason.desc, append(of[:2:2], &dto.LabelPair{Name: &labelReason, Value: &reason}), 1}
	}
	if forced, classic, known := m.r.accounts.budget(client.ObjectKeyFromObject(wt)); known {
		mode := wt.Spec.ModeOrDefault()
		tell(metricForcedLeft, float64(forcedLeft(mode, forced, classic, now)))
		if mode == v1alpha1.ModeClassic {
			tell(metricCallsLeft, float64(classicLeft(classic, now)))
		}
	}
}

// sample is a value that is made at a scrape. The series of a WeChatToken share their
// labels: prometheus.NewConstMetric would allocate three times as often.
type sample struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair // sorted by their names
	value  float64
}

// Desc makes it a prometheus.Metric.
func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write makes it a prometheus.Metric.
func (s *sample) Write(m *dto.Metric) error {
	m.Label, m.Gauge = s.labels, &dto.Gauge{Value: &s.value}
	return nil
}

// readiness is 1 while Ready is True, and its reason; empty before there is one. A
// status that nobody writes any more does not outlive its token.
func readiness(wt *v1alpha1.WeChatToken, now time.Time) (ready float64, reason string) {
	is := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case is == nil:
		return 0, ""
	case is.Status != metav1.ConditionTrue:
		return 0, is.Reason
	case wt.Status.ExpirationTime != nil && !now.Before(wt.Status.ExpirationTime.Time):
		if is.Reason == v1alpha1.ReasonSuspended {
			return 0, is.Reason // nobody is to be woken for it
		}
		return 0, v1alpha1.ReasonTokenExpired
	default:
		return 1, is.Reason
	}
}
