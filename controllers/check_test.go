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
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

func reporting(value string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) {
		metav1.SetMetaDataAnnotation(&wt.ObjectMeta, v1alpha1.AnnotationInvalidToken, value)
	}
}

func checking(seconds int32) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) {
		wt.Spec.CheckInterval = &metav1.Duration{Duration: time.Duration(seconds) * time.Second}
	}
}

func stableMode(*v1alpha1.WeChatToken) {}

// report is the report of the token in the Secret "shop" that a consumer makes.
func (w *world) report() string {
	return record.Fingerprint(w.token()) + "@" + time.Now().UTC().Format(time.RFC3339)
}

// fetchedOutside lets somebody else fetch a token, and the overlap of the old
// one pass.
func fetchedOutside(w *world) {
	w.weChat.Rotate(testAppID)
	w.run(5*time.Minute + time.Second)
}

// forcedOutside lets somebody else force a token, and the overlap of the old one pass.
func forcedOutside(w *world) {
	w.t.Helper()
	forcedJustNow(w)
	w.run(5*time.Minute + time.Second)
}

// forcedJustNow lets somebody else force a token.
func forcedJustNow(w *world) {
	w.t.Helper()
	c := wechat.NewClientWithTransports("https://wechat", time.Minute, w.weChat.Transport(), w.weChat.Transport())
	if _, err := c.StableToken(w.t.Context(), wechat.Credentials{AppID: testAppID, AppSecret: testAppSecret}, true); err != nil {
		w.t.Fatal(err)
	}
}

// forcedOrFetched lets somebody else replace the token, by the call of its mode.
func forcedOrFetched(w *world, mode func(*v1alpha1.WeChatToken)) {
	w.t.Helper()
	if weChatToken(mode).Spec.ModeOrDefault() == v1alpha1.ModeClassic {
		w.weChat.Rotate(testAppID)
		return
	}
	forcedJustNow(w)
}

// killed makes WeChat refuse the token that it gives to everyone who asks.
func killed(w *world) { w.weChat.Revoke(w.token()) }

// The third rule: a server that finds its token invalid gets a new one.
func TestReportedInvalidTokenIsReplaced(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason               string
		mode                 func(*v1alpha1.WeChatToken)
		ends                 func(*world)
		asked, plain, forced int
		says                 string // the reason of Ready
	}{
		"StableForcedOutside": {
			reason: "The plain call brings the token that somebody else has forced, and spends nothing.",
			mode:   stableMode, ends: forcedOutside, plain: 1, says: v1alpha1.ReasonTokenValid,
		},
		"StableKilled": {
			reason: "The plain call gives the invalid token back, and WeChat calls it invalid, so that one is forced.",
			mode:   stableMode, ends: killed, asked: 1, plain: 1, forced: 1, says: v1alpha1.ReasonTokenRevoked,
		},
		"ClassicFetchedOutside": {
			reason: "Each call brings a new token.",
			mode:   classic, ends: fetchedOutside, asked: 1, plain: 1, says: v1alpha1.ReasonTokenRevoked,
		},
		"ClassicKilled": {
			reason: "Each call brings a new token.",
			mode:   classic, ends: killed, asked: 1, plain: 1, says: v1alpha1.ReasonTokenRevoked,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(tc.mode))
				w.run(time.Hour)
				tc.ends(w)
				before, report := w.weChat.Counts(testAppID), w.report()
				w.change(reporting(report))
				w.run(time.Second)
				if !w.weChat.Valid(w.token()) {
					t.Errorf("%s\nthe token is still invalid", tc.reason)
				}
				after := w.weChat.Counts(testAppID)
				forced := after.Forced - before.Forced
				plain := after.Stable.Calls + after.Classic.Calls - before.Stable.Calls - before.Classic.Calls - forced
				if asked := after.Business.Calls - before.Business.Calls; plain != tc.plain || forced != tc.forced || asked != tc.asked {
					t.Errorf("%s\n%d plain and %d forced calls with %d questions, want %d and %d with %d",
						tc.reason, plain, forced, asked, tc.plain, tc.forced, tc.asked)
				}
				if got := w.get("shop").Status.LastHandledInvalidToken; got != report {
					t.Errorf("echo %q, want %q", got, report)
				}
				w.wantReady(metav1.ConditionTrue, tc.says)
				if got := w.get("shop").Status.ReplacedElsewhere; got.Count != 1 {
					t.Errorf("the status says of tokens replaced elsewhere %+v, want 1", got)
				}

				w.restart()
				w.run(time.Minute)
				w.wantReady(metav1.ConditionTrue, tc.says)
				if got := w.weChat.Counts(testAppID); got.Business.Calls != after.Business.Calls || w.calls() != after.Stable.Calls+after.Classic.Calls {
					t.Error("the restart cost a call")
				}
				w.run(2 * time.Hour)
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
				w.wantNoSecrets()
			})
		})
	}
}

