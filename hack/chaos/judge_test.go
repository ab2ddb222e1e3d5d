package main

import (
	"strings"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The life that these tests judge: target 0 is a stable account of its own, a
// manager leads from the begin on, and a token is made after 10 s. It is due after
// 40 s, and expires after 50 s.
func judgedLedger() (*ledger, func(seconds float64) time.Time) {
	targets := fleet(8)
	l := newLedger(paceOf(40*time.Second), targets)
	at := func(seconds float64) time.Time { return l.begun.Add(time.Duration(seconds * float64(time.Second))) }
	l.processes = []*incarnation{{number: 1, started: at(0), acquired: at(0)}, {number: 2, started: at(0)}}
	first := bringing(targets[0].account, at(10), "t1")
	first.Rotated = true
	l.calls[targets[0].account] = []*call{first}
	l.tokens["t1"] = minted{account: targets[0].account, value: "t1", seen: at(10)}
	return l, at
}

// bringing is a call that took no time and brought a token.
func bringing(a account, at time.Time, token string) *call {
	c := &call{account: a, process: 1, begun: at, ended: at, token: token, answered: true}
	c.Call = wechattest.Call{At: at, AppID: a.appID, Endpoint: a.endpoint(), Status: 200}
	return c
}

// inVain is a call that took no time and brought nothing.
func inVain(a account, at time.Time, errcode int) *call {
	c := bringing(a, at, "")
	c.Errcode, c.Fault = errcode, wechattest.FaultErrcode
	return c
}

// A dead call is excused only if there was no time in which the operator could
// have replaced the token.
func TestDeadCallsAreExcusedByWhatWasInTheWay(t *testing.T) {
	cases := map[string]struct {
		reason string
		mod    func(l *ledger, at func(float64) time.Time)
		token  string  // t1 if empty
		dead   float64 // when the consumer read and called; 51 s if zero
		want   string  // part of the excuse; empty: none
	}{
		"NothingInTheWay": {
			reason: "A token that died in its time, with a leader all the while, is the operator's fault.",
			mod:    func(*ledger, func(float64) time.Time) {},
		},
		"NoLeader": {
			reason: "Without a leader from before the token is due until it expires nobody can replace it.",
			mod:    func(l *ledger, at func(float64) time.Time) { l.processes[0].ended = at(38) },
			want:   "no manager led",
		},
		"PausedLeader": {
			reason: "A leader that is stopped does not lead.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.processes[0].paused = []span{{from: at(41), to: at(60)}}
			},
			want: "no manager led",
		},
		"NewLeaderInTime": {
			reason: "A new leader that has 6 s must use them.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.processes[0].ended, l.processes[1].acquired = at(38), at(45)
			},
		},
		"NewLeaderTooLate": {
			reason: "A new leader that has 2 s need not.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.processes[0].ended, l.processes[1].acquired = at(38), at(49)
			},
			want: "no manager led",
		},
		"OneAfterTheOther": {
			reason: "Obstacles that follow each other count together.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.processes[0].ended, l.processes[1].acquired = at(38), at(44)
				l.faults = []fault{{span{at(45), at(60), "WeChat failed"}, wechattest.Fault{AppID: l.targets[0].account.appID}}}
			},
			want: "WeChat failed",
		},
		"AnotherAccountFailed": {
			reason: "The fault of another account is in nobody else's way.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.faults = []fault{{span{at(30), at(60), "WeChat failed"}, wechattest.Fault{AppID: l.targets[1].account.appID}}}
			},
		},
		"AnotherEndpointFailed": {
			reason: "The fault of an endpoint that the account does not use is not in its way.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.faults = []fault{{span{at(30), at(60), "WeChat failed"}, wechattest.Fault{Endpoint: wechattest.Classic}}}
			},
		},
		"FaultIsOver": {
			reason: "A short fault leaves time enough.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.faults = []fault{{span{at(39), at(44), "WeChat failed"}, wechattest.Fault{}}}
			},
		},
		"WaitAfterAFault": {
			reason: "After a failure the operator waits a quarter of what is left of the token: 2 s here.",
			mod: func(l *ledger, at func(float64) time.Time) {
				a := l.targets[0].account
				l.calls[a] = append(l.calls[a], inVain(a, at(43), -1))
			},
		},
		"WaitForAPerson": {
			reason: "After an errcode that needs a person, and before one comes, it waits for long.",
			mod: func(l *ledger, at func(float64) time.Time) {
				a := l.targets[0].account
				l.calls[a] = append(l.calls[a], inVain(a, at(43), 40164))
			},
			want: "the operator waited",
		},
		"PersonHasCome": {
			reason: "The person ends that wait.",
			mod: func(l *ledger, at func(float64) time.Time) {
				a := l.targets[0].account
				l.calls[a] = append(l.calls[a], inVain(a, at(43), 40164))
				l.visits = []visit{{at(44), a}}
			},
		},
		"APIServerAway": {
			reason: "Without an API server the Secret cannot be written, nor soon after.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.outages = []span{{from: at(40), to: at(46)}}
			},
			want: "the API server was away",
		},
		"EndedOutside": {
			reason: "Nobody has told that somebody ended the token.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.endings = []ending{{account: l.targets[0].account, token: "t1", at: at(20)}}
			},
			dead: 35,
			want: "not reported yet",
		},
		"ReportedLong": {
			reason: "A report is to be followed up.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.endings = []ending{{account: l.targets[0].account, token: "t1", at: at(20), reported: at(25)}}
			},
			dead: 35,
		},
		"ReportedJustNow": {
			reason: "That takes a moment.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.endings = []ending{{account: l.targets[0].account, token: "t1", at: at(20), reported: at(34)}}
			},
			dead: 35,
			want: "less than 4 s",
		},
		"Replaced": {
			reason: "When another token has been made in its place, the old one has to leave all Secrets.",
			mod: func(l *ledger, at func(float64) time.Time) {
				a := l.targets[0].account
				next := bringing(a, at(20), "t2")
				next.Rotated, next.Forced = true, true
				l.calls[a] = append(l.calls[a], next)
			},
			dead: 31,
		},
		"NeverMade": {
			reason: "A token that neither WeChat nor the run has made must not be in a Secret.",
			mod:    func(*ledger, func(float64) time.Time) {},
			token:  "t9",
			dead:   60,
		},
		"Edited": {
			reason: "A Secret that was edited is repaired.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.damages = []damage{{span: span{from: at(50), to: at(50)}, target: 0, kind: editToken}}
			},
			token: "t9",
			dead:  60,
		},
		"EditedJustNow": {
			reason: "That takes a moment too.",
			mod: func(l *ledger, at func(float64) time.Time) {
				l.damages = []damage{{span: span{from: at(50), to: at(50)}, target: 0, kind: editToken}}
			},
			token: "t9",
			dead:  51,
			want:  "less than 4 s",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l, at := judgedLedger()
			tc.mod(l, at)
			dead, token := 51.0, "t1"
			if tc.dead != 0 {
				dead = tc.dead
			}
			if tc.token != "" {
				token = tc.token
			}
			got := l.judge(deadCall{target: l.targets[0], token: token, read: at(dead), at: at(dead)})
			if tc.want == "" && got.excuse != "" || tc.want != "" && !strings.Contains(got.excuse, tc.want) {
				t.Errorf("%s\nexcused by %q, want %q", tc.reason, got.excuse, tc.want)
			}
		})
	}
}

