package controllers

import (
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// P4: WeChatTokens of one account share one token and one call, and when it
// rotates all Secrets follow at once.
func TestOneAccountHasOneToken(t *testing.T) {
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

// A crash between the two writes of one rotation leaves no Secret behind.
func TestAllSecretsFollowAfterACrash(t *testing.T) {
	for name, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mod), weChatToken(named("other"), mod))
				w.run(time.Hour)
				n := 0
				// The API server takes the first write and then is away.
				w.refuse = func() error {
					if n++; n > 1 {
						return apierrors.NewServiceUnavailable("away")
					}
					return nil
				}
				w.change(requesting("1"))
				w.run(500 * time.Millisecond)
				w.restart()
				w.refuse = nil
				w.run(10 * time.Minute)
				for _, s := range []string{"shop", "other"} {
					if !w.weChat.Valid(string(w.secret(s).Data["access_token"])) {
						t.Errorf("Secret %s holds an invalid token 10 minutes after", s)
					}
				}
			})
		})
	}
}

// Resumed after a restart.
func TestResumedTakesTheNewestToken(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(classic), weChatToken(named("other"), classic))
		w.run(time.Hour)
		w.change(suspendedSpec)
		w.run(time.Second)
		w.changeOf("other", requesting("1"))
		w.run(10 * time.Minute)
		w.restart()
		w.run(time.Second)
		w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = false })
		w.run(time.Minute)
		if !w.weChat.Valid(w.token()) {
			t.Errorf("invalid token, Ready = %s", w.ready().Status)
		}
	})
}

// A second WeChatToken of a Classic account costs no call after a restart.
func TestNewcomerCostsNoCallAfterARestart(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(classic))
		w.run(time.Hour)
		w.restart()
		w.run(time.Second)
		w.create(weChatToken(named("other"), classic))
		w.run(time.Minute)
		if got := w.calls(); got != 1 {
			t.Errorf("%d calls, want the first", got)
		}
	})
}

// An operator that starts reads what all WeChatTokens of an account have before
// it calls for one of them.
func TestStartingOperatorReadsTheSiblingsFirst(t *testing.T) {
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

// Refresh requests of several WeChatTokens of one account are one refresh.
func TestRefreshRequestsOfOneAccountCoalesce(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret))
		for i := range 25 {
			w.create(weChatToken(named(fmt.Sprint("shop", i))))
		}
		w.run(time.Hour)
		for i := range 25 {
			w.changeOf(fmt.Sprint("shop", i), requesting("now"))
		}
		w.run(time.Hour)
		if got := w.weChat.Counts("").Forced; got > 2 {
			t.Errorf("%d forced calls for one annotate --all, want 1, and 1 for those that came during it", got)
		}
		n := 0
		for i := range 25 {
			if w.get(fmt.Sprint("shop", i)).Status.LastHandledRefreshAt == "now" {
				n++
			}
		}
		if n != 25 {
			t.Errorf("%d of 25 echoed", n)
		}
	})
}

// The second user of an account has a request that an earlier process carried out.
func TestCrashWithTwoUsersIsCountedOnce(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.create(weChatToken(named("b")))
		w.run(time.Hour)
		w.refuse = func() error { return apierrors.NewServiceUnavailable("crash") }
		w.changeOf("b", requesting("1"))
		w.run(100 * time.Millisecond)
		w.restart()
		w.refuse = nil
		w.reconcile(client.ObjectKey{Namespace: "web", Name: "shop"}) // the other one comes first
		w.run(time.Minute)
		if got := w.weChat.Counts(testAppID).Forced; got != 1 {
			t.Errorf("%d forced calls, want 1", got)
		}
		if got := len(w.recordOf("b").Spent.Forced); got != w.weChat.Counts(testAppID).Forced {
			t.Errorf("the Secret counts %d forced calls", got)
		}
	})
}

// A process that starts and finds refreshes pending asks plainly whether another
// has carried them out: once for the account.
func TestPendingRefreshesCostOnePlainCallAfterARestart(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		names := []string{"shop", "b", "c", "d"}
		w.create(appSecret(testAppSecret))
		for _, name := range names {
			w.create(weChatToken(named(name)))
		}
		w.run(time.Hour)
		for _, value := range []string{"1", "2"} { // the second ones wait for 30 s
			for _, name := range names {
				w.changeOf(name, requesting(value))
			}
			w.run(time.Second)
		}
		before := w.weChat.Counts(testAppID)
		w.restart()
		w.run(10 * time.Second)
		if got := w.weChat.Counts(testAppID); got.Stable.Calls-before.Stable.Calls > 1 || got.Forced != before.Forced {
			t.Errorf("%d calls, %d of them forced, want a plain one at most", got.Stable.Calls-before.Stable.Calls, got.Forced-before.Forced)
		}
		w.run(time.Minute)
		if got := w.get("d").Status.LastHandledRefreshAt; got != "2" {
			t.Errorf("echo %q, want 2", got)
		}
	})
}