// A liar costs two questions a minute, in mode Stable as many plain calls, and not one
// token.
func TestLiarCannotBurnTheBudget(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]func(*v1alpha1.WeChatToken){"Stable": stableMode, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mode))
				w.run(10 * time.Minute)
				token, calls := w.token(), w.calls()
				for range 120 {
					w.change(reporting(w.report()))
					w.run(time.Second)
				}
				if got := w.weChat.Counts(testAppID).Business.Calls; got > 5 {
					t.Errorf("%d questions in 2 minutes of lies, want 5 at most", got)
				}
				if got := w.calls() - calls; w.token() != token || got > 5 || (name == "Classic" && got > 0) {
					t.Errorf("%d calls for a valid token, want no more plain ones than questions, and none in mode Classic", got)
				}
				w.run(500 * time.Millisecond) // in this world all that happens at one time happens at once
				killed(w)
				w.change(reporting(w.report()))
				w.run(31 * time.Second)
				if w.token() == token {
					t.Error("the liar was right at last, and the token is still there")
				}
			})
		})
	}
}

// However many report the same invalid token, WeChat is called once, in mode Classic
// after one question.
func TestReportsOfOneAccountCoalesce(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]func(*v1alpha1.WeChatToken){"Stable": stableMode, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				const n = 25
				w.create(appSecret(testAppSecret), weChatToken(mode))
				for i := range n - 1 {
					w.create(weChatToken(named(fmt.Sprint("shop", i)), mode))
				}
				w.run(time.Hour)
				fetchedOutside(w)
				forcedOutside(w)
				before, report := w.weChat.Counts(testAppID), w.report()
				for i := range n - 1 {
					w.changeOf(fmt.Sprint("shop", i), reporting(fmt.Sprintf("%s.%d", report, i)))
				}
				w.changeOf("shop", reporting(report))
				w.run(time.Second)
				after := w.weChat.Counts(testAppID)
				questions := map[string]int{"Stable": 0, "Classic": 1}[name]
				if got := after.Business.Calls - before.Business.Calls; got != questions {
					t.Errorf("%d questions, want %d", got, questions)
				}
				if got := after.Stable.Calls + after.Classic.Calls - before.Stable.Calls - before.Classic.Calls; got != 1 {
					t.Errorf("%d calls, want 1", got)
				}
				for i := range n - 1 {
					name := fmt.Sprint("shop", i)
					if string(w.secret(name).Data["access_token"]) != w.token() || !w.weChat.Valid(w.token()) {
						t.Errorf("%s does not share the live token", name)
					}
					if got := w.get(name).Status.LastHandledInvalidToken; !strings.HasPrefix(got, report) {
						t.Errorf("%s: echo %q", name, got)
					}
				}
			})
		})
	}
}

// In mode Stable a plain call by interval brings what somebody else has forced while
// the old token is still valid. It costs the API server nothing, and no other call.
func TestCheckFollowsWhatOthersForce(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(checking(60)), weChatToken(named("shop2"), checking(300)))
		w.run(time.Minute)
		calls, writes, reconciles := w.calls(), w.secretWrites+w.statusWrites, w.reconciles
		w.run(time.Hour)
		if got := w.calls() - calls; got != 60 {
			t.Errorf("%d calls in an hour for an account that is checked each minute, want 60", got)
		}
		if w.secretWrites+w.statusWrites != writes || w.reconciles != reconciles {
			t.Errorf("%d writes and %d reconciles in an hour without news, want none", w.secretWrites+w.statusWrites-writes, w.reconciles-reconciles)
		}
		for n := range int32(3) {
			old := w.token()
			forcedJustNow(w)
			w.run(time.Minute)
			switch {
			case w.token() == old:
				t.Error("the Secret holds the old token a minute after another was forced")
			case !w.weChat.Valid(old):
				t.Error("the old token is invalid: consumers had no time to get the new one")
			}
			w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
			if got := w.get("shop2").Status.ReplacedElsewhere; got.Count != n+1 {
				t.Errorf("the status says of tokens replaced elsewhere %+v, want %d", got, n+1)
			}
		}
		if got := w.weChat.Counts(testAppID); got.Business.Calls != 0 || got.Forced != 3 {
			t.Errorf("%d questions, %d forced calls, want none but the 3 of somebody else", got.Business.Calls, got.Forced)
		}
		w.run(24 * time.Hour)
		if got := w.get("shop").Status.ReplacedElsewhere; got.Count != 0 {
			t.Errorf("a day later the status still says %+v", got)
		}
		w.wantNoSecrets()
	})
}

