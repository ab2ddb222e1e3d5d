package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// P4: WeChatTokens of one account share one token and one call, and when it
// rotates all Secrets follow at once.
func TestOneAccountHasOneToken(t *testing.T) {
	t.Parallel()
	for name, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{Latency: time.Second}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mod), weChatToken(named("b"), mod), weChatToken(named("c"), mod))
				w.run(time.Minute)
				same := func(calls int) {
					t.Helper()
					for _, s := range []string{"b", "c"} {
						if string(w.secret(s).Data["access_token"]) != w.token() {
							t.Errorf("Secret %s has another token", s)
						}
					}
					if got := w.calls(); got != calls {
						t.Errorf("%d calls, want %d", got, calls)
					}
				}
				same(1)
				w.change(requesting("1"))
				w.run(1100 * time.Millisecond)
				same(2)
			})
		})
	}
}

// An operator that starts reads what all WeChatTokens of an account have before
// it calls for one of them.
func TestStartingOperatorReadsTheSiblingsFirst(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason    string
		meanwhile func(*world) // what happens while no operator runs
		calls     int
	}{
		"Newcomer": {
			reason:    "It has no token, and its sibling has one.",
			meanwhile: func(w *world) { w.create(weChatToken(named("other"), classic)) },
		},
		"SecretDeleted": {
			reason: "Its token is gone, and its sibling has one.",
			meanwhile: func(w *world) {
				w.create(weChatToken(named("other"), classic))
				w.run(time.Second)
				w.remove("other")
			},
		},
		"WrongAppSecret": {
			reason: "Who does not know the AppSecret gets no token from those who do.",
			meanwhile: func(w *world) {
				wrong := appSecret(wrongSecret)
				wrong.Name = "wrong"
				w.create(wrong, weChatToken(named("other"), classic, func(wt *v1alpha1.WeChatToken) { wt.Spec.AppSecretRef.Name = "wrong" }))
			},
			calls: 1,
		},
		"OtherMode": {
			reason:    "The tokens of the two endpoints have nothing to do with each other.",
			meanwhile: func(w *world) { w.create(weChatToken(named("other"))) },
			calls:     1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(classic))
				w.run(time.Hour)
				tc.meanwhile(w)
				w.restart()
				before := w.calls()
				w.reconcile(client.ObjectKey{Namespace: "web", Name: "other"}) // the other one comes first
				w.run(time.Minute)
				if got := w.calls() - before; got != tc.calls {
					t.Errorf("%s\n%d calls, want %d", tc.reason, got, tc.calls)
				}
				s := w.secret("other")
				if shared := s != nil && string(s.Data["access_token"]) == w.token(); shared != (tc.calls == 0) {
					t.Errorf("%s\nshared: %t", tc.reason, shared)
				}
				if !w.weChat.Valid(w.token()) {
					t.Errorf("%s\nthe first one's token is invalid", tc.reason)
				}
			})
		})
	}
}

// The two modes of one appid are two accounts.
func TestModesDoNotMix(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(), weChatToken(named("b"), classic))
		w.run(4 * time.Hour)
		for name, mode := range map[string]string{"shop": "Stable", "b": "Classic"} {
			s := w.secret(name)
			if got := string(w.recordOf(name).Token.Mode); got != mode || !w.weChat.Valid(string(s.Data["access_token"])) {
				t.Errorf("Secret %s of mode %s, want %s and valid", name, got, mode)
			}
		}
		if string(w.secret("b").Data["access_token"]) == w.token() {
			t.Error("the modes share a token")
		}
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus})
		w.change(classic)
		w.run(time.Second)
		w.remove("b") // nothing to borrow
		w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" })
		w.run(time.Minute)
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonWeChatUnavailable)
	})
}
