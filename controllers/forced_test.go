package controllers

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// P5: a refresh request brings a new token at once, and its echo with it.
func TestRefreshRequestBringsANewToken(t *testing.T) {
	for name, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mod))
				w.run(time.Hour)
				token, calls, secrets, statuses := w.token(), w.calls(), w.secretWrites, w.statusWrites
				w.change(requesting("2026-11-22T10:00:00Z"))
				w.run(time.Second)
				if w.token() == token || !w.weChat.Valid(w.token()) {
					t.Error("the Secret has no new live token")
				}
				if got := w.get("shop").Status.LastHandledRefreshAt; got != "2026-11-22T10:00:00Z" {
					t.Errorf("echo %q", got)
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
				if w.calls()-calls != 1 || w.secretWrites-secrets != 1 || w.statusWrites-statuses != 1 {
					t.Errorf("%d calls and %d + %d writes, want one each", w.calls()-calls, w.secretWrites-secrets, w.statusWrites-statuses)
				}
				w.run(time.Minute)
				w.change(requesting("2026-11-22T10:00:00Z"))
				w.run(time.Minute)
				if w.calls()-calls != 1 {
					t.Error("the same value counted twice")
				}
			})
		})
	}
}

// P5: requests within 30 s become one call, made when it is allowed.
func TestRefreshRequestsCoalesce(t *testing.T) {
	for name, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mod))
				w.run(time.Hour)
				calls, writes := w.calls(), w.statusWrites
				for i := range 20 {
					w.change(requesting(fmt.Sprint("request ", i)))
					w.run(time.Second)
				}
				if got := w.calls() - calls; got != 1 {
					t.Errorf("%d calls for 20 requests in 20 s, want 1", got)
				}
				if got := w.get("shop").Status.LastHandledRefreshAt; got != "request 0" {
					t.Errorf("echo %q before the Secret has the result", got)
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonRefreshDeferred)
				if got := w.statusWrites - writes; got != 2 {
					t.Errorf("%d writes of the status, want 2: the first refresh, and that the others wait", got)
				}
				w.run(15 * time.Second)
				if got := w.calls() - calls; got != 2 {
					t.Errorf("%d calls after 30 s, want 2", got)
				}
				if got := w.get("shop").Status.LastHandledRefreshAt; got != "request 19" {
					t.Errorf("echo %q, want the last request", got)
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
			})
		})
	}
}

// The second of two forced calls is not made too soon: not when the first was
// made late in its second, of which the Secret has only the start, and not when
// it was on its way for longer. WeChat would refuse it, and count it.
func TestForcedCallsKeepTheirDistance(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour + 900*time.Millisecond)
		for i := range 60 {
			w.change(requesting(fmt.Sprint("request ", i)))
			w.run(5 * time.Second)
		}
		c := w.weChat.Counts(testAppID)
		if c.ForceRefused > 0 || c.Forced != 10 {
			t.Errorf("%d of %d forced calls in 5 minutes were refused, want none of 10", c.ForceRefused, c.Forced)
		}
	})
}

// P5: after 20 forced calls in 24 hours the operator stops by itself, says when
// the next is possible, and still asks plainly. A restart changes nothing.
func TestForcedRefreshesAreBudgeted(t *testing.T) {
	inWorld(t, wechattest.Config{ForcedPerDay: -1}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		first := time.Now()
		for i := range 25 {
			w.change(requesting(fmt.Sprint("request ", i)))
			w.run(time.Minute)
			if i%5 == 4 {
				w.restart()
			}
		}
		c := w.weChat.Counts(testAppID)
		if c.Forced != 20 {
			t.Errorf("%d forced calls, want 20", c.Forced)
		}
		if plain := c.Stable.Calls - c.Forced; plain > 1+5+5 {
			t.Errorf("%d plain calls, want the first, one for each request without budget, and one for each restart with a refresh request", plain)
		}
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonRefreshBudgetExhausted)
		if got, want := w.ready().Message, record.Time(first.Add(24*time.Hour+time.Second)); !strings.Contains(got, want) {
			t.Errorf("message %q, want in it when the next is possible: %s", got, want)
		}
		// Natural refreshes go on meanwhile, and the last of them is the new
		// token that was asked for.
		if invalid := w.consume(4*time.Hour, 10*time.Second); invalid > 0 {
			t.Errorf("%d reads found an invalid token", invalid)
		}
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
		if got := w.get("shop").Status.LastHandledRefreshAt; got != "request 24" {
			t.Errorf("echo %q, want the last request", got)
		}
		w.run(24 * time.Hour)
		w.change(requesting("tomorrow"))
		w.run(time.Second)
		if got := w.weChat.Counts(testAppID).Forced; got != 21 {
			t.Errorf("%d forced calls, want one more on the next day", got)
		}
	})
}

