package controllers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// kstatus is what Flux, and Argo CD's generic health check, make of "shop". The
// rule is kstatus's own; config/argocd_test.go holds it against that library.
func (w *world) kstatus() string {
	w.t.Helper()
	wt := w.get("shop")
	is := func(condition string) bool { return meta.IsStatusConditionTrue(wt.Status.Conditions, condition) }
	switch {
	case wt.Status.ObservedGeneration != wt.Generation:
		return "InProgress"
	case is(v1alpha1.ConditionStalled):
		return "Failed"
	case is(v1alpha1.ConditionReconciling), !is(v1alpha1.ConditionReady):
		return "InProgress"
	default:
		return "Current"
	}
}

// P12: GitOps tools read the object as it is meant.
func TestKstatusReadsItRight(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		do     func(*world)
		want   string
	}{
		"New": {
			reason: "Nobody has looked at it.",
			do:     func(w *world) { w.create(appSecret(testAppSecret), weChatToken()) },
			want:   "InProgress",
		},
		"Live": {
			reason: "All is well.",
			do:     func(w *world) { w.create(appSecret(testAppSecret), weChatToken()); w.run(time.Second) },
			want:   "Current",
		},
		"Changed": {
			reason: "Ready speaks of the old spec.",
			do: func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Second)
				w.change(classic)
			},
			want: "InProgress",
		},
		"ChangedUnderWay": {
			reason: "And goes on doing so until the new spec has its token.",
			do: func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Second)
				w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultHang, Count: 1})
				w.change(classic)
				w.run(time.Second)
			},
			want: "InProgress",
		},
		"Busy": {
			reason: "It passes by itself.",
			do: func(w *world) {
				w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus})
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Second)
			},
			want: "InProgress",
		},
		"WrongSecret": {
			reason: "A person must act.",
			do:     func(w *world) { w.create(appSecret(wrongSecret), weChatToken()); w.run(time.Second) },
			want:   "Failed",
		},
		"Missing": {
			reason: "A person must act.",
			do:     func(w *world) { w.create(weChatToken()); w.run(time.Second) },
			want:   "Failed",
		},
		"Suspended": {
			reason: "That is as wanted, as long as the token is valid.",
			do: func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Second)
				w.change(suspendedSpec)
				w.run(time.Second)
			},
			want: "Current",
		},
		"Refreshed": {
			reason: "A refresh is no disturbance.",
			do: func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(5 * time.Hour)
			},
			want: "Current",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				tc.do(w)
				if got := w.kstatus(); got != tc.want {
					t.Errorf("%s\nkstatus reads %s, want %s", tc.reason, got, tc.want)
				}
			})
		})
	}
}
