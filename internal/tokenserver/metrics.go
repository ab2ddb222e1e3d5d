package tokenserver

import (
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wechattoken.io/operator/internal/build"
)

var (
	answers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wechattoken_server_answers_total",
		Help: "Answers, by what was asked for (token, jsapi, wx_card, invalid, or empty for anything else) and HTTP status.",
	}, []string{"what", "code"})
	durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "wechattoken_server_answer_duration_seconds",
		Help:    "How long answers took. A report may wait for the next token.",
		Buckets: []float64{0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30},
	}, []string{"what"})
	questions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wechattoken_server_reviews_total",
		Help: "Questions to the API server: whose a credential is (token), and what they may do (access). The result is yes, no or error.",
	}, []string{"review", "result"})
)

// collectors are the metrics of a server.
func collectors(h *held) []prometheus.Collector {
	b := build.This()
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "wechattoken_server_build_info", Help: "1, with the build of this program.",
	}, []string{"version", "revision", "goversion"})
	info.WithLabelValues(b.Version, b.Revision, runtime.Version()).Set(1)
	return []prometheus.Collector{answers, durations, questions, info, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wechattoken_server_wechattokens",
		Help: "WeChatTokens that the server knows.",
	}, func() float64 { return float64(h.count()) })}
}

// counted counts a question, and returns its error.
func counted(review string, ok bool, err error) error {
	result := map[bool]string{true: "yes", false: "no"}[ok]
	if err != nil {
		result = "error"
	}
	questions.WithLabelValues(review, result).Inc()
	return err
}

func countAnswer(what string, code int, took time.Duration) {
	answers.WithLabelValues(what, strconv.Itoa(code)).Inc()
	durations.WithLabelValues(what).Observe(took.Seconds())
}