// A forced call that gives the old token back is not a refresh.
func TestRefusedForceIsNotEchoed(t *testing.T) {
	inWorld(t, wechattest.Config{ForcedPerDay: 1}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		w.change(requesting("1"))
		w.run(time.Minute)
		w.change(requesting("2"))
		w.run(10 * time.Minute)
		if got := w.get("shop").Status.LastHandledRefreshAt; got != "1" {
			t.Errorf("echo %q for a token that did not change", got)
		}
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonRefreshRefused)
		if got := w.weChat.Counts(testAppID).Forced; got < 3 || got > 6 {
			t.Errorf("%d forced calls in 11 minutes, want a few, further and further apart", got)
		}
		w.run(2 * time.Hour)
		if got := w.get("shop").Status.LastHandledRefreshAt; got != "2" {
			t.Errorf("echo %q, want 2 with the next token", got)
		}
	})
}

// P5: a crash between any two steps of a forced refresh loses neither the
// refresh nor the count of what was spent.
func TestForcedRefreshSurvivesACrash(t *testing.T) {
	cases := map[string]struct {
		reason        string
		crash         func(*world) // ends with a restart
		forced, plain int          // calls of the refresh
		budget        int          // forced calls that the Secret counts
	}{
		"BeforeTheCall": {
			reason: "The request is still there.",
			crash:  func(w *world) { w.restart(); w.change(requesting("1")) },
			forced: 1, plain: 0 + 1, budget: 1,
		},
		"AfterTheCall": {
			reason: "Nobody but WeChat knows of the call. A plain one finds its token.",
			crash: func(w *world) {
				w.refuse = func() error { return apierrors.NewServiceUnavailable("crash") }
				w.change(requesting("1"))
				w.run(100 * time.Millisecond)
				w.restart()
				w.refuse = nil
			},
			forced: 1, plain: 1, budget: 1,
		},
		"LostAnswer": {
			reason: "As a crash, but the process remembers that it does not know.",
			crash: func(w *world) {
				w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultLost, Count: 1})
				w.change(requesting("1"))
			},
			forced: 1, plain: 1, budget: 1,
		},
		"LostCall": {
			reason: "The call did not arrive: the plain one gives the old token back, and the forced one is made.",
			crash: func(w *world) {
				w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultReset, Count: 1})
				w.change(requesting("1"))
			},
			forced: 2, plain: 1, budget: 1,
		},
		"AfterTheWrite": {
			reason: "The Secret says all.",
			crash: func(w *world) {
				w.change(requesting("1"))
				w.run(100 * time.Millisecond)
				w.restart()
			},
			forced: 1, plain: 0, budget: 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Hour)
				token, before := w.token(), w.weChat.Counts(testAppID)
				tc.crash(w)
				w.run(time.Minute)
				if w.token() == token || !w.weChat.Valid(w.token()) {
					t.Errorf("%s\nthe Secret has no new live token", tc.reason)
				}
				if got := w.get("shop").Status.LastHandledRefreshAt; got != "1" {
					t.Errorf("%s\necho %q", tc.reason, got)
				}
				after := w.weChat.Counts(testAppID)
				forced := after.Forced - before.Forced
				if plain := after.Stable.Calls - before.Stable.Calls - forced; forced != tc.forced || plain != tc.plain {
					t.Errorf("%s\n%d forced and %d plain calls, want %d and %d", tc.reason, forced, plain, tc.forced, tc.plain)
				}
				if got := len(w.recordOf("shop").Spent.Forced); got != tc.budget {
					t.Errorf("%s\nthe Secret counts %d forced calls, want %d", tc.reason, got, tc.budget)
				}
			})
		})
	}
}

// P5 in Classic mode: 2,000 calls a day, over restarts, and a reserve for the
// refreshes that are due.
func TestClassicCallsAreBudgeted(t *testing.T) {
	// spent makes the Secret say that n calls were made today.
	spent := func(w *world, n int) {
		r := *w.recordOf("shop")
		r.Spent.Classic = budget.Spent{}.CallClassic(time.Now()).Classic
		r.Spent.Classic.Calls = n
		w.store(r)
		w.restart()
		w.run(time.Second)
	}
	t.Run("Due", func(t *testing.T) {
		inWorld(t, wechattest.Config{Life: 60 * time.Second, Window: 10 * time.Second}, func(w *world) {
			w.create(appSecret(testAppSecret), weChatToken(classic))
			w.run(time.Minute)
			spent(w, budget.ClassicPerDay-10)
			start := w.calls()
			for range 12 {
				w.run(time.Minute)
				w.restart()
			}
			if got := w.calls() - start; got != 10 {
				t.Errorf("%d calls, want the 10 that were left", got)
			}
			w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonDayQuotaExceeded)
			untilMidnight(w)
			w.run(time.Minute)
			w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
		})
	})
	t.Run("Forced", func(t *testing.T) {
		inWorld(t, wechattest.Config{}, func(w *world) {
			w.create(appSecret(testAppSecret), weChatToken(classic))
			untilMidnight(w)
			w.run(time.Minute)
			spent(w, budget.ClassicPerDay-budget.ClassicReserve-10)
			start := w.calls()
			for i := range 30 {
				w.change(requesting(fmt.Sprint(i)))
				w.run(30 * time.Second)
			}
			if got := w.calls() - start; got != 10 {
				t.Errorf("%d forced calls, want 10: the rest is for refreshes that are due", got)
			}
			if got := len(w.recordOf("shop").Spent.Forced); got > 2 {
				t.Errorf("the Secret remembers %d forced calls, want the last", got)
			}
			w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonRefreshBudgetExhausted)
			w.run(2 * time.Hour)
			w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
		})
	})
}

