package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/wechat"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// inCache is the client of a manager, for a reader that lists without copying.
type inCache struct {
	client.Reader

	objects []runtime.Object
	err     error
}

func (c *inCache) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var o client.ListOptions
	if o.ApplyOptions(opts); o.UnsafeDisableDeepCopy == nil || !*o.UnsafeDisableDeepCopy {
		return errors.New("a copy of all WeChatTokens is expensive")
	}
	if c.err != nil {
		return c.err
	}
	return meta.SetList(list, c.objects)
}

// holding is a cache with these WeChatTokens.
func holding(tokens ...*v1alpha1.WeChatToken) *inCache {
	var c inCache
	for _, wt := range tokens {
		c.objects = append(c.objects, wt)
	}
	return &c
}

// weChatToken is the WeChatToken shop in web, without a status.
func weChatToken(mods ...func(*v1alpha1.WeChatToken)) *v1alpha1.WeChatToken {
	wt := &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop"},
		Spec:       v1alpha1.WeChatTokenSpec{AppID: "wx0123456789abcdef", Mode: v1alpha1.ModeStable},
	}
	for _, mod := range mods {
		mod(wt)
	}
	return wt
}

func classic(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = v1alpha1.ModeClassic }

func named(name string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Name = name }
}

// valid has a token that ends in two hours.
func valid(now time.Time) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) {
		wt.Status.ExpirationTime = new(metav1.NewTime(now.Add(2 * time.Hour)))
		wt.Status.NextRefreshTime = new(metav1.NewTime(now.Add(115 * time.Minute)))
		wt.Status.LastRefreshTime = new(metav1.NewTime(now))
		ready(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)(wt)
	}
}

func ready(status metav1.ConditionStatus, reason string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) {
		wt.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason}}
	}
}

// failed has the error of a call, with an errcode or without one.
func failed(code *int64) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Status.LastError = &v1alpha1.WeChatError{Code: code} }
}

// verdicts are of the reports that the test counts.
var verdicts = []string{"invalid", "valid", "outdated", "unanswered"}

func unknown(types.NamespacedName) (budget.Spent, bool) { return budget.Spent{}, false }

// gathered are the metrics as a scrape finds them. The registry checks that they are
// consistent.
func gathered(t *testing.T, all ...prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// series are the values of the metrics, each by its name without the prefix, and
// with the values of its labels, such as "ready web shop". That of a histogram is
// how often it was observed. Counters and histograms that are 0 are left out.
func series(t *testing.T, all ...prometheus.Collector) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for _, family := range gathered(t, all...) {
		for _, m := range family.GetMetric() {
			values := map[string]string{}
			for _, l := range m.GetLabel() {
				values[l.GetName()] = l.GetValue()
			}
			key := strings.TrimPrefix(family.GetName(), "wechattoken_")
			for _, l := range []string{"namespace", "name", "reason", "endpoint", "result", "errcode", "verdict", "version", "revision"} {
				if values[l] != "" {
					key += " " + values[l]
				}
			}
			switch family.GetType() {
			case dto.MetricType_GAUGE:
				got[key] = m.GetGauge().GetValue()
			case dto.MetricType_COUNTER:
				if v := m.GetCounter().GetValue(); v > 0 {
					got[key] = v
				}
			default:
				if n := m.GetHistogram().GetSampleCount(); n > 0 {
					got[key] = float64(n)
				}
			}
		}
	}
	return got
}

// The definitions, and so the documentation, have what there is. It follows
// Prometheus's conventions.
func TestMetricsAreAsDefined(t *testing.T) {
	t.Parallel()
	m := New(holding(weChatToken(classic, valid(time.Now()), failed(new(int64(40164))))), func(types.NamespacedName) (budget.Spent, bool) { return budget.Spent{}, true }, verdicts)
	m.Skewed(time.Second)
	m.Called("token", time.Second, nil)
	unreadable := Unreadable()
	unreadable.WithLabelValues("pay").Set(1)
	families := gathered(t, m, BuildInfo("v1.2.3", "0123abc"), unreadable)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}

	var got, want []string
	for _, family := range families {
		var labels []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		got = append(got, fmt.Sprint(family.GetName(), strings.ToLower(family.GetType().String()), labels, family.GetHelp()))
	}
	for _, d := range Definitions() {
		labels := slices.Sorted(slices.Values(d.Labels))
		want = append(want, fmt.Sprint(d.Name, d.Type, labels, d.Help))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-defined +collected):\n%s", diff)
	}
}

