package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A natural refresh costs one call to WeChat and two writes: the Secret, and the
// status that tells of it. It reads nothing, and between two refreshes the API
// server hears nothing at all.
func TestRefreshCostsTwoWrites(t *testing.T) {
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeStable, v1alpha1.ModeClassic} {
		t.Run(string(mode), func(t *testing.T) {
			ns := newNamespace(t)
			// A stable token is replaced after 6 to 8 s, a classic one after 6 to 8 s too.
			const life, window, quiet = 16 * time.Second, 10 * time.Second, 3 * time.Second
			fake, url := serve(t, wechattest.Config{OpenAccounts: true, Life: life, Window: window, Overlap: window})
			app := newApp(mode, 1)
			ns.create(app)
			q := newRequests(ns)
			m := startManager(t, q.kubeconfig, url, "--stable-window="+window.String())
			ns.awaitReady()

			// awaitRotations returns when the status tells of a token that came
			// count rotations later, so that both writes of it are done.
			seen := func() string { return ns.weChatTokens()[app.name].Status.TokenFingerprint }
			awaitRotations := func(count int) {
				t.Helper()
				for range count {
					before := seen()
					eventually(t, "the next rotation", func() error {
						if seen() == before {
							return fmt.Errorf("the token is still %s", before)
						}
						return nil
					})
				}
			}
			issued := func() (tokens, calls int) {
				c := fake.Counts("")
				return c.Stable.Rotations + c.Classic.Rotations, c.Stable.Calls + c.Classic.Calls
			}
			// between returns what was asked of the API server during do, and the
			// calls to WeChat.
			// It begins when a refresh is done, and starts over when WeChat has
			// issued more tokens than do waits for: the machine was too slow then,
			// and part of a refresh may lie outside.
			between := func(tokens int, do func()) (requests map[string]int, calls int) {
				t.Helper()
				for range 5 {
					awaitRotations(1)
					requestsBefore := q.soFar()
					tokensBefore, callsBefore := issued()
					do()
					requests = since(requestsBefore, q.soFar())
					tokensAfter, callsAfter := issued()
					if tokensAfter-tokensBefore == tokens {
						return requests, callsAfter - callsBefore
					}
				}
				t.Fatalf("in 5 tries WeChat never issued just %d tokens meanwhile", tokens)
				return nil, 0
			}

			const rotations = 2
			requests, calls := between(rotations, func() { awaitRotations(rotations) })
			if diff := cmp.Diff(map[string]int{
				"APPLY secrets":             rotations,
				"PATCH wechattokens/status": rotations,
			}, requests); diff != "" {
				t.Errorf("requests of %d rotations (-want +got):\n%s", rotations, diff)
			}
			// WeChat gives the life in whole seconds, so that when the window of
			// a stable token begins is known to a second only. A call that is
			// early by its own latency gets the same token back, and costs
			// nothing.
			if early := calls - rotations; early > 0 && mode == v1alpha1.ModeClassic || early > rotations {
				t.Errorf("%d calls brought no new token", early)
			}

			requests, _ = between(0, func() { time.Sleep(quiet) })
			if diff := cmp.Diff(map[string]int{}, requests); diff != "" {
				t.Errorf("requests between two refreshes (-want +got):\n%s", diff)
			}
			if code := m.terminate(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
		})
	}
}
