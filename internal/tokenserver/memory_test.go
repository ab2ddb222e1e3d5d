package tokenserver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// apiServer is one that answers, is away, or hangs.
type apiServer struct {
	yes, away, hangs bool
	asked            int
}

func (a *apiServer) ask(ctx context.Context, _ bool) (string, bool, error) {
	a.asked++
	if a.hangs {
		<-ctx.Done()
		return "", false, ctx.Err()
	}
	if a.away {
		return "", false, errors.New("connection refused")
	}
	return "user", a.yes, nil
}

// The word of the API server counts for 10 s; while it is away, a yes counts for 5
// minutes, and never a no or nothing.
func TestHowLongAWordCounts(t *testing.T) {
	t.Parallel()
	type step struct {
		after time.Duration
		do    func(*apiServer)
		want  string // yes, no or error
		asked int    // how often the API server was asked by then
	}
	nothing := func(*apiServer) {}
	away := func(a *apiServer) { a.away = true }
	hang := func(a *apiServer) { a.hangs = true }
	back := func(a *apiServer) { a.away, a.hangs = false, false }
	cases := map[string]struct {
		reason string
		yes    bool
		steps  []step
	}{
		"Yes":      {"Who keeps asking is asked about after 5 s, and does not wait for that.", true, []step{{0, nothing, "yes", 1}, {4 * time.Second, nothing, "yes", 1}, {2 * time.Second, nothing, "yes", 2}, {4 * time.Second, nothing, "yes", 2}}},
		"Old":      {"After 10 s the answer does not count.", true, []step{{0, nothing, "yes", 1}, {11 * time.Second, nothing, "yes", 2}}},
		"No":       {"It is asked again after 10 s.", false, []step{{0, nothing, "no", 1}, {9 * time.Second, nothing, "no", 1}, {2 * time.Second, nothing, "no", 2}}},
		"Granted":  {"A no is over when RBAC says yes.", false, []step{{0, nothing, "no", 1}, {11 * time.Second, func(a *apiServer) { a.yes = true }, "yes", 2}}},
		"Revoked":  {"A yes is over when RBAC says no.", true, []step{{0, nothing, "yes", 1}, {11 * time.Second, func(a *apiServer) { a.yes = false }, "no", 2}}},
		"Noticed":  {"And a little earlier for who keeps asking.", true, []step{{0, nothing, "yes", 1}, {6 * time.Second, func(a *apiServer) { a.yes = false }, "yes", 2}, {time.Millisecond, nothing, "no", 2}}},
		"Away":     {"A yes counts for 5 minutes; the API server is asked once a second.", true, []step{{0, nothing, "yes", 1}, {11 * time.Second, away, "yes", 2}, {time.Millisecond, away, "yes", 2}, {time.Second, away, "yes", 3}, {280 * time.Second, away, "yes", 4}, {10 * time.Second, away, "error", 5}}},
		"AwayNo":   {"A no counts for 10 s.", false, []step{{0, nothing, "no", 1}, {11 * time.Second, away, "error", 2}}},
		"AwayNew":  {"Nothing is known.", true, []step{{0, away, "error", 1}}},
		"Hangs":    {"Who has had a yes waits a second at most.", true, []step{{0, nothing, "yes", 1}, {11 * time.Second, hang, "yes", 2}, {time.Millisecond, hang, "yes", 2}}},
		"HangsNew": {"Others get an error.", true, []step{{0, hang, "error", 1}}},
		"Back":     {"It is asked again.", true, []step{{0, nothing, "yes", 1}, {11 * time.Second, away, "yes", 2}, {2 * time.Second, func(a *apiServer) { back(a); a.yes = false }, "no", 3}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m, api := newMemory[string](), &apiServer{yes: tc.yes}
				for i, s := range tc.steps {
					time.Sleep(s.after)
					s.do(api)
					begun := time.Now()
					_, ok, err := m.get(t.Context(), "who", api.ask)
					synctest.Wait()
					got := map[bool]string{true: "yes", false: "no"}[ok]
					if err != nil {
						got = "error"
					}
					if got != s.want || api.asked != s.asked {
						t.Errorf("%s\nstep %d: %s after %d questions, want %s after %d", tc.reason, i, got, api.asked, s.want, s.asked)
					}
					if took := time.Since(begun); got == "yes" && took > patience {
						t.Errorf("%s\nstep %d took %s", tc.reason, i, took)
					}
				}
				time.Sleep(askedWithin) // for what hangs
			})
		})
	}
}

// Made-up credentials push out no good one.
func TestNosPushOutNoYes(t *testing.T) {
	t.Parallel()
	m := newMemory[string]()
	good := &apiServer{yes: true}
	if _, ok, err := m.get(t.Context(), "good", good.ask); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for i := range 2 * remembered {
		if _, ok, err := m.get(t.Context(), fmt.Sprint(i), (&apiServer{}).ask); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if _, ok, _ := m.get(t.Context(), "good", good.ask); !ok || good.asked != 1 {
		t.Errorf("yes: %t, asked %d times, want once", ok, good.asked)
	}
}
