//go:build integration

package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	ctrl "sigs.k8s.io/controller-runtime"

	"wechattoken.io/operator/internal/testcluster"
)

// startWorld starts a world that ends with the test.
func startWorld(t *testing.T) *world {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	programs := t.TempDir()
	if err := testcluster.BuildCommands(programs, "manager"); err != nil {
		t.Fatal(err)
	}
	r := theRules(t)
	if err := r.compress(); err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(t.Context(), root, filepath.Join(programs, "manager"), r)
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"prometheus", "manager-0", "manager-1"} {
				log, _ := os.ReadFile(filepath.Join(w.dir, name+".log")) // it may not have been started
				t.Logf("the end of %s.log:\n%s", name, log[max(0, len(log)-3000):])
			}
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) await(t *testing.T, what string, holds func() error) {
	t.Helper()
	if err := w.until(t.Context(), what, func() (bool, error) {
		err := holds()
		return err == nil, err
	}); err != nil {
		t.Fatal(err)
	}
}

// awaitAlert waits until an alert fires, or does so no longer, and returns it.
func (w *world) awaitAlert(t *testing.T, name string, labels model.LabelSet, fires bool) (found promv1.Alert) {
	t.Helper()
	w.await(t, fmt.Sprintf("%s%s fires: %t", name, labels, fires), func() error {
		got, err := w.api.Alerts(t.Context())
		if err != nil {
			return err
		}
		labels := labels.Merge(model.LabelSet{"alertname": model.LabelValue(name)})
		i := slices.IndexFunc(got.Alerts, func(a promv1.Alert) bool {
			return a.State == promv1.AlertStateFiring && labels.Merge(a.Labels).Equal(a.Labels)
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

func (w *world) awaitAnswer(t *testing.T, query string) {
	t.Helper()
	if err := w.until(t.Context(), query, func() (bool, error) { return w.answers(t.Context(), query) }); err != nil {
		t.Fatal(err)
	}
}

// Everything is real here but WeChat: what the managers tell, what Prometheus
// makes of it, and what a dashboard would show.
func TestOnCallSeesWhatHappens(t *testing.T) {
	t.Parallel()
	const shop, blog, club = "wx0000000000000001", "wx0000000000000002", "wx0000000000000003"
	begin := time.Now()
	w := startWorld(t)
	for _, create := range []struct{ name, appID, mode string }{{"shop", shop, "Stable"}, {"blog", blog, "Stable"}, {"club", club, "Classic"}} {
		if err := w.create(create.name, create.appID, create.mode); err != nil {
			t.Fatal(err)
		}
	}
	w.awaitAnswer(t, `sum(up) == 2`)
	w.awaitAnswer(t, `count(max by (namespace, name) (wechattoken_ready{namespace="web"}) == 1) == 3`)
	w.awaitAnswer(t, `sum(increase(wechattoken_refreshes_total{result="success"}[1m])) > 3`)

	w.weChat.Allow(blog, netip.MustParsePrefix("192.0.2.0/24"))
	onBlog := model.LabelSet{"namespace": "web", "name": "blog"}
	alert := w.awaitAlert(t, "WeChatTokenIPNotAllowed", onBlog, true)
	if text := string(alert.Annotations["description"]); !strings.Contains(text, "kubectl -n web get wxt blog -o jsonpath={.status.lastError.callerIP}") {
		t.Errorf("the alert does not tell how to get the address: %s", text)
	}
	w.awaitAlert(t, "WeChatTokenInvalid", onBlog, true)

	t.Run("rules", func(t *testing.T) {
		names, _, _, err := w.api.LabelValues(t.Context(), "__name__", nil, begin, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range theRules(t).all() {
			metrics := metricsOf(rule.Expr)
			if len(metrics) == 0 {
				t.Errorf("%s: no metrics in %s", rule.Alert, rule.Expr)
			}
			for _, m := range metrics {
				if !slices.Contains(names, model.LabelValue(m)) {
					t.Errorf("%s%s: there is no metric %s", rule.Alert, rule.Record, m)
				}
			}
		}
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
	})
	t.Run("dashboard", func(t *testing.T) { w.showsData(t, begin) })

	w.weChat.Allow(blog)
	// A change of the spec ends the wait for somebody to act at WeChat.
	if _, err := w.kubectl("patch", "wxt", "-n", apps, "blog", "--type=merge", `-p={"spec":{"secret":{"labels":{"repaired":"true"}}}}`); err != nil {
		t.Fatal(err)
	}
	w.awaitAlert(t, "WeChatTokenIPNotAllowed", onBlog, false)
	w.awaitAlert(t, "WeChatTokenInvalid", onBlog, false)

	for _, p := range w.processes[:replicas] {
		p.Kill()
	}
	w.awaitAlert(t, "WeChatTokenOperatorDown", nil, true)
	w.awaitAlert(t, "WeChatTokenInvalid", model.LabelSet{"namespace": "web", "name": "shop"}, true)
}

// showsData asks what Grafana would ask, of everything since begin.
func (w *world) showsData(t *testing.T, begin time.Time) {
	t.Helper()
	d, err := readDashboard(root)
	if err != nil {
		t.Fatal(err)
	}
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
			n, err := w.values(t.Context(), query, begin)
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
func (w *world) values(ctx context.Context, query string, begin time.Time) (n int, err error) {
	got, _, _, err := w.api.QueryRange(ctx, query, promv1.Range{Start: begin, End: time.Now(), Step: scrape})
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
