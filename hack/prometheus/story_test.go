//go:build integration

package prometheus

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/hack/plot"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

var pictures = flag.String("pictures", "", "keep pictures of what Prometheus has seen in this `folder`, for make generate")

// awaitAlert waits until an alert fires, or does so no longer, and returns it.
func (w *world) awaitAlert(name string, labels model.LabelSet, fires bool) (found promv1.Alert) {
	w.t.Helper()
	testcluster.Eventually(w.t, fmt.Sprintf("%s%s fires: %t", name, labels, fires), func() error {
		got, err := w.api.Alerts(w.t.Context())
		if err != nil {
			return err
		}
		labels := labels.Merge(model.LabelSet{"alertname": model.LabelValue(name)})
		i := slices.IndexFunc(got.Alerts, func(a promv1.Alert) bool {
			return a.State == promv1.AlertStateFiring && a.Labels.Merge(labels).Equal(a.Labels)
		})
		if (i >= 0) != fires {
			return fmt.Errorf("there are %v", got.Alerts)
		}
		if fires {
			found = got.Alerts[i]
		}
		return nil
	})
	return found
}

// awaitAnswer waits until a query has an answer, which is true in PromQL.
func (w *world) awaitAnswer(query string) {
	w.t.Helper()
	testcluster.Eventually(w.t, query, func() error {
		got, _, _, err := w.api.Query(w.t.Context(), query, time.Now())
		if v, ok := got.(model.Vector); err == nil && (!ok || len(v) == 0) {
			return errors.New("it has no answer")
		}
		return err
	})
}

// awaitRefreshes waits until WeChat has given so many tokens.
func (w *world) awaitRefreshes(n int) {
	w.t.Helper()
	w.awaitAnswer(fmt.Sprintf(`sum(wechattoken_refreshes_total{result="success"}) >= %d`, n))
}

// Everything is real here but WeChat: what the managers tell, what Prometheus makes
// of it, and what a dashboard would show.
func TestOnCallSeesWhatHappens(t *testing.T) {
	const blog = "wx0000000000000002"
	w := newWorld(t)
	w.awaitAnswer(`sum(up) == 2`)
	w.awaitAnswer(`absent(ALERTS)`)
	begin := time.Now()
	since := func() float64 { return time.Since(begin).Seconds() }
	w.create("shop", "wx0000000000000001", v1alpha1.ModeStable)
	w.create("blog", blog, v1alpha1.ModeStable)
	w.create("club", "wx0000000000000003", v1alpha1.ModeClassic)
	w.awaitAnswer(`count(max by (namespace, name) (wechattoken_ready) == 1) == 3`)
	w.awaitRefreshes(9)

	outage := plot.Band{Name: "WeChat is out of reach", From: since()}
	w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultReset})
	inNamespace := model.LabelSet{"namespace": model.LabelValue(w.Name)}
	w.awaitAlert("WeChatTokenExpiring", inNamespace, true)
	w.awaitAlert("WeChatTokenInvalid", inNamespace, true)
	w.weChat.ClearFaults()
	outage.To = since()
	w.awaitAnswer(`absent(ALERTS{alertstate="firing"})`)
	w.awaitRefreshes(15)

	refusal := plot.Band{Name: "blog: address refused", From: since()}
	w.weChat.Allow(blog, netip.MustParsePrefix("192.0.2.0/24"))
	onBlog := model.LabelSet{"namespace": model.LabelValue(w.Name), "name": "blog"}
	alert := w.awaitAlert("WeChatTokenIPNotAllowed", onBlog, true)
	want := "kubectl -n " + w.Name + " get wxt blog -o jsonpath={.status.lastError.callerIP}"
	if text := string(alert.Annotations["description"]); !strings.Contains(text, want) {
		t.Errorf("the alert does not tell how to get the address: %s", text)
	}
	w.awaitAlert("WeChatTokenInvalid", onBlog, true)
	w.awaitAnswer(`max(wechattoken_expiration_timestamp_seconds{name="blog"}) < time() - 5`)
	looked := time.Now()
	t.Run("rules", func(t *testing.T) { w.rulesWork(t, begin) })
	t.Run("dashboard", func(t *testing.T) { w.showsData(t, begin) })
	w.weChat.Allow(blog)
	// A change of the spec ends the wait for somebody to act at WeChat.
	w.kubectl("patch", "wxt", "-n", w.Name, "blog", "--type=merge", `-p={"spec":{"secret":{"labels":{"repaired":"true"}}}}`)
	refusal.To = since()
	w.awaitAlert("WeChatTokenIPNotAllowed", onBlog, false)
	w.awaitAlert("WeChatTokenInvalid", onBlog, false)
	w.awaitRefreshes(20)
	if *pictures != "" {
		w.draw(begin, outage, refusal)
		w.board(begin, looked)
	}

	for _, m := range w.managers {
		m.Kill()
	}
	w.awaitAlert("WeChatTokenOperatorDown", nil, true)
	w.awaitAlert("WeChatTokenInvalid", inNamespace, true)
}

