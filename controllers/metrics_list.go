package controllers

import (
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric describes a metric of the operator. docs/metrics.md is written from it.
type Metric struct {
	Name    string
	Type    string // gauge, counter or histogram
	Labels  []string
	Help    string
	Series  string    // how many there are
	Buckets []float64 // upper bounds of a histogram

	desc *prometheus.Desc // of one that is made when it is scraped
}

const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

// Metrics are all metrics of the operator, but for those of controller-runtime.
func Metrics() []Metric {
	return slices.Concat(fromCache, []Metric{metricRefreshes, metricRequests, metricReports, metricRotations, metricBuildInfo})
}

// fromCache are those that are made when they are scraped.
var fromCache = []Metric{
	metricReady, metricReadyReason,
	metricExpiration, metricRefresh, metricLastRefresh,
	metricForcedLeft, metricCallsLeft,
	metricSkew,
}

var (
	labelNamespace, labelName, labelReason = "namespace", "name", "reason"
	perObject                              = []string{labelNamespace, labelName}
)

const onePerObject = "1 per WeChatToken"

var (
	metricReady = madeAtScrape(Metric{
		Name: "wechattoken_ready", Type: gauge, Labels: perObject,
		Help:   "1 while the Secret holds a live token, 0 otherwise.",
		Series: onePerObject,
	})
	metricReadyReason = madeAtScrape(Metric{
		Name: "wechattoken_ready_reason", Type: gauge, Labels: []string{labelNamespace, labelName, labelReason},
		Help:   "1 for the present reason of the condition Ready.",
		Series: onePerObject,
	})
	metricExpiration = madeAtScrape(Metric{
		Name: "wechattoken_expiration_timestamp_seconds", Type: gauge, Labels: perObject,
		Help:   "When the token in the Secret dies.",
		Series: onePerObject + " with a token",
	})
	metricRefresh = madeAtScrape(Metric{
		Name: "wechattoken_refresh_timestamp_seconds", Type: gauge, Labels: perObject,
		Help:   "When the next refresh is due.",
		Series: onePerObject + " with a token",
	})
	metricLastRefresh = madeAtScrape(Metric{
		Name: "wechattoken_last_refresh_timestamp_seconds", Type: gauge, Labels: perObject,
		Help:   "When the token in the Secret was obtained.",
		Series: onePerObject + " with a token",
	})
	metricForcedLeft = madeAtScrape(Metric{
		Name: "wechattoken_forced_refreshes_remaining", Type: gauge, Labels: perObject,
		Help:   "Forced refreshes that the account has left: of 20 in 24 hours, in Classic mode of 1,800 calls in a day. Only the leader knows.",
		Series: onePerObject + ", on the leader",
	})
	metricCallsLeft = madeAtScrape(Metric{
		Name: "wechattoken_calls_remaining", Type: gauge, Labels: perObject,
		Help:   "Calls of /cgi-bin/token that the account has left today, of 2,000; only in Classic mode. Only the leader knows.",
		Series: "1 per WeChatToken in Classic mode, on the leader",
	})
	metricSkew = madeAtScrape(Metric{
		Name: "wechattoken_clock_skew_seconds", Type: gauge,
		Help:   "How far the clock of this machine is ahead of WeChat's, by the last answer. It is there after the first one.",
		Series: "1",
	})
	metricRefreshes = Metric{
		Name: "wechattoken_refreshes_total", Type: counter, Labels: []string{"result", "errcode"},
		Help:   "Calls for a token, by what they brought: success (a new one), unchanged (the one in use) or failure. errcode is WeChat's of a failure, other for one that is not known here, none where no answer of WeChat's came, and empty otherwise.",
		Series: "2, and 1 for each known errcode, other and none",
	}
	metricRequests = Metric{
		Name: "wechattoken_wechat_request_duration_seconds", Type: histogram, Labels: []string{"endpoint", "result"},
		Help:   "How long calls to WeChat took, by the last part of their path: stable_token, token, get_api_domain_ip (does the token live?) or getticket. result is success or failure.",
		Series: "at most 8 histograms",
		// A call takes some 50 ms in mainland China, and less than a second from
		// elsewhere. Beyond 10 s are those that ran into --request-timeout.
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}
	metricReports = Metric{
		Name: "wechattoken_dead_token_reports_total", Type: counter, Labels: []string{"verdict"},
		Help:   "Reports of a dead token (wechattoken.io/dead-token), by what became of them: dead (it was replaced), alive (WeChat takes it), outdated (it had been replaced before). One that WeChat gave no answer to counts as unanswered, and again when there is one.",
		Series: "4",
	}
	metricRotations = Metric{
		Name: "wechattoken_rotation_duration_seconds", Type: histogram,
		Help:   "How long it took from WeChat's answer with a new token until a Secret that waited for it was written.",
		Series: "1 histogram",
		// Some milliseconds, some seconds where thousands wait, and longer only
		// where the API server does not take the write. At 300 s the old token is
		// dead.
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
	}
	metricBuildInfo = Metric{
		Name: "wechattoken_build_info", Type: gauge, Labels: []string{"version", "revision", "goversion"},
		Help:   "1, with the build of this program.",
		Series: "1",
	}
)

func madeAtScrape(m Metric) Metric {
	m.desc = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	return m
}

// BuildInfo is the metric of that name.
func BuildInfo(version, revision string) prometheus.Collector {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricBuildInfo.Name, Help: metricBuildInfo.Help}, metricBuildInfo.Labels)
	g.WithLabelValues(version, revision, runtime.Version()).Set(1)
	return g
}

func (m *Metric) counters() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
}

func (m *Metric) histograms() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: m.Buckets}, m.Labels)
}
