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

// forcedOutside lets somebody else force a token.
func forcedOutside(w *world) {
	w.t.Helper()
	c := wechat.NewClientWithTransports("https://wechat", time.Minute, w.weChat.Transport(), w.weChat.Transport())
	if _, err := c.StableToken(w.t.Context(), wechat.Credentials{AppID: testAppID, AppSecret: testAppSecret}, true); err != nil {
		w.t.Fatal(err)
	}
	w.run(5*time.Minute + time.Second)
}

// killed makes WeChat refuse the token that it gives to everyone who asks.
func killed(w *world) { w.weChat.Revoke(w.token()) }

// The third rule: a server that finds its token invalid gets a new one.
func TestReportedInvalidTokenIsReplaced(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason        string
		mode          func(*v1alpha1.WeChatToken)
		ends          func(*world)
		plain, forced int
	}{
		"StableForcedOutside": {
			reason: "The plain call brings the token that somebody else has forced, and spends nothing.",
			mode:   stableMode, ends: forcedOutside, plain: 1,
		},
		"StableKilled": {
			reason: "The plain call gives the invalid token back, so that one is forced.",
			mode:   stableMode, ends: killed, plain: 1, forced: 1,
		},
		"ClassicFetchedOutside": {
			reason: "Each call brings a new token.",
			mode:   classic, ends: fetchedOutside, plain: 1,
		},
		"ClassicKilled": {
			reason: "Each call brings a new token.",
			mode:   classic, ends: killed, plain: 1,
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
				if plain != tc.plain || forced != tc.forced || after.Business.Calls-before.Business.Calls != 1 {
					t.Errorf("%s\n%d plain and %d forced calls after %d questions, want %d and %d after 1",
						tc.reason, plain, forced, after.Business.Calls-before.Business.Calls, tc.plain, tc.forced)
				}
				if got := w.get("shop").Status.LastHandledInvalidToken; got != report {
					t.Errorf("echo %q, want %q", got, report)
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenRevoked)

				w.restart()
				w.run(time.Minute)
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenRevoked)
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

// A liar costs two questions a minute, and not one token.
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
				if w.token() != token || w.calls() != calls {
					t.Errorf("%d calls for a valid token", w.calls()-calls)
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

// However many report the same invalid token, WeChat is asked once and calls once.
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
				if got := after.Business.Calls - before.Business.Calls; got != 1 {
					t.Errorf("%d questions, want 1", got)
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

// The check finds an invalid token without a report.
func TestCheckIntervalReplacesAnInvalidToken(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]func(*v1alpha1.WeChatToken){"Stable": stableMode, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mode, checking(60)))
				w.run(time.Hour)
				if got := w.weChat.Counts(testAppID).Business.Calls; got < 50 || got > 60 {
					t.Errorf("%d questions in an hour of checks each 60 to 66 s", got)
				}
				killed(w)
				w.run(67 * time.Second)
				if !w.weChat.Valid(w.token()) {
					t.Error("the token is invalid after a check's time")
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenRevoked)
			})
		})
	}
}

// Somebody outside who fetches again and again (Classic) is not fought beyond
// the quota: what is due is still refreshed.
func TestWarOverAClassicToken(t *testing.T) {
	const left = 30 // of what is not kept for refreshes that are due
	inWorld(t, wechattest.Config{Overlap: -1, ClassicPerDay: -1}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(classic, checking(30)))
		untilMidnight(w)
		w.run(time.Minute)
		w.spendClassic(budget.ClassicPerDay - budget.ClassicReserve - left)
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
