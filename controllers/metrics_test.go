package controllers

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// series are the values of the metrics, each by its name without the prefix, and
// with the values of its labels, such as "ready web shop". Of a histogram it is the
// number of what was observed. Zeroes are left out, but for gauges.
func (w *world) series() map[string]float64 {
	w.t.Helper()
	all := map[string]float64{}
	for _, family := range w.metrics() {
		for _, m := range family.GetMetric() {
			values := map[string]string{}
			for _, l := range m.GetLabel() {
				values[l.GetName()] = l.GetValue()
			}
			key := strings.TrimPrefix(family.GetName(), "wechattoken_")
			for _, l := range []string{"namespace", "name", "reason", "endpoint", "result", "errcode", "verdict"} {
				if values[l] != "" {
					key += " " + values[l]
				}
			}
			switch family.GetType() {
			case dto.MetricType_GAUGE:
				all[key] = m.GetGauge().GetValue()
			case dto.MetricType_COUNTER:
				if v := m.GetCounter().GetValue(); v > 0 {
					all[key] = v
				}
			default:
				if n := m.GetHistogram().GetSampleCount(); n > 0 {
					all[key] = float64(n)
				}
			}
		}
	}
	return all
}

// wantSeries looks for the given ones; those that are negative must not be there.
func (w *world) wantSeries(want map[string]float64) {
	w.t.Helper()
	all := w.series()
	got := map[string]float64{}
	for key := range want {
		got[key] = -1
		if v, ok := all[key]; ok {
			got[key] = v
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("series (-want +got):\n%s", diff)
	}
}

// The series of a WeChatToken tell what its status tells, at the time of the
// scrape, and go with it.
func TestMetricsFollowTheToken(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(weChatToken())
		w.wantSeries(map[string]float64{"ready web shop": 0, "expiration_timestamp_seconds web shop": -1, "clock_skew_seconds": -1})
		w.run(time.Second)
		w.wantSeries(map[string]float64{"ready web shop": 0, "ready_reason web shop AppSecretMissing": 1, "expiration_timestamp_seconds web shop": -1})

		w.create(appSecret(testAppSecret))
		w.run(time.Second)
		status := w.get("shop").Status
		w.wantSeries(map[string]float64{
			"ready web shop":                          1,
			"ready_reason web shop TokenValid":        1,
			"ready_reason web shop AppSecretMissing":  -1,
			"expiration_timestamp_seconds web shop":   float64(status.ExpirationTime.Unix()),
			"refresh_timestamp_seconds web shop":      float64(status.NextRefreshTime.Unix()),
			"last_refresh_timestamp_seconds web shop": float64(status.LastRefreshTime.Unix()),
			"forced_refreshes_remaining web shop":     20,
			"calls_remaining web shop":                -1,
			"refreshes_total success":                 1,
			"rotation_duration_seconds":               1,
			"clock_skew_seconds":                      -0.5, // in the bubble a call takes no time, and begins on the second
		})

		// While nobody works, the status says what was.
		time.Sleep(2 * time.Hour)
		w.wantSeries(map[string]float64{"ready web shop": 0, "ready_reason web shop TokenExpired": 1, "ready_reason web shop TokenValid": -1})

		w.run(time.Second)
		w.wantSeries(map[string]float64{"ready web shop": 1, "ready_reason web shop TokenValid": 1})
		if err := w.client.Delete(t.Context(), w.get("shop")); err != nil {
			t.Fatal(err)
		}
		for key := range w.series() {
			if strings.Contains(key, "shop") {
				t.Errorf("there is %s of a WeChatToken that is not there", key)
			}
		}
	})
}

// The budgets are told as they are spent, and come back with a restart.
func TestMetricsTellTheBudgets(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		const other = "wx0000000000000001"
		w.weChat.AddAccount(other, testAppSecret)
		w.create(appSecret(testAppSecret), weChatToken(), weChatToken(named("old"), classic, func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = other }))
		w.run(time.Second)
		w.wantSeries(map[string]float64{"forced_refreshes_remaining web old": 1799, "calls_remaining web old": 1999, "forced_refreshes_remaining web shop": 20})
		for i := range 3 {
			w.change(requesting(fmt.Sprint(i)))
			w.changeOf("old", requesting(fmt.Sprint(i)))
			w.run(time.Minute)
		}
		want := map[string]float64{"forced_refreshes_remaining web old": 1796, "calls_remaining web old": 1996, "forced_refreshes_remaining web shop": 17, "refreshes_total success": 8}
		w.wantSeries(want)
		w.restart()
		w.wantSeries(map[string]float64{"forced_refreshes_remaining web shop": -1, "ready web shop": 1}) // a replica that does not lead
		w.run(time.Second)
		want["refreshes_total success"] = -1
		w.wantSeries(want)
		w.run(25 * time.Hour)
		w.wantSeries(map[string]float64{"forced_refreshes_remaining web shop": 20})
	})
}

