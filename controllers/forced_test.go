package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// P5: a refresh request brings a new token at once, and its echo with it.
func TestRefreshRequestBringsANewToken(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

// P5 in Classic mode: 2,000 calls a day, over restarts, and a reserve for the
// refreshes that are due.
func TestClassicCallsAreBudgeted(t *testing.T) {
	t.Parallel()
	t.Run("Due", func(t *testing.T) {
		inWorld(t, wechattest.Config{Life: 60 * time.Second, Window: 10 * time.Second}, func(w *world) {
			w.create(appSecret(testAppSecret), weChatToken(classic))
			w.run(time.Minute)
			w.spendClassic(budget.ClassicPerDay - 10)
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
			w.spendClassic(budget.ClassicPerDay - budget.Terms{}.Reserve() - 10)
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

// spendClassic makes the Secret say that so many calls were made today.
func (w *world) spendClassic(calls int) {
	w.t.Helper()
	r := *w.recordOf("shop")
	r.Spent.Classic = budget.Spent{}.CallClassic(time.Now()).Classic
	r.Spent.Classic.Calls = calls
	w.store(r)
	w.restart()
	w.run(time.Second)
}

// untilMidnight lets the time pass until WeChat's next day begins.
func untilMidnight(w *world) { w.run(time.Until(budget.NextDay(time.Now()))) }