// onlyInTrouble are metrics that this story does not come to: they are there while a
// namespace cannot be read, as cmd/manager tests.
var onlyInTrouble = []string{"wechattoken_namespace_unreadable"}

// rulesWork checks that all metrics of the rules are there, and that Prometheus can
// evaluate them.
func (w *world) rulesWork(t *testing.T, begin time.Time) {
	t.Helper()
	names, _, _, err := w.api.LabelValues(t.Context(), "__name__", nil, begin, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	each(rules(t), func(rule *monitoringv1.Rule) {
		metrics := metricsOf(rule.Expr.StrVal)
		if len(metrics) == 0 {
			t.Errorf("%s: no metrics in %s", rule.Alert, rule.Expr.StrVal)
		}
		for _, m := range metrics {
			if !slices.Contains(names, model.LabelValue(m)) && !slices.Contains(onlyInTrouble, m) {
				t.Errorf("%s%s: there is no metric %s", rule.Alert, rule.Record, m)
			}
		}
	})
	got, err := w.api.Rules(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range got.Groups {
		for _, r := range g.Rules {
			if a, ok := r.(promv1.AlertingRule); ok && a.Health != promv1.RuleHealthGood {
				t.Errorf("%s is %s: %s", a.Name, a.Health, a.LastError)
			}
			if a, ok := r.(promv1.RecordingRule); ok && a.Health != promv1.RuleHealthGood {
				t.Errorf("%s is %s: %s", a.Name, a.Health, a.LastError)
			}
		}
	}
}

// showsData asks what Grafana would ask, of everything since begin.
func (w *world) showsData(t *testing.T, begin time.Time) {
	t.Helper()
	d := readDashboard(t)
	names, _, _, err := w.api.LabelValues(t.Context(), "__name__", nil, begin, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			for _, m := range metricsOf(target.Expr) {
				if !slices.Contains(names, model.LabelValue(m)) {
					t.Errorf("%s: there is no metric %s", p.Title, m)
				}
			}
			query := target.query("10s")
			n, err := w.values(t, query, begin)
			if err != nil || n == 0 {
				t.Errorf("%s: %d values, %v: %s", p.Title, n, err, query)
			}
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		inner := strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")")
		at := strings.LastIndex(inner, ",")
		match, label := target{Expr: inner[:at]}.query(""), strings.TrimSpace(inner[at+1:])
		values, _, _, err := w.api.LabelValues(t.Context(), label, []string{match}, begin, time.Now())
		if err != nil || len(values) == 0 {
			t.Errorf("variable %s: %d values, %v", v.Name, len(values), err)
		}
	}
}

// values counts the numbers that a query has brought since begin.
func (w *world) values(t *testing.T, query string, begin time.Time) (n int, err error) {
	t.Helper()
	got, _, _, err := w.api.QueryRange(t.Context(), query, promv1.Range{Start: begin, End: time.Now(), Step: scrape})
	if err != nil {
		return 0, err
	}
	matrix, _ := got.(model.Matrix)
	for _, s := range matrix {
		for _, v := range s.Values {
			if !math.IsNaN(float64(v.Value)) {
				n++
			}
		}
	}
	return n, nil
}
