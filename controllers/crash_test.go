package controllers

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// TestCrashBetweenAnyTwoEffects stops the operator at every point between two effects, one after the
// other, of each way in which a token is replaced. Whatever the point:
//
//   - P1: no consumer finds an invalid token, but where it was invalid to begin with.
//   - P4: all Secrets of the account hold the same live token in the end, and
//     the same tickets.
//   - P5: what was asked for is echoed.
//   - The crash costs one call of WeChat at most, and only the crash after a
//     call whose token was not written yet costs one that ends a token.
//   - The Secret counts the forced calls that WeChat counts.
//   - P3: a further restart costs neither a call nor a write.
func TestCrashBetweenAnyTwoEffects(t *testing.T) { //nolint:tparallel // inWorld calls it for the subtests
	t.Parallel()
	scenarios := map[string]struct {
		setup      func(*world, func(*v1alpha1.WeChatToken)) // before the operator can crash
		act        func(*world, func(*v1alpha1.WeChatToken))
		lasts      time.Duration
		wasInvalid bool // the token is invalid when it begins
		effects    int  // points at which the operator can crash, at least
		wantEcho   string
		wantAlike  []string // Secrets that hold the token in the end
		tickets    bool     // and the tickets
		// uncounted says that the Secret counts other forced calls than the operator's: those
		// of others, or none, because it was away for a moment. WeChat refuses what is too much.
		uncounted bool
	}{
		"First": {
			setup: func(*world, func(*v1alpha1.WeChatToken)) {},
			act: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode))
			},
			lasts: time.Minute, wasInvalid: true, effects: 6, wantAlike: []string{"shop"},
		},
		"Scheduled": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode))
				w.run(time.Hour)
			},
			act:   func(*world, func(*v1alpha1.WeChatToken)) {},
			lasts: time.Hour, effects: 6, wantAlike: []string{"shop"},
		},
		"Forced": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode))
				w.run(time.Hour)
			},
			act:   func(w *world, _ func(*v1alpha1.WeChatToken)) { w.change(requesting("1")) },
			lasts: time.Minute, effects: 6, wantEcho: "1", wantAlike: []string{"shop"},
		},
		"Passive": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode))
				w.run(time.Hour)
				killed(w)
			},
			act:   func(w *world, _ func(*v1alpha1.WeChatToken)) { w.change(reporting(w.report())) },
			lasts: time.Minute, wasInvalid: true, effects: 8, wantAlike: []string{"shop"},
		},
		"FalseReport": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode))
				w.run(time.Hour)
			},
			act:   func(w *world, _ func(*v1alpha1.WeChatToken)) { w.change(reporting(w.report())) },
			lasts: time.Minute, effects: 6, wantAlike: []string{"shop"},
		},
		"Shared": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode), weChatToken(named("b"), mode), weChatToken(named("c"), mode))
				w.run(time.Hour)
			},
			act:   func(w *world, _ func(*v1alpha1.WeChatToken)) { w.change(requesting("1")) },
			lasts: time.Minute, effects: 14, wantEcho: "1", wantAlike: []string{"shop", "b", "c"},
		},
		"Moved": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode))
				w.run(time.Hour)
			},
			act:   func(w *world, _ func(*v1alpha1.WeChatToken)) { w.change(writing("elsewhere")) },
			lasts: time.Minute, effects: 6, wasInvalid: true, wantAlike: []string{"elsewhere"},
		},
		"Restored": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode))
				w.run(time.Hour)
				backup := w.secret("shop")
				killed(w)
				forcedOrFetched(w, mode)
				w.restored(backup, mode)
			},
			act:   func(*world, func(*v1alpha1.WeChatToken)) {},
			lasts: time.Minute, wasInvalid: true, effects: 6, wantAlike: []string{"shop"}, uncounted: true,
		},
		"Immutable": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode))
				w.run(time.Hour)
				w.edit("shop", func(s *corev1.Secret) { s.Immutable = new(true) })
			},
			act:   func(w *world, _ func(*v1alpha1.WeChatToken)) { w.change(requesting("1")) },
			lasts: time.Minute, effects: 8, wantEcho: "1", wantAlike: []string{"shop"}, uncounted: true,
		},
		"AppSecretChanged": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode), weChatToken(named("b"), mode))
				w.run(time.Hour)
			},
			act: func(w *world, _ func(*v1alpha1.WeChatToken)) {
				w.weChat.SetSecret(testAppID, wrongSecret)
				w.edit("shop-app", setAppSecret(wrongSecret))
			},
			lasts: time.Minute, effects: 6, wantAlike: []string{"shop", "b"},
		},
		"FirstTickets": {
			setup: func(*world, func(*v1alpha1.WeChatToken)) {},
			act: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode, bothTickets), weChatToken(named("b"), mode, bothTickets))
			},
			lasts: time.Minute, wasInvalid: true, effects: 16, wantAlike: []string{"shop", "b"}, tickets: true,
		},
		"NextTickets": {
			setup: func(w *world, mode func(*v1alpha1.WeChatToken)) {
				w.create(appSecret(testAppSecret), weChatToken(mode, bothTickets), weChatToken(named("b"), mode, bothTickets))
				w.run(2*time.Hour - time.Second)
			},
			act:   func(*world, func(*v1alpha1.WeChatToken)) {},
			lasts: 15 * time.Minute, effects: 10, wantAlike: []string{"shop", "b"}, tickets: true,
		},
	}
	for name, tc := range scenarios {
		for mode, setMode := range map[string]func(*v1alpha1.WeChatToken){"Stable": stableMode, "Classic": classic} {
			t.Run(name+mode, func(t *testing.T) {
				// play plays the scenario with a crash at the given effect, and
				// returns the effects, and the calls and forced calls made.
				play := func(t *testing.T, crashAt int) (effects []string, calls, forced int) {
					t.Helper()
					inWorld(t, wechattest.Config{}, func(w *world) {
						tc.setup(w, setMode)
						w.effects, w.crashAt = nil, crashAt
						before := w.weChat.Counts(testAppID)
						tc.act(w, setMode)
						invalid := w.consume(tc.lasts, max(time.Second, tc.lasts/360))
						effects = w.effects
						after := w.weChat.Counts(testAppID)
						calls = after.Stable.Calls + after.Classic.Calls + after.Ticket.Calls - before.Stable.Calls - before.Classic.Calls - before.Ticket.Calls
						forced = after.Forced - before.Forced

						if invalid > 0 && !tc.wasInvalid {
							t.Errorf("%d reads found an invalid token", invalid)
						}
						for _, name := range tc.wantAlike {
							s := w.secret(name)
							switch {
							case s == nil || !w.weChat.Valid(string(s.Data["access_token"])):
								t.Errorf("Secret %s holds no live token", name)
							case string(s.Data["access_token"]) != string(w.secret(tc.wantAlike[0]).Data["access_token"]):
								t.Errorf("Secret %s holds another token than %s", name, tc.wantAlike[0])
							case mode == "Stable" && !tc.uncounted && len(w.recordOf(name).Spent.Forced) != forced:
								t.Errorf("Secret %s counts %d forced calls, WeChat %d", name, len(w.recordOf(name).Spent.Forced), forced)
							}
							for _, key := range []string{"jsapi_ticket", "wx_card_ticket"} {
								if tc.tickets && (!w.weChat.TicketValid(w.ticket(name, key)) || w.ticket(name, key) != w.ticket(tc.wantAlike[0], key)) {
									t.Errorf("Secret %s holds no %s that works, or another than %s", name, key, tc.wantAlike[0])
								}
							}
						}
						if got := w.get("shop").Status; got.LastHandledRefreshAt != tc.wantEcho || got.LastHandledInvalidToken != w.get("shop").Annotations[v1alpha1.AnnotationInvalidToken] {
							t.Errorf("echoes %q and %q", got.LastHandledRefreshAt, got.LastHandledInvalidToken)
						}

						before, writes := w.weChat.Counts(testAppID), w.secretWrites+w.statusWrites
						w.restart()
						w.run(time.Minute)
						after = w.weChat.Counts(testAppID)
						if after.Stable.Calls != before.Stable.Calls || after.Classic.Calls != before.Classic.Calls || after.Business.Calls != before.Business.Calls || after.Ticket.Calls != before.Ticket.Calls || w.secretWrites+w.statusWrites != writes {
							t.Errorf("a further restart cost %d writes, and calls: %t", w.secretWrites+w.statusWrites-writes, after.Stable.Calls != before.Stable.Calls)
						}
					})
					return effects, calls, forced
				}

				points, leastCalls, leastForced := play(t, 0)
				if len(points) < tc.effects {
					t.Fatalf("%d effects, want at least %d: %q", len(points), tc.effects, points)
				}
				for i, point := range points {
					t.Run(fmt.Sprintf("%02d %s", i+1, point), func(t *testing.T) {
						_, calls, forced := play(t, i+1)
						t.Logf("%d calls, %d of them forced; without the crash %d and %d", calls, forced, leastCalls, leastForced)
						if calls > leastCalls+1 || forced > leastForced+1 {
							t.Errorf("%d calls, %d of them forced; without the crash %d and %d", calls, forced, leastCalls, leastForced)
						}
					})
				}
			})
		}
	}
}
