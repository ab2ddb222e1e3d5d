//go:build integration

package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A natural refresh costs one call to WeChat and two writes: the Secret, and the
// status that tells of it. It reads nothing, and between two refreshes the API
// server hears nothing at all.
func TestRefreshCostsTwoWrites(t *testing.T) {
	t.Parallel()
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeStable, v1alpha1.ModeClassic} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t)
			// A token of either mode is replaced after 6 to 8 s.
			const life, window = 16 * time.Second, 10 * time.Second
			fake, url := testcluster.FakeWeChat(t, wechattest.Config{OpenAccounts: true, Life: life, Window: window, Overlap: window})
			app := newApp(mode, 1)
			ns.create(app)
			q := newRequests(ns)
			m := ns.start(url, "--kubeconfig="+q.kubeconfig, "--stable-window="+window.String())
			ns.awaitReady()

			// awaitRotation returns when the status tells of the next token, so that
			// both writes of it are done.
			seen := func() string { return ns.weChatTokens()[app.name].Status.TokenFingerprint }
			awaitRotation := func() {
				t.Helper()
				before := seen()
				testcluster.Eventually(t, "the next rotation", func() error {
					if seen() == before {
						return errors.New("the token is the same")
					}
					return nil
				})
			}
			issued := func() int {
				c := fake.Counts("")
				return c.Stable.Rotations + c.Classic.Rotations
			}
			awaitRotation()
			tokens, called, requests := issued(), calls(fake), q.soFar()
			awaitRotation()
			awaitRotation()
			// More than two, if the machine was too slow to see each.
			tokens, called = issued()-tokens, calls(fake)-called
			if diff := cmp.Diff(map[string]int{
				"APPLY secrets":             tokens,
				"PATCH wechattokens/status": tokens,
			}, since(requests, q.soFar())); diff != "" {
				t.Errorf("requests of %d rotations, and of the time between them (-want +got):\n%s", tokens, diff)
			}
			// WeChat gives the life in whole seconds, so that when the window of
			// a stable token begins is known to a second only. A call that is
			// early by its own latency gets the same token back, and costs
			// nothing.
			if early := called - tokens; early > 0 && mode == v1alpha1.ModeClassic || early > tokens {
				t.Errorf("%d calls brought no new token", early)
			}
			if code := m.Terminate(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
		})
	}
}