// untilMidnight lets the time pass until WeChat's next day begins.
func untilMidnight(w *world) { w.run(time.Until(budget.NextDay(time.Now()))) }

// A value too long to be kept is a request all the same.
func TestLongRequestIsHandled(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		token := w.token()
		w.change(requesting(strings.Repeat("é", 100_000)))
		w.run(time.Minute)
		if w.token() == token {
			t.Error("the token did not change")
		}
		if got := w.get("shop").Status.LastHandledRefreshAt; got != strings.Repeat("é", 128) {
			t.Errorf("echo of %d bytes, want the first 256", len(got))
		}
	})
}

// A refresh that was handled is not handled again, wherever its Secret goes.
func TestHandledRequestStaysHandled(t *testing.T) {
	cases := map[string]func(*world){
		"Deleted": func(w *world) { w.remove("shop") },
		"Moved":   func(w *world) { w.change(writing("elsewhere")); w.run(time.Minute); w.change(writing("shop")) },
		"Damaged": func(w *world) { w.edit("shop", func(s *corev1.Secret) { s.Annotations = nil }) },
	}
	for name, happens := range cases {
		for _, refreshed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, refreshed), func(t *testing.T) {
				inWorld(t, wechattest.Config{}, func(w *world) {
					w.create(appSecret(testAppSecret), weChatToken())
					w.run(time.Hour)
					w.change(requesting("1"))
					w.run(time.Minute)
					w.restart()
					w.run(time.Second)
					if refreshed {
						w.run(2 * time.Hour)
					}
					forced, token := w.weChat.Counts(testAppID).Forced, w.token()
					happens(w)
					w.run(time.Minute)
					if got := w.weChat.Counts(testAppID).Forced - forced; got != 0 || w.token() != token {
						t.Errorf("%d forced calls, token kept %t", got, w.token() == token)
					}
					if got := w.recordOf("shop").HandledRefresh; got != "1" {
						t.Errorf("the Secret answers %q", got)
					}
				})
			})
		}
	}
}

// The echo outlives a restart and the next refresh: the same request is not done
// twice.
func TestEchoOutlivesARestart(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.change(requesting("1"))
		w.run(time.Minute)
		w.restart()
		w.run(3 * time.Hour) // with a refresh
		if got := w.get("shop").Status.LastHandledRefreshAt; got != "1" || w.weChat.Counts(testAppID).Forced != 1 {
			t.Errorf("echo %q after %d forced calls, want 1 of 1", got, w.weChat.Counts(testAppID).Forced)
		}
	})
}

// The budget is the appid's.
func TestAnotherAppIDHasItsOwnBudget(t *testing.T) {
	inWorld(t, wechattest.Config{ForcedPerDay: -1, OpenAccounts: true}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		for i := range budget.ForcedPerDay {
			w.change(requesting(fmt.Sprint(i)))
			w.run(time.Minute)
		}
		w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" })
		w.run(time.Minute)
		w.change(requesting("another"))
		w.run(time.Minute)
		if got := w.weChat.Counts("wxfedcba9876543210").Forced; got != 1 {
			t.Errorf("%d forced calls, want 1", got)
		}
	})
}

// A forced call that a gateway answered with 504 after WeChat did it.
type gateway struct {
	http.RoundTripper
	spoil func(*http.Request) bool
}

func (g gateway) RoundTrip(req *http.Request) (*http.Response, error) {
	spoil := g.spoil(req)
	resp, err := g.RoundTripper.RoundTrip(req)
	if err == nil && spoil {
		resp.Body.Close()
		return &http.Response{StatusCode: http.StatusGatewayTimeout, Body: http.NoBody, Header: http.Header{}, Request: req}, nil
	}
	return resp, err
}

func TestGatewayTimeoutCountsAsLost(t *testing.T) {
	inWorld(t, wechattest.Config{ForceRefusedCode: 45009}, func(w *world) {
		n := 0
		tr := gateway{w.weChat.Transport(), func(*http.Request) bool { n++; return n == 2 }}
		w.gateway = tr
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.change(requesting("1"))
		if invalid := w.consume(time.Hour, 10*time.Second); invalid > 0 {
			t.Errorf("%d of 360 reads found an invalid token", invalid)
		}
		if got, c := len(w.recordOf("shop").Spent.Forced), w.weChat.Counts(testAppID).Forced; got != c {
			t.Errorf("the Secret counts %d forced calls of %d", got, c)
		}
	})
}