// WeChat counts the forced refreshes of all clusters together, so those of others use up
// the budget here; and no consumer meets an invalid token all the while.
func TestWhatOthersForceUsesUpTheBudget(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(checking(60)))
		w.run(time.Minute)
		invalid := 0
		for range budget.ForcedPerDay {
			forcedJustNow(w)
			invalid += w.consume(2*time.Minute, 10*time.Second)
		}
		w.change(requesting("1"))
		invalid += w.consume(10*time.Minute, 10*time.Second)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonRefreshBudgetExhausted)
		if invalid > 0 {
			t.Errorf("%d reads found an invalid token", invalid)
		}
		if got := w.weChat.Counts(testAppID); got.Forced != budget.ForcedPerDay {
			t.Errorf("%d forced calls, want the %d of somebody else", got.Forced, budget.ForcedPerDay)
		}
	})
}

// No restart makes a check come early, and none puts it off for long.
func TestRestartKeepsTheRhythmOfChecks(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(checking(60)))
		w.run(10 * time.Minute)
		calls := w.calls()
		w.restart()
		w.run(59 * time.Second)
		if got := w.calls() - calls; got != 0 {
			t.Errorf("%d calls in the first minute after a start, want none", got)
		}
		w.run(61 * time.Second)
		if got := w.calls() - calls; got != 1 {
			t.Errorf("%d calls in the second minute after a start, want 1", got)
		}
	})
}

// In mode Classic no call brings the present token, so WeChat is asked.
func TestClassicCheckReplacesAnInvalidToken(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(classic, checking(300)))
		w.run(time.Hour)
		if got := w.weChat.Counts(testAppID).Business.Calls; got < 10 || got > 12 {
			t.Errorf("%d questions in an hour of checks each 5 minutes", got)
		}
		killed(w)
		w.run(301 * time.Second)
		if !w.weChat.Valid(w.token()) {
			t.Error("the token is invalid after a check's time")
		}
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenRevoked)
	})
}

// Questions are counted in the Secret: 500 a day, of which 100 answer reports.
func TestQuestionsKeepTheirBudget(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(classic, checking(30)))
		untilMidnight(w)
		before := w.weChat.Counts(testAppID).Business.Calls
		for range 4 {
			w.run(100 * 30 * time.Second)
			w.restart() // what it has counted since the last write is lost
		}
		w.run(8 * time.Hour)
		asked := w.weChat.Counts(testAppID).Business.Calls - before
		if want := budget.VerifyPerDay - budget.VerifyReserve; asked < want || asked > 2*want {
			t.Errorf("%d questions in half a day, want the %d of the budget, and no more than the restarts forgot", asked, want)
		}
		w.change(reporting(w.report()))
		w.run(time.Minute)
		if got := w.weChat.Counts(testAppID).Business.Calls - before - asked; got != 1 {
			t.Errorf("%d questions after a report, want 1 of those that are kept", got)
		}
	})
}

// Who must not force a refresh gets what others force, and tells that it forces none.
func TestForcedRefreshNever(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		never := func(wt *v1alpha1.WeChatToken) { wt.Spec.ForcedRefresh = v1alpha1.ForcedRefreshNever }
		w.create(appSecret(testAppSecret), weChatToken(never, checking(60)))
		w.run(time.Hour)
		w.change(requesting("now"))
		w.run(10 * time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonRefreshNotAllowed)
		old := w.token()
		forcedJustNow(w)
		w.run(time.Minute)
		if w.token() == old || w.get("shop").Status.LastHandledRefreshAt != "now" {
			t.Error("what somebody else has forced does not answer the request")
		}
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)

		killed(w)
		w.change(reporting(w.report()))
		w.run(10 * time.Minute)
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonRefreshNotAllowed)
		forcedJustNow(w)
		w.run(61 * time.Second)
		if !w.weChat.Valid(w.token()) {
			t.Error("the token is invalid, and somebody else has forced another one")
		}
		if got := w.weChat.Counts(testAppID).Forced; got != 2 {
			t.Errorf("%d forced calls, want the 2 of somebody else", got)
		}
	})
}

// Somebody outside who fetches again and again (Classic) is not fought beyond
// the quota: what is due is still refreshed.
func TestWarOverAClassicToken(t *testing.T) {
	const left = 30 // of what is not kept for refreshes that are due
	inWorld(t, wechattest.Config{Overlap: -1, ClassicPerDay: -1}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(classic, checking(30)))
		untilMidnight(w)
		w.run(time.Minute)
		w.spendClassic(budget.ClassicPerDay - budget.Terms{}.Reserve() - left)
		start := w.calls()
		for range 30 * 4 {
			w.weChat.Rotate(testAppID)
			w.run(15 * time.Second)
		}
		if got := w.calls() - start; got != left {
			t.Errorf("%d calls in half an hour of war, want the %d that are left", got, left)
		}
		w.run(2 * time.Hour)
		if !w.weChat.Valid(w.token()) {
			t.Errorf("the token is invalid after the war; Ready = %s", w.ready().Message)
		}
	})
}
