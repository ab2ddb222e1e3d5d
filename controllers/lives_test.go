package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// P1, P7: a day of refreshes, each with one call and two writes, and never a
// invalid token in the Secret.
func TestTokenNeverRunsOut(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		mod    func(*v1alpha1.WeChatToken)
		weChat wechattest.Config
		life   time.Duration // of a token in use
		run    time.Duration
		pause  time.Duration
	}{
		"Stable": {
			reason: "A stable token is replaced in its last 300 s.",
			mod:    func(*v1alpha1.WeChatToken) {},
			life:   7200*time.Second - 300*time.Second, run: 24 * time.Hour, pause: 30 * time.Second,
		},
		"Classic": {
			reason: "A classic token is replaced 10 minutes before its end.",
			mod:    classic,
			life:   7200*time.Second - 600*time.Second, run: 24 * time.Hour, pause: 30 * time.Second,
		},
		"StableCompressed": {
			reason: "A life of 40 s works as one of 2 hours does.",
			mod:    func(*v1alpha1.WeChatToken) {},
			weChat: wechattest.Config{Life: 40 * time.Second, Window: 10 * time.Second, Overlap: 10 * time.Second},
			life:   33 * time.Second, run: 20 * time.Minute, pause: time.Second,
		},
		"ClassicCompressed": {
			reason: "At most half of the life is given away.",
			mod:    classic,
			weChat: wechattest.Config{Life: 40 * time.Second, Window: 10 * time.Second, Overlap: 10 * time.Second},
			life:   20 * time.Second, run: 20 * time.Minute, pause: time.Second,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, tc.weChat, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(tc.mod))
				w.run(time.Second)
				if invalid := w.consume(tc.run, tc.pause); invalid > 0 {
					t.Errorf("%s\n%d reads found an invalid token", tc.reason, invalid)
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)

				tokens := w.weChat.Counts("").Stable.Rotations + w.weChat.Counts("").Classic.Rotations
				if least, most := int(tc.run/tc.life), int(tc.run/tc.life)*11/10+2; tokens < least || tokens > most {
					t.Errorf("%s\n%d tokens, want %d to %d", tc.reason, tokens, least, most)
				}
				if w.calls() != tokens {
					t.Errorf("%d calls for %d tokens, want one each", w.calls(), tokens)
				}
				if w.secretWrites != tokens || w.statusWrites != tokens {
					t.Errorf("%d writes of the Secret and %d of the status for %d tokens, want one each", w.secretWrites, w.statusWrites, tokens)
				}
			})
		})
	}
}

// P1, P2: an outage shorter than what the token has left is not felt, and is
// told.
func TestOutageIsNotFelt(t *testing.T) {
	t.Parallel()
	for name, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mod))
				w.run(time.Second)
				due := w.get("shop").Status.NextRefreshTime.Time
				w.run(time.Until(due) - time.Minute)
				w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus, For: 4 * time.Minute})
				if invalid := w.consume(3*time.Minute, time.Second); invalid > 0 {
					t.Errorf("%d reads found an invalid token", invalid)
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonWeChatUnavailable)
				if got := w.other(); got != v1alpha1.ConditionReconciling {
					t.Errorf("condition %q, want Reconciling", got)
				}
				if w.get("shop").Status.LastError == nil {
					t.Error("status has no lastError")
				}
				w.run(3 * time.Minute)
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
				if got := w.get("shop").Status; got.LastError != nil || w.other() != "" {
					t.Errorf("after the outage: lastError %v, condition %q; want none", got.LastError, w.other())
				}
				if w.get("shop").Status.NextRefreshTime.Time.Equal(due) {
					t.Error("the token was not replaced")
				}
			})
		})
	}
}