// What calls bring is counted by errcode, of those that are known.
func TestRefreshesAreCounted(t *testing.T) {
	cases := map[string]struct {
		reason string
		fault  wechattest.Fault
		series string
	}{
		"Known":     {"An errcode of WeChat's documents.", wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40164}, "refreshes_total failure 40164"},
		"Unknown":   {"WeChat has thousands of others.", wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 99999}, "refreshes_total failure other"},
		"Busy":      {"A negative one.", wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1}, "refreshes_total failure -1"},
		"NoAnswer":  {"Nothing came.", wechattest.Fault{Kind: wechattest.FaultReset}, "refreshes_total failure none"},
		"NoErrcode": {"What came was not WeChat's.", wechattest.Fault{Kind: wechattest.FaultGarbage}, "refreshes_total failure none"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				tc.fault.Count = 1
				w.weChat.SetFault(tc.fault)
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Hour)
				w.wantSeries(map[string]float64{
					tc.series: 1, "refreshes_total success": 1,
					"wechat_request_duration_seconds stable_token failure": 1, "wechat_request_duration_seconds stable_token success": 1,
				})
				w.wantNoSecrets()
			})
		})
	}

	inWorld(t, wechattest.Config{}, func(w *world) { // asked in its window, WeChat gives the old token a few times
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultSlow, Delay: 3 * time.Second, Endpoint: wechattest.Ticket})
		w.window += time.Minute
		w.restart()
		w.create(appSecret(testAppSecret), weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Spec.Tickets = []v1alpha1.TicketType{v1alpha1.TicketJSAPI} }))
		w.run(2 * time.Hour)
		got := w.series()
		if got["refreshes_total success"] != 2 || got["refreshes_total unchanged"] < 3 || got["wechat_request_duration_seconds getticket success"] < 12 {
			t.Errorf("got %v", got)
		}
	})
}

// Each report is counted once, by what became of it, and not again by the next
// process.
func TestReportsAreCountedOnce(t *testing.T) {
	unanswered := func(w *world) {
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultReset, Endpoint: wechattest.Business, For: 3 * time.Minute})
	}
	cases := map[string]struct {
		reason string
		mode   func(*v1alpha1.WeChatToken)
		before func(*world) // what happens to the token before the report
		report string       // that of the token in the Secret if empty
		want   map[string]float64
	}{
		"Invalid":        {"It is replaced.", stableMode, killed, "", map[string]float64{"invalid": 1}},
		"InvalidClassic": {"It is replaced.", classic, fetchedOutside, "", map[string]float64{"invalid": 1}},
		"Valid":          {"The reporter was wrong.", stableMode, func(*world) {}, "", map[string]float64{"valid": 1}},
		"Outdated":       {"The reporter has an older one.", stableMode, func(*world) {}, "0123456789abcdef", map[string]float64{"outdated": 1}},
		"Unanswered":     {"It counts once while WeChat does not tell, and again when it does.", stableMode, unanswered, "", map[string]float64{"unanswered": 1, "valid": 1}},
		"Malformed":      {"It is none.", stableMode, func(*world) {}, "my token is invalid", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(tc.mode))
				w.run(time.Hour)
				tc.before(w)
				report := tc.report
				if report == "" {
					report = w.report()
				}
				w.change(reporting(report))
				w.run(10 * time.Minute)
				reports := func() map[string]float64 {
					var got map[string]float64
					for key, v := range w.series() {
						if verdict, ok := strings.CutPrefix(key, "invalid_token_reports_total "); ok {
							if got == nil {
								got = map[string]float64{}
							}
							got[verdict] = v
						}
					}
					return got
				}
				if diff := cmp.Diff(tc.want, reports()); diff != "" {
					t.Errorf("%s\nreports (-want +got):\n%s", tc.reason, diff)
				}
				w.restart()
				w.run(3 * time.Hour)
				if got := reports(); got != nil {
					t.Errorf("%s\nthe next process counts %v", tc.reason, got)
				}
			})
		})
	}
}

// A report that comes when the token has been replaced for an earlier one is late.
func TestLateReportIsOutdated(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(), weChatToken(named("other")))
		w.run(time.Hour)
		killed(w)
		report := w.report()
		w.change(reporting(report))
		w.run(time.Minute)
		w.changeOf("other", reporting(report))
		w.run(time.Minute)
		w.wantSeries(map[string]float64{"invalid_token_reports_total invalid": 1, "invalid_token_reports_total outdated": 1})
	})
}

// The way of a token into a Secret is measured where the Secret has waited for it.
func TestRotationIsMeasured(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		observed := func() (count uint64, sum float64) {
			for _, family := range w.metrics() {
				if family.GetName() == "wechattoken_rotation_duration_seconds" {
					h := family.GetMetric()[0].GetHistogram()
					return h.GetSampleCount(), h.GetSampleSum()
				}
			}
			return 0, -1
		}
		want := func(count uint64, least, most float64, when string) {
			t.Helper()
			if n, sum := observed(); n != count || sum < least || sum > most {
				t.Errorf("%s: %d observations, %g s together; want %d, and from %g to %g s", when, n, sum, count, least, most)
			}
		}
		w.create(appSecret(testAppSecret), weChatToken(), weChatToken(named("twin")))
		w.run(time.Second)
		want(1, 0, 0.1, "the first token; the second WeChatToken comes when it is there")

		broken := time.Now().Add(20 * time.Second)
		w.refuse = func() error {
			if time.Now().Before(broken) {
				return errors.New("the API server is away")
			}
			return nil
		}
		w.change(requesting("1"))
		w.run(time.Minute)
		want(3, 38, 46, "the API server is away for 20 s")

		w.run(time.Hour)
		w.create(weChatToken(named("late")))
		w.remove("twin")
		w.edit("shop", func(s *corev1.Secret) { s.Labels = nil })
		w.run(time.Minute)
		want(3, 38, 46, "Secrets get a token that is old")

		w.changeOf("twin", suspendedSpec)
		w.run(2 * time.Hour)
		want(5, 38, 46, "one is suspended when the token rotates")
		w.changeOf("twin", func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = false })
		w.run(time.Minute)
		want(5, 38, 46, "it is not any more")
	})
}