// Every call for a token has a reason, or is surplus.
func TestCallsAreExplained(t *testing.T) {
	cases := map[string]struct {
		mod  func(l *ledger, at func(float64) time.Time, c *call)
		call float64 // when the second call is made
		want string
	}{
		"InTime":   {call: 42, want: whyTime},
		"Early":    {call: 39.5, want: whyEarly},
		"TooEarly": {call: 38, want: whySurplus},
		"Retried": {
			mod:  func(l *ledger, _ func(float64) time.Time, _ *call) { l.calls[l.targets[0].account][0].answered = false },
			call: 11.1, want: whyRetry,
		},
		"RetriedTooSoon": {
			mod:  func(l *ledger, _ func(float64) time.Time, _ *call) { l.calls[l.targets[0].account][0].answered = false },
			call: 10.1, want: whySurplus,
		},
		"ForcedInVain": {
			mod: func(l *ledger, _ func(float64) time.Time, _ *call) {
				forced := l.calls[l.targets[0].account][0]
				forced.Forced, forced.answered = true, false
			},
			call: 10.1, want: whyLost,
		},
		"AnsweredWhileFrozen": {
			mod: func(l *ledger, at func(float64) time.Time, _ *call) {
				l.processes[0].paused = []span{{from: at(9.9), to: at(25)}}
			},
			call: 26, want: whyRetry,
		},
		"AnsweredBeforeItFroze": {
			mod: func(l *ledger, at func(float64) time.Time, _ *call) {
				l.processes[0].paused = []span{{from: at(11), to: at(25)}}
			},
			call: 26, want: whySurplus,
		},
		"Forced": {
			mod: func(l *ledger, at func(float64) time.Time, c *call) {
				c.Forced = true
				l.requests = []request{{account: l.targets[0].account, value: "1", order: 1, asked: span{from: at(20), to: at(20)}}}
			},
			call: 21, want: whyForce,
		},
		"ForcedTwice": {
			mod: func(l *ledger, at func(float64) time.Time, c *call) {
				c.Forced = true
				l.requests = []request{{account: l.targets[0].account, value: "1", order: 1, asked: span{from: at(12), to: at(12)}}}
				l.secrets[0] = []sighting{{at: at(13), token: "t1", whole: true, handled: "1"}}
			},
			call: 21, want: whySurplus,
		},
		"ForcedBeforeItWasAsked": {
			mod: func(l *ledger, at func(float64) time.Time, c *call) {
				c.Forced = true
				l.requests = []request{{account: l.targets[0].account, value: "1", order: 1, asked: span{from: at(22), to: at(22)}}}
			},
			call: 21, want: whySurplus,
		},
		"ReportedAndDead": {
			mod: func(l *ledger, at func(float64) time.Time, _ *call) {
				l.endings = []ending{{account: l.targets[0].account, token: "t1", at: at(20), reported: at(20)}}
			},
			call: 21, want: whyOutside,
		},
		"AppSecretReset": {
			mod: func(l *ledger, at func(float64) time.Time, _ *call) {
				l.resets = []reset{{span{from: at(19), to: at(20)}, l.targets[0].account.appID}}
			},
			call: 21, want: whySecret,
		},
		"AppSecretResetAndTheLeaderEnds": {
			mod: func(l *ledger, at func(float64) time.Time, c *call) {
				l.secrets[0] = []sighting{{at: at(11), token: "t1", whole: true}}
				l.resets = []reset{{span{from: at(8), to: at(9)}, l.targets[0].account.appID}}
				l.processes[0].ended, l.processes[1].acquired, c.process = at(10.1), at(15), 2
			},
			call: 16, want: whySecret,
		},
		"AppSecretResetAndTheLeaderWrites": {
			mod: func(l *ledger, at func(float64) time.Time, c *call) {
				l.secrets[0] = []sighting{{at: at(11), token: "t1", whole: true}}
				l.resets = []reset{{span{from: at(8), to: at(9)}, l.targets[0].account.appID}}
				l.processes[0].ended, l.processes[1].acquired, c.process = at(12), at(15), 2
			},
			call: 16, want: whySurplus,
		},
		"NewLeaderFindsTheToken": {
			mod: func(l *ledger, at func(float64) time.Time, c *call) {
				l.secrets[0] = []sighting{{at: at(11), token: "t1", whole: true}}
				l.processes[0].ended, l.processes[1].acquired, c.process = at(12), at(15), 2
			},
			call: 16, want: whySurplus,
		},
		"NewLeaderFindsNothing": {
			mod: func(l *ledger, at func(float64) time.Time, c *call) {
				l.processes[0].ended, l.processes[1].acquired, c.process = at(12), at(15), 2
			},
			call: 16, want: whyLeader,
		},
		"NewLeaderFindsADamagedSecret": {
			mod: func(l *ledger, at func(float64) time.Time, c *call) {
				l.secrets[0] = []sighting{{at: at(11), token: "t1", whole: true}, {at: at(13), token: "t1"}}
				l.processes[0].ended, l.processes[1].acquired, c.process = at(12), at(15), 2
			},
			call: 16, want: whyLeader,
		},
		"OldLeaderWakesUp": {
			mod: func(l *ledger, at func(float64) time.Time, _ *call) {
				l.processes[0].paused, l.processes[1].acquired = []span{{from: at(12), to: at(30)}}, at(28)
			},
			call: 31, want: whyDeposed,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l, at := judgedLedger()
			a := l.targets[0].account
			if a.mode != v1alpha1.ModeStable {
				t.Fatal("target 0 is not stable")
			}
			second := bringing(a, at(tc.call), "t2")
			if tc.mod != nil {
				tc.mod(l, at, second)
			}
			l.calls[a] = append(l.calls[a], second)
			if got := l.explain(a); got[0].why != whyFirst || got[1].why != tc.want {
				t.Errorf("explained by %q and %q, want %q", got[0].why, got[1].why, tc.want)
			}
		})
	}
}