// The series of a WeChatToken follow its status and the budget of its account, and
// go with it.
func TestSeriesOfATokenFollowIt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	spent := budget.Spent{}.Force(v1alpha1.ModeStable, now.Add(-time.Hour)).CallClassic(now).CallClassic(now).CallVerify(now)
	cases := map[string]struct {
		reason string
		tokens []*v1alpha1.WeChatToken
		spent  func(types.NamespacedName) (budget.Spent, bool)
		want   map[string]float64
	}{
		"None": {reason: "Nothing is known.", spent: unknown, want: map[string]float64{}},
		"New": {
			reason: "A new WeChatToken has no reason and no times.",
			tokens: []*v1alpha1.WeChatToken{weChatToken()}, spent: unknown,
			want: map[string]float64{"ready web shop": 0},
		},
		"Missing": {
			reason: "A WeChatToken without a token has a reason.",
			tokens: []*v1alpha1.WeChatToken{weChatToken(ready(metav1.ConditionFalse, v1alpha1.ReasonAppSecretMissing))}, spent: unknown,
			want: map[string]float64{"ready web shop": 0, "ready_reason web shop AppSecretMissing": 1},
		},
		"Refused": {
			reason: "The error of a check is seen while the token is valid; codes that nobody knows share one series.",
			tokens: []*v1alpha1.WeChatToken{
				weChatToken(valid(now), failed(new(int64(40164)))), weChatToken(named("odd"), failed(new(int64(99999)))), weChatToken(named("mute"), failed(nil)),
			}, spent: unknown,
			want: map[string]float64{
				"ready web shop": 1, "ready_reason web shop " + v1alpha1.ReasonTokenValid: 1, "last_error web shop 40164": 1,
				"expiration_timestamp_seconds web shop":   float64(now.Add(2 * time.Hour).Unix()),
				"refresh_timestamp_seconds web shop":      float64(now.Add(115 * time.Minute).Unix()),
				"last_refresh_timestamp_seconds web shop": float64(now.Unix()),
				"ready web odd": 0, "last_error web odd other": 1, "ready web mute": 0, "last_error web mute none": 1,
			},
		},
		"Valid": {
			reason: "A replica that does not lead knows all but the budget.",
			tokens: []*v1alpha1.WeChatToken{weChatToken(valid(now))}, spent: unknown,
			want: map[string]float64{
				"ready web shop": 1, "ready_reason web shop " + v1alpha1.ReasonTokenValid: 1,
				"expiration_timestamp_seconds web shop":   float64(now.Add(2 * time.Hour).Unix()),
				"refresh_timestamp_seconds web shop":      float64(now.Add(115 * time.Minute).Unix()),
				"last_refresh_timestamp_seconds web shop": float64(now.Unix()),
			},
		},
		"Budgets": {
			reason: "Each mode has its own budget. Only Classic counts calls, both count questions.",
			tokens: []*v1alpha1.WeChatToken{weChatToken(), weChatToken(named("old"), classic), weChatToken(named("other"))},
			spent:  func(key types.NamespacedName) (budget.Spent, bool) { return spent, key.Name != "other" },
			want: map[string]float64{
				"ready web shop": 0, "ready web old": 0, "ready web other": 0,
				"forced_refreshes_remaining web shop": 19,
				"forced_refreshes_remaining web old":  1798, "calls_remaining web old": 1998,
				"verify_calls_remaining web shop": 499, "verify_calls_remaining web old": 499,
			},
		},
		"Deleted": {
			reason: "One that is being deleted has no series.",
			tokens: []*v1alpha1.WeChatToken{weChatToken(valid(now), func(wt *v1alpha1.WeChatToken) { wt.DeletionTimestamp = new(metav1.Now()) })}, spent: unknown,
			want: map[string]float64{},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, series(t, New(holding(tc.tokens...), tc.spent, verdicts))); diff != "" {
				t.Errorf("%s\nseries (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// While the cache is being filled, the rest is there.
func TestACacheThatIsNotFilledHidesNothingElse(t *testing.T) {
	t.Parallel()
	m := New(&inCache{err: errors.New("the cache is not started")}, unknown, verdicts)
	m.Skewed(-1500 * time.Millisecond)
	m.Refreshed(true, nil)
	want := map[string]float64{"clock_skew_seconds": -1.5, "refreshes_total success": 1, "build_info v1.2.3 0123abc": 1}
	if diff := cmp.Diff(want, series(t, m, BuildInfo("v1.2.3", "0123abc"))); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		isNew  bool
		failed *wechat.Error
		want   string
	}{
		"New":       {"A call has brought a new token.", true, nil, "success"},
		"Unchanged": {"WeChat returned the token in use.", false, nil, "unchanged"},
		"Known":     {"The errcode is one of WeChat's documents.", false, &wechat.Error{Code: 40164}, "failure 40164"},
		"Unknown":   {"WeChat has thousands of others, which share a label.", false, &wechat.Error{Code: 99999}, "failure other"},
		"Busy":      {"An errcode may be negative.", false, &wechat.Error{Code: -1}, "failure -1"},
		"NoAnswer":  {"WeChat did not answer.", false, &wechat.Error{Lost: true}, "failure none"},
		"Failed":    {"A failure brings no token.", true, &wechat.Error{}, "failure none"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := New(holding(), unknown, verdicts)
			m.Called("stable_token", time.Second, tc.failed)
			m.Refreshed(tc.isNew, tc.failed)
			result, _, _ := strings.Cut(tc.want, " ")
			if tc.failed == nil {
				result = "success"
			}
			want := map[string]float64{"refreshes_total " + tc.want: 1, "wechat_request_duration_seconds stable_token " + result: 1}
			if diff := cmp.Diff(want, series(t, m)); diff != "" {
				t.Errorf("%s\nseries (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// All counters are there before they count: increase() does not see the step from
// nothing to 1.
func TestCountersBeginWithZero(t *testing.T) {
	t.Parallel()
	there := map[string]int{}
	for _, family := range gathered(t, New(holding(), unknown, verdicts)) {
		there[family.GetName()] = len(family.GetMetric())
	}
	want := map[string]int{
		"wechattoken_refreshes_total":             2 + 2 + len(wechat.Codes()),
		"wechattoken_invalid_token_reports_total": 4,
		"wechattoken_replaced_elsewhere_total":    1,
		"wechattoken_secret_repairs_total":        1,
		"wechattoken_rotation_duration_seconds":   1,
	}
	if diff := cmp.Diff(want, there); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

// The time of a rotation is that of a Secret that has waited.
func TestRotationIsMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := New(holding(), unknown, verdicts)
		m.Rotated(time.Time{})
		m.Rotated(time.Now().Add(-20 * time.Second))
		for _, family := range gathered(t, m) {
			if family.GetName() != defRotations.Name {
				continue
			}
			if h := family.GetMetric()[0].GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 20 {
				t.Errorf("%d rotations, %g s together; want 1 of 20 s", h.GetSampleCount(), h.GetSampleSum())
			}
		}
	})
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	status := func(is metav1.ConditionStatus, reason string, left time.Duration) v1alpha1.WeChatTokenStatus {
		wt := weChatToken(ready(is, reason))
		wt.Status.ExpirationTime = new(metav1.NewTime(noon.Add(left)))
		return wt.Status
	}
	cases := map[string]struct {
		reason string
		status v1alpha1.WeChatTokenStatus
		ready  float64
		why    string
	}{
		"New":          {"The operator has not looked at it.", v1alpha1.WeChatTokenStatus{}, 0, ""},
		"Valid":        {"All is well.", status(metav1.ConditionTrue, v1alpha1.ReasonTokenValid, time.Second), 1, v1alpha1.ReasonTokenValid},
		"Failing":      {"A refresh fails, and the token is valid.", status(metav1.ConditionTrue, v1alpha1.ReasonIPNotAllowed, time.Second), 1, v1alpha1.ReasonIPNotAllowed},
		"Expired":      {"The reason is that of the status.", status(metav1.ConditionFalse, v1alpha1.ReasonIPNotAllowed, -time.Second), 0, v1alpha1.ReasonIPNotAllowed},
		"Suspended":    {"Nobody needs an alert for what a person has suspended.", status(metav1.ConditionTrue, v1alpha1.ReasonSuspended, 0), 0, v1alpha1.ReasonSuspended},
		"InvalidEarly": {"A token can be invalid before it expires.", status(metav1.ConditionFalse, v1alpha1.ReasonTokenRevoked, time.Hour), 0, v1alpha1.ReasonTokenRevoked},
		"Forgotten":    {"Nobody has written the status since the token expired.", status(metav1.ConditionTrue, v1alpha1.ReasonTokenValid, 0), 0, v1alpha1.ReasonTokenExpired},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ready, why := readiness(&v1alpha1.WeChatToken{Status: tc.status}, noon)
			if ready != tc.ready || why != tc.why {
				t.Errorf("%s\ngot %g %q, want %g %q", tc.reason, ready, why, tc.ready, tc.why)
			}
		})
	}
}

// Every errcode that package wechat knows has a label of its own, and no other
// errcode makes a series.
func TestErrcodesAreBounded(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, label := range errcodes() {
		known[label] = true
	}
	for code := int64(-2000); code < 100_000; code++ {
		if label := errcodeOf(code); !known[label] {
			t.Fatalf("errcode %d has the label %q, which is not there from the start", code, label)
		}
	}
	if len(known) != len(wechat.Codes())+2 {
		t.Errorf("%d labels for %d codes", len(known), len(wechat.Codes()))
	}
}

// A scrape may come at any moment.
func TestCountsAndScrapesMayOverlap(t *testing.T) {
	t.Parallel()
	m := New(holding(weChatToken(valid(time.Now()))), unknown, verdicts)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			m.Called("token", time.Second, nil)
			m.Refreshed(true, nil)
			m.Rotated(noon)
			m.Reported("valid")
			m.Skewed(time.Second)
		}
	}()
	for range 20 {
		series(t, m)
	}
	<-done
}
