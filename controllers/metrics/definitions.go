package metrics

import (
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Definition describes a metric of the operator. docs/metrics.md is written from it.
type Definition struct {
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

// Definitions are those of all metrics of the operator. controller-runtime has
// more.
func Definitions() []Definition {
	return slices.Concat(fromCache, []Definition{defRefreshes, defRequests, defReports, defElsewhere, defRepairs, defRotations, defUnreadable, defBuildInfo})
}

// fromCache are the metrics that are made when they are scraped.
var fromCache = []Definition{
	defReady, defReadyReason, defLastError,
	defExpiration, defRefresh, defLastRefresh,
	defForcedLeft, defCallsLeft, defVerifyLeft,
	defSkew,
}

var (
	labelNamespace, labelName, labelReason, labelErrcode = "namespace", "name", "reason", "errcode"

	perObject = []string{labelNamespace, labelName}
)

const onePerObject = "1 per WeChatToken"

var (
	defReady = madeAtScrape(Definition{
		Name: "wechattoken_ready", Type: gauge, Labels: perObject,
		Help:   "1 while the Secret holds a valid token, 0 otherwise.",
		Series: onePerObject,
	})
	defReadyReason = madeAtScrape(Definition{
		Name: "wechattoken_ready_reason", Type: gauge, Labels: []string{labelNamespace, labelName, labelReason},
		Help:   "1 for the current reason of the condition Ready.",
		Series: onePerObject,
	})
	defLastError = madeAtScrape(Definition{
		Name: "wechattoken_last_error", Type: gauge, Labels: []string{labelNamespace, labelName, labelErrcode},
		Help:   "1 for the errcode of status.lastError: the last call to WeChat has failed. errcode is other if the operator does not know it, or none if WeChat did not answer.",
		Series: onePerObject + " with such an error",
	})
	defExpiration = madeAtScrape(Definition{
		Name: "wechattoken_expiration_timestamp_seconds", Type: gauge, Labels: perObject,
		Help:   "When the token in the Secret expires.",
		Series: onePerObject + " with a token",
	})
	defRefresh = madeAtScrape(Definition{
		Name: "wechattoken_refresh_timestamp_seconds", Type: gauge, Labels: perObject,
		Help:   "When the next refresh is due.",
		Series: onePerObject + " with a token",
	})
	defLastRefresh = madeAtScrape(Definition{
		Name: "wechattoken_last_refresh_timestamp_seconds", Type: gauge, Labels: perObject,
		Help:   "When the token in the Secret was obtained.",
		Series: onePerObject + " with a token",
	})
	defForcedLeft = madeAtScrape(Definition{
		Name: "wechattoken_forced_refreshes_remaining", Type: gauge, Labels: perObject,
		Help:   "Forced refreshes that the account has left: of 20 in 24 hours, in Classic mode of 1,800 calls in a day. Only the leader knows.",
		Series: onePerObject + ", on the leader",
	})
	defCallsLeft = madeAtScrape(Definition{
		Name: "wechattoken_calls_remaining", Type: gauge, Labels: perObject,
		Help:   "Calls of /cgi-bin/token that the account has left today, of 2,000; only in Classic mode. Only the leader knows.",
		Series: "1 per WeChatToken in Classic mode, on the leader",
	})
	defVerifyLeft = madeAtScrape(Definition{
		Name: "wechattoken_verify_calls_remaining", Type: gauge, Labels: perObject,
		Help:   "Calls of get_api_domain_ip that the account has left today, of 500: they say whether a token is valid. The last 100 are for reports of an invalid token. Only the leader knows.",
		Series: onePerObject + ", on the leader",
	})
	defSkew = madeAtScrape(Definition{
		Name: "wechattoken_clock_skew_seconds", Type: gauge,
		Help:   "How far the clock of this machine is ahead of WeChat's, by the last answer. It is missing before the first answer.",
		Series: "1",
	})
	defRefreshes = Definition{
		Name: "wechattoken_refreshes_total", Type: counter, Labels: []string{"result", "errcode"},
		Help:   "Calls for a token, by result: success (a new token), unchanged (the token in use) or failure. A check that has brought the token in use does not count. On a failure errcode is WeChat's, other if the operator does not know it, or none if WeChat did not answer. Otherwise it is empty.",
		Series: "2, and 1 for each known errcode, other and none",
	}
	defRequests = Definition{
		Name: "wechattoken_wechat_request_duration_seconds", Type: histogram, Labels: []string{"endpoint", "result"},
		Help:   "How long calls to WeChat took, by the last part of their path: stable_token, token, get_api_domain_ip (is the token valid?) or getticket. result is success or failure.",
		Series: "at most 8 histograms",
		// A call takes some 50 ms in mainland China, and less than a second from
		// elsewhere. Beyond 10 s are those that ran into --request-timeout.
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}
	defReports = Definition{
		Name: "wechattoken_invalid_token_reports_total", Type: counter, Labels: []string{"verdict"},
		Help:   "Reports of an invalid token (wechattoken.io/invalid-token), by outcome: invalid (it was replaced), valid (WeChat accepts it) or outdated (it had been replaced before). A report counts as unanswered while WeChat does not answer, and once more when it does.",
		Series: "4",
	}
	defElsewhere = Definition{
		Name: "wechattoken_replaced_elsewhere_total", Type: counter,
		Help:   "Tokens that somebody else has replaced, as a call found: another cluster or environment with the appid, or a person.",
		Series: "1",
	}
	defRepairs = Definition{
		Name: "wechattoken_secret_repairs_total", Type: counter,
		Help:   "Secrets that were written once more because somebody else had changed them.",
		Series: "1",
	}
	defRotations = Definition{
		Name: "wechattoken_rotation_duration_seconds", Type: histogram,
		Help:   "How long it took from WeChat's answer with a new token until a Secret that waited for it was written.",
		Series: "1 histogram",
		// Some milliseconds, some seconds where thousands wait, and longer only
		// where the API server does not accept the write. At 300 s the old token has
		// expired.
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
	}
	defUnreadable = Definition{
		Name: "wechattoken_namespace_unreadable", Type: gauge, Labels: []string{labelNamespace},
		Help:   "1 for each namespace of --namespaces in which the operator may not list WeChatTokens, Secrets or, with --consumers, workloads, and which it so does not serve.",
		Series: "1 per such namespace",
	}
	defBuildInfo = Definition{
		Name: "wechattoken_build_info", Type: gauge, Labels: []string{"version", "revision", "goversion"},
		Help:   "1, with the build of this program.",
		Series: "1",
	}
)

func madeAtScrape(d Definition) Definition {
	d.desc = prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
	return d
}

// BuildInfo is the metric of that name. It belongs to the program, which registers
// it before there is a leader.
func BuildInfo(version, revision string) prometheus.Collector {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: defBuildInfo.Name, Help: defBuildInfo.Help}, defBuildInfo.Labels)
	g.WithLabelValues(version, revision, runtime.Version()).Set(1)
	return g
}

// Unreadable is the metric of the namespaces that a program may not read.
func Unreadable() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: defUnreadable.Name, Help: defUnreadable.Help}, defUnreadable.Labels)
}

func (d *Definition) counter() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: d.Name, Help: d.Help})
}

func (d *Definition) counters() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.Labels)
}

func (d *Definition) histograms() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(d.histogramOpts(), d.Labels)
}

func (d *Definition) histogramOpts() prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: d.Buckets}
}