// A newcomer to an account that WeChat refuses waits as the others do.
func TestNewcomerDoesNotHammer(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 89503})
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		w.create(weChatToken(named("b")), weChatToken(named("c")))
		w.run(time.Minute)
		if got := w.calls(); got != 1 {
			t.Errorf("%d calls, want 1", got)
		}
	})
}

// What a sibling with another AppSecret has spent counts after a restart: the
// budget is the appid's.
func TestSiblingsOfAnotherAppSecretShareTheBudget(t *testing.T) {
	inWorld(t, wechattest.Config{ForcedPerDay: -1}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		for i := range budget.ForcedPerDay {
			w.change(requesting(fmt.Sprint(i)))
			w.run(time.Minute)
		}
		w.weChat.SetSecret(testAppID, wrongSecret)
		reset := appSecret(wrongSecret)
		reset.Name = "reset"
		w.create(reset)
		w.restart()
		w.create(weChatToken(named("b"), func(wt *v1alpha1.WeChatToken) { wt.Spec.AppSecretRef.Name = "reset" }))
		w.reconcile(client.ObjectKey{Namespace: "web", Name: "b"}) // before its sibling
		w.run(time.Minute)
		w.changeOf("b", requesting("1"))
		w.run(10 * time.Minute)
		if got := w.weChat.Counts(testAppID).Forced; got != budget.ForcedPerDay {
			t.Errorf("%d forced calls, want %d", got, budget.ForcedPerDay)
		}
		if !w.weChat.Valid(string(w.secret("b").Data["access_token"])) {
			t.Error("b has no live token")
		}
	})
}

// A change of the spec ends the wait after a failed call once, not for each of
// the calls that its siblings make later.
func TestChangeOfASiblingEndsOneWait(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(named("a")), weChatToken(), weChatToken(named("z")))
		w.run(30 * time.Minute)
		for _, seconds := range []int32{60, 70} {
			w.change(checking(seconds)) // long ago
			w.run(time.Minute)
		}
		w.change(checking(0))
		w.run(time.Minute)
		w.weChat.SetFault(wechattest.Fault{Endpoint: wechattest.Stable, Kind: wechattest.FaultErrcode, Code: 89503})
		for _, name := range []string{"a", "z"} { // whichever calls
			calls := w.calls()
			w.changeOf(name, requesting("1"))
			w.run(time.Second)
			if got := w.calls() - calls; got > 1 {
				t.Errorf("%d calls for one request", got)
			}
		}
		calls := w.calls()
		w.change(requesting("1"))
		w.run(20 * time.Second)
		if got := w.calls() - calls; got > 0 {
			t.Errorf("%d calls within 20 s of a refusal", got)
		}
	})
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

// Classic: the one whose forced call lost its answer goes away; the other
// has a dying token.
func TestLostAnswerOutlivesItsRequest(t *testing.T) {
	for name, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mod))
				w.run(time.Hour)
				w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultLost, Count: 1})
				w.change(requesting("1"))
				w.run(500 * time.Millisecond)
				w.change(func(wt *v1alpha1.WeChatToken) { wt.Annotations = nil }) // "kubectl annotate wxt/shop refresh-requested-at-"
				if invalid := w.consume(30*time.Minute, 10*time.Second); invalid > 0 {
					t.Errorf("%d of 180 reads found an invalid token", invalid)
				}
			})
		})
	}
}

// Deleted and made anew while a call is under way.
func TestOneCallAtATimeAcrossRecreation(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultSlow, Delay: 5 * time.Second, Count: 1})
		w.create(appSecret(testAppSecret), weChatToken(classic))
		w.run(time.Second)
		if err := w.client.Delete(t.Context(), w.get("shop")); err != nil {
			t.Fatal(err)
		}
		w.wake(client.ObjectKey{Namespace: "web", Name: "shop"})
		w.run(100 * time.Millisecond)
		again := weChatToken(classic)
		again.UID, again.Generation, again.CreationTimestamp = "another", 1, metav1.Now()
		w.create(again)
		w.run(time.Second)
		if got := w.calls(); got != 1 {
			t.Errorf("%d calls at a time", got)
		}
		w.run(10 * time.Second)
		w.remove("shop")
		if invalid := w.consume(30*time.Minute, 10*time.Second); invalid > 0 {
			t.Errorf("%d of 180 reads found an invalid token", invalid)
		}
	})
}

// Re-created under the same name before the operator saw it gone.
func TestRecreatedIsAnotherObject(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.change(requesting("of the old one"))
		w.run(time.Minute)
		w.r.wake = func(types.NamespacedName, bool) {}
		if err := w.client.Delete(t.Context(), w.get("shop")); err != nil {
			t.Fatal(err)
		}
		if err := w.client.Delete(t.Context(), w.secret("shop")); err != nil {
			t.Fatal(err)
		}
		w.r.wake = func(key types.NamespacedName, _ bool) { w.wake(key) }
		again := weChatToken()
		again.UID, again.Generation, again.CreationTimestamp = "another", 1, metav1.Now()
		w.create(again)
		w.run(time.Minute)
		if got := w.get("shop").Status.LastHandledRefreshAt; got != "" {
			t.Errorf("echo %q of another object", got)
		}
	})
}
