package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
)

// collect makes the series of one WeChatToken, which belongs to the cache. Nobody
// looks after one that is being deleted, so it has none.
func (m *Metrics) collect(wt *v1alpha1.WeChatToken, now time.Time, found chan<- prometheus.Metric) {
	if !wt.DeletionTimestamp.IsZero() {
		return
	}
	of := []*dto.LabelPair{{Name: &labelName, Value: &wt.Name}, {Name: &labelNamespace, Value: &wt.Namespace}}
	add := func(what Definition, value float64) { found <- &sample{what.desc, of, value} }
	for _, at := range []struct {
		what Definition
		time *metav1.Time
	}{
		{defExpiration, wt.Status.ExpirationTime},
		{defRefresh, wt.Status.NextRefreshTime},
		{defLastRefresh, wt.Status.LastRefreshTime},
	} {
		if at.time != nil {
			add(at.what, float64(at.time.Unix()))
		}
	}
	ready, reason := readiness(wt, now)
	add(defReady, ready)
	if reason != "" {
		found <- &sample{defReadyReason.desc, append(of[:2:2], &dto.LabelPair{Name: &labelReason, Value: &reason}), 1}
	}
	if e := wt.Status.LastError; e != nil {
		errcode := errcodeNone
		if e.Code != nil {
			errcode = errcodeOf(*e.Code)
		}
		found <- &sample{defLastError.desc, append([]*dto.LabelPair{{Name: &labelErrcode, Value: &errcode}}, of...), 1}
	}
	if spent, known := m.spent(client.ObjectKeyFromObject(wt)); known && !wt.Spec.HasSource() { // those of the source
		terms := budget.TermsOf(wt)
		add(defForcedLeft, float64(spent.ForcedLeft(terms, now)))
		add(defVerifyLeft, float64(spent.VerifyLeft(now)))
		if terms.Mode == v1alpha1.ModeClassic {
			add(defCallsLeft, float64(spent.ClassicLeft(terms, now)))
		}
	}
}

// readiness is 1 while Ready is True, and its reason; empty before there is one. A
// status that nobody writes any more does not outlast its token.
func readiness(wt *v1alpha1.WeChatToken, now time.Time) (ready float64, reason string) {
	is := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case is == nil:
		return 0, ""
	case is.Status != metav1.ConditionTrue:
		return 0, is.Reason
	case wt.Status.ExpirationTime != nil && !now.Before(wt.Status.ExpirationTime.Time):
		if is.Reason == v1alpha1.ReasonSuspended {
			return 0, is.Reason // a person has suspended it: an alert would be wrong
		}
		return 0, v1alpha1.ReasonTokenExpired
	default:
		return 1, is.Reason
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
