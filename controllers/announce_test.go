package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
)

// The metric of reports counts what the status shows for the first time.
func TestAReportCountsOnce(t *testing.T) {
	t.Parallel()
	handled := func(report string) func(*v1alpha1.WeChatToken) {
		return func(wt *v1alpha1.WeChatToken) { wt.Status.LastHandledInvalidToken = report }
	}
	because := func(reason string) func(*v1alpha1.WeChatToken) {
		return func(wt *v1alpha1.WeChatToken) {
			wt.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: reason}}
		}
	}
	valid, failed := because(v1alpha1.ReasonTokenValid), because(v1alpha1.ReasonCheckFailed)
	for name, tc := range map[string]struct {
		reason        string
		before, after *v1alpha1.WeChatToken
		outcome       string
		want          bool
	}{
		"Handled":     {"The status says that the report is handled.", weChatToken(), weChatToken(handled("a")), account.ReportConfirmed, true},
		"Next":        {"Another report is handled.", weChatToken(handled("a")), weChatToken(handled("b")), account.ReportOutdated, true},
		"Again":       {"The status has shown the outcome before.", weChatToken(handled("a")), weChatToken(handled("a"), failed), account.ReportConfirmed, false},
		"None":        {"The outcome is not known yet.", weChatToken(), weChatToken(handled("a")), "", false},
		"Unanswered":  {"Ready says for the first time that WeChat did not answer.", weChatToken(), weChatToken(failed), account.ReportUnanswered, true},
		"Reason":      {"Another reason of Ready does too.", weChatToken(valid), weChatToken(failed), account.ReportUnanswered, true},
		"StillSilent": {"It counts once, however often WeChat is asked.", weChatToken(failed), weChatToken(failed), account.ReportUnanswered, false},
		"NoCondition": {"The status shows nothing.", weChatToken(failed), weChatToken(), account.ReportUnanswered, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := shown(tc.before, tc.after, tc.outcome); got != tc.want {
				t.Errorf("%s\nshown = %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}