// P1, P12: Ready turns False in the second in which the token expires, and True
// again without help; and the invalid token is still there (P2).
func TestReadyFollowsTheToken(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Second)
		expires := w.get("shop").Status.ExpirationTime.Time
		token := w.token()
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultHang, For: 3 * time.Hour})

		w.run(time.Until(expires) - time.Second)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonWeChatUnavailable)
		w.run(time.Second)
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonWeChatUnavailable)
		if w.token() != token {
			t.Error("the last token is gone")
		}
		w.run(2 * time.Hour)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	})
}

// A token whose write fails is kept, and the write is tried again, not the call.
func TestWriteIsTriedAgainNotTheCall(t *testing.T) {
	t.Parallel()
	for name, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.refuse = func() error { return apierrors.NewServiceUnavailable("etcd is away") }
				w.create(appSecret(testAppSecret), weChatToken(mod))
				w.run(10 * time.Minute)
				if w.token() != "" {
					t.Fatal("there is a Secret")
				}
				w.refuse = nil
				w.run(2 * time.Second)
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
				if got := w.calls(); got != 1 {
					t.Errorf("%d calls, want 1", got)
				}
			})
		})
	}
}

// P3: a restart with a live token costs nothing.
func TestRestartCostsNothing(t *testing.T) {
	t.Parallel()
	for name, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mod, requesting("before the first token")))
				w.run(time.Second)
				calls, secrets, statuses := w.calls(), w.secretWrites, w.statusWrites
				for range 20 {
					w.run(3 * time.Minute)
					w.restart()
					w.run(time.Second)
				}
				if w.calls() != calls || w.secretWrites != secrets || w.statusWrites != statuses {
					t.Errorf("20 restarts cost %d calls, %d writes of the Secret and %d of the status",
						w.calls()-calls, w.secretWrites-secrets, w.statusWrites-statuses)
				}
			})
		})
	}
}

// P1, P3: an operator that begins anew again and again forgets no refresh, and makes
// none early.
func TestRestartsForgetNoRefresh(t *testing.T) {
	t.Parallel()
	for name, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mod))
				w.run(time.Second)
				invalid := 0
				for range 84 {
					invalid += w.consume(7*time.Minute, 30*time.Second)
					w.restart()
				}
				if got := w.calls(); invalid > 0 || got < 5 || got > 6 {
					t.Errorf("%d calls in 10 hours, and %d reads found an invalid token; want the first, 4 or 5 refreshes, and none", got, invalid)
				}
			})
		})
	}
}

// The clock was ahead and is set right.
func TestTokenOfAWrongClockIsNotBelieved(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		// The process that wrote the Secret lived a day ahead.
		r := *w.recordOf("shop")
		r.Token.ObtainedAt, r.Token.ExpiresAt = r.Token.ObtainedAt.Add(24*time.Hour), r.Token.ExpiresAt.Add(24*time.Hour)
		w.store(r)
		w.restart()
		w.run(time.Minute)
		if invalid := w.consume(6*time.Hour, time.Minute); invalid > 0 {
			t.Errorf("%d of 360 reads found an invalid token", invalid)
		}
	})
}

// A storm at the end of a token given back again and again.
func TestStormOfShortLives(t *testing.T) {
	inWorld(t, wechattest.Config{Latency: 5 * time.Millisecond}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Second)
		w.run(time.Until(w.get("shop").Status.NextRefreshTime.Time) - time.Minute)
		w.restart()
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultBadTTL, ExpiresIn: 2, For: 20 * time.Second})
		w.edit("shop", func(s *corev1.Secret) { s.Annotations = nil })
		calls := w.calls()
		w.run(20 * time.Second)
		if got := w.calls() - calls; got > 25 {
			t.Errorf("%d calls in 20 s", got)
		}
	})
}

// The end is counted from before the call.
func TestEndIsCountedFromTheStartOfTheCall(t *testing.T) {
	inWorld(t, wechattest.Config{Latency: 5 * time.Second}, func(w *world) {
		start := time.Now()
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		if end := w.get("shop").Status.ExpirationTime.Time; end.After(start.Add(2 * time.Hour)) {
			t.Errorf("the token is said to end %s late", end.Sub(start)-2*time.Hour)
		}
	})
}