// A caller that has left is noticed a bit later, and has left all the same.
func TestCallsOverlap(t *testing.T) {
	begun := time.Now()
	at := func(seconds float64) time.Time { return begun.Add(time.Duration(seconds * float64(time.Second))) }
	for name, tc := range map[string]struct {
		reason string
		left   bool
		next   float64 // when the next call begins; the first ends after 10 s
		want   bool
	}{
		"After":     {"One call follows the other.", false, 10.1, false},
		"Before":    {"The first has not been answered yet.", false, 9.9, true},
		"Left":      {"The caller had left, and the fake did not know yet.", true, 9.9, false},
		"LongSince": {"The caller left too late: the fake notices within a second.", true, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			first, next := &call{begun: begun, ended: at(10), left: tc.left}, &call{begun: at(tc.next)}
			if got := overlap(first, next); got != tc.want {
				t.Errorf("%s\noverlap = %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}

// An old AppSecret is used until the operator could see the next one.
func TestTheOldAppSecretMayBeUsedForAMoment(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		outage float64 // when one ended, 0 for none
		asked  float64 // the AppSecret was reset at 20
		want   bool
	}{
		"Before":    {"It was the right one.", 0, 19, false},
		"AtOnce":    {"The watch takes a moment.", 0, 22, true},
		"Later":     {"The watch has shown the next one.", 0, 30, false},
		"Outage":    {"The watch is not open again yet.", 10, 30, true},
		"LongSince": {"It is.", 10, 41, false},
		"Next":      {"An outage that comes later hides nothing.", 35, 34, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, at := judgedLedger()
			a := l.targets[0].account
			l.resets = []reset{{span{from: at(20), to: at(20)}, a.appID}}
			if tc.outage > 0 {
				l.outages = []span{{from: at(tc.outage - 2), to: at(tc.outage)}}
			}
			if got := l.wrongSecret(a, at(tc.asked)); got != tc.want {
				t.Errorf("%s\nwrongSecret = %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}
