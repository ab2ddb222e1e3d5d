package controllers

import (
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// kstatus is what Flux, and Argo CD's generic health check, make of "shop".
func (w *world) kstatus() status.Status {
	w.t.Helper()
	wt := w.get("shop")
	if wt.Status.ObservedGeneration == 0 {
		wt.Status.ObservedGeneration = -1 // the API server's default, which the client in memory does not know
	}
	obj, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wt)
	if err != nil {
		w.t.Fatal(err)
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: obj})
	if err != nil {
		w.t.Fatal(err)
	}
	return result.Status
}

// P12: GitOps tools read the object as it is meant.
func TestKstatusReadsItRight(t *testing.T) {
	cases := map[string]struct {
		reason string
		do     func(*world)
		want   status.Status
	}{
		"New": {
			reason: "Nobody has looked at it.",
			do:     func(w *world) { w.create(appSecret(testAppSecret), weChatToken()) },
			want:   status.InProgressStatus,
		},
		"Live": {
			reason: "All is well.",
			do:     func(w *world) { w.create(appSecret(testAppSecret), weChatToken()); w.run(time.Second) },
			want:   status.CurrentStatus,
		},
		"Changed": {
			reason: "Ready speaks of the old spec.",
			do: func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Second)
				w.change(classic)
			},
			want: status.InProgressStatus,
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
			want: status.InProgressStatus,
		},
		"Busy": {
			reason: "It passes by itself.",
			do: func(w *world) {
				w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus})
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Second)
			},
			want: status.InProgressStatus,
		},
		"WrongSecret": {
			reason: "A person must act.",
			do:     func(w *world) { w.create(appSecret(wrongSecret), weChatToken()); w.run(time.Second) },
			want:   status.FailedStatus,
		},
		"Missing": {
			reason: "A person must act.",
			do:     func(w *world) { w.create(weChatToken()); w.run(time.Second) },
			want:   status.FailedStatus,
		},
		"Suspended": {
			reason: "That is as wanted, as long as the token is valid.",
			do: func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Second)
				w.change(suspendedSpec)
				w.run(time.Second)
			},
			want: status.CurrentStatus,
		},
		"Refreshed": {
			reason: "A refresh is no disturbance.",
			do: func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(5 * time.Hour)
			},
			want: status.CurrentStatus,
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
