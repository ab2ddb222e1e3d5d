package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

func at(seconds float64) time.Time {
	return time.UnixMilli(int64(seconds * 1000))
}

// brought is a call of process 1 that brought a token.
func brought(seconds float64, token string, with func(*wechattest.Call)) wechattest.Call {
	c := wechattest.Call{
		At: at(seconds), Endpoint: wechattest.Stable, AppID: fleet(1)[0].account.appID,
		From: addressOf(1), Status: 200, Rotated: true, Token: record.Fingerprint(token),
	}
	if with != nil {
		with(&c)
	}
	return c
}

// made is a token that is valid for 2 minutes.
func made(seconds float64, token string) wechattest.Token {
	return wechattest.Token{
		Fingerprint: record.Fingerprint(token), AppID: fleet(1)[0].account.appID, Endpoint: wechattest.Stable,
		Issued: at(seconds), Expires: at(seconds + 120), Ends: at(seconds + 120),
	}
}

// replaced is the life in which a token was made at 0 s and replaced by another one.
func replaced(seconds float64) *journal {
	j := newJournal(2*time.Minute, fleet(1))
	j.begun, j.ended = at(0), at(180)
	j.takeovers = []takeover{{at(-1), 0, 1}}
	j.calls = []wechattest.Call{brought(0, "a", nil), brought(seconds, "b", nil)}
	j.tokens = []wechattest.Token{made(0, "a"), made(seconds, "b")}
	j.versions[0] = []version{{at(0.1), "a"}, {at(seconds + 0.1), "b"}}
	return j
}

// forced lets a token be forced at 40 s, before the one that is due.
func forced(j *journal) {
	j.calls = slices.Insert(j.calls, 1, brought(40, "f", func(c *wechattest.Call) { c.Forced = true }))
	j.tokens = slices.Insert(j.tokens, 1, made(40, "f"))
	j.versions[0] = slices.Insert(j.versions[0], 1, version{at(40.1), "f"})
}

// Each promise is missed where it is broken, and not where the run was in the way.
func TestJudgeFindsBrokenPromises(t *testing.T) {
	appID := fleet(1)[0].account.appID
	again := func(seconds float64, with func(*wechattest.Call)) func(*journal) {
		return func(j *journal) { j.calls = slices.Insert(j.calls, 1, brought(seconds, "a", with)) }
	}
	asked := func(seconds float64) func(*journal) {
		return func(j *journal) { j.requests = append(j.requests, request{at(seconds), fleet(1)[0].account}) }
	}
	inTheWay := func(from, to float64, appID string) func(*journal) {
		return func(j *journal) { j.obstacles = append(j.obstacles, obstacle{at(from), at(to), 0, appID, false}) }
	}
	revoked := func(j *journal) { j.tokens[0].Ends = at(60) }
	stays := func(j *journal) { j.versions[0] = j.versions[0][:1] }
	edited := func(j *journal) { j.versions[0] = slices.Insert(j.versions[0], 1, version{at(50), "never made"}) }
	plain := func(c *wechattest.Call) { c.Rotated = false }

	cases := map[string]struct {
		reason   string
		replaced float64 // 92 if zero
		mods     []func(*journal)
		want     string // how the first finding begins; empty: there is none
	}{
		"Clean":            {reason: "A token that is replaced in its window is well."},
		"Invalid":          {reason: "A revoked token must leave the Secret.", mods: []func(*journal){revoked}, want: "valid"},
		"InvalidUnknown":   {reason: "Nobody had reported it.", mods: []func(*journal){revoked, inTheWay(60, 95, appID)}},
		"InvalidElsewhere": {reason: "Another account is in nobody's way.", mods: []func(*journal){revoked, inTheWay(60, 95, "another")}, want: "valid"},
		"InvalidOtherCluster": {
			reason: "What happens to another cluster is in nobody's way here.",
			mods: []func(*journal){revoked, func(j *journal) {
				j.obstacles = append(j.obstacles, obstacle{at(60), at(95), 1, "", false})
			}},
			want: "valid",
		},
		"Checked":         {reason: "A plain call in its rhythm makes sure of the token.", mods: []func(*journal){again(30, plain), again(24, plain), again(18, plain)}},
		"CheckedTooOften": {reason: "An interval is 6 s.", mods: []func(*journal){again(20, plain), again(18, plain)}, want: "needless"},
		"CheckedAtOnce": {reason: "A report is answered by a plain call.", mods: []func(*journal){again(20, plain), again(18, plain), func(j *journal) {
			j.reports = append(j.reports, request{at(19.9), fleet(1)[0].account})
		}}},
		"Edited":         {reason: "A Secret must not hold what never was a token.", mods: []func(*journal){edited}, want: "valid"},
		"Late":           {reason: "A token must have a successor before its end.", replaced: 118, want: "in time"},
		"LateLeaderless": {reason: "Without a leader it cannot.", replaced: 118, mods: []func(*journal){inTheWay(91, 119, "")}},
		"LateByFault": {
			reason: "A call that WeChat spoils is followed by a wait.", replaced: 118,
			mods: []func(*journal){again(92, func(c *wechattest.Call) { c.Fault, c.Token = wechattest.FaultReset, "" })},
		},
		"StaysBehind":    {reason: "A new token reaches the Secret.", mods: []func(*journal){stays}, want: "follows"},
		"ForcedByItself": {reason: "Nobody has asked for this call.", mods: []func(*journal){forced}, want: "needless"},
		"ForcedForInvalid": {
			reason: "Somebody outside has ended the token.",
			mods:   []func(*journal){forced, inTheWay(39, 41, ""), func(j *journal) { j.tokens[0].Ends = at(39.5) }},
		},
		"Forced": {reason: "Somebody has.", mods: []func(*journal){forced, asked(39)}},
		"RestartCalls": {
			reason: "A new leader finds the token in the Secret.",
			mods: []func(*journal){
				func(j *journal) { j.takeovers = append(j.takeovers, takeover{at(20), 0, 2}) }, inTheWay(5, 35, ""),
				again(21, func(c *wechattest.Call) { c.From, c.Rotated = addressOf(2), false }),
			},
			want: "needless",
		},
		"RestartAsks": {
			reason: "One that finds a request may ask for the present token first.",
			mods:   []func(*journal){again(45.1, func(c *wechattest.Call) { c.Forced = true }), again(45, plain), asked(44)},
		},
		"DeposedCalls": {
			reason: "A leader that was paused does not know yet that it is none.",
			mods:   []func(*journal){func(j *journal) { j.takeovers = append(j.takeovers, takeover{at(20), 0, 2}) }, again(21, plain)},
		},
		"TwoAtOnce": {reason: "The first call has no answer yet.", mods: []func(*journal){again(0.02, plain)}, want: "at once"},
		"TwoLeaders": {
			reason: "Another process knows nothing of it.",
			mods:   []func(*journal){again(0.02, func(c *wechattest.Call) { c.From, c.Rotated = addressOf(2), false })},
		},
		"OverQuota": {
			reason: "WeChat must not have to refuse.",
			mods:   []func(*journal){again(30, func(c *wechattest.Call) { c.Errcode, c.Token = 45009, "" })}, want: "refused",
		},
		"ForcedByNextLeader": {
			reason: "The one before has noted down that it has forced.",
			mods: []func(*journal){forced, asked(39), asked(45), func(j *journal) {
				j.calls = slices.Insert(j.calls, 2, brought(50, "f", func(c *wechattest.Call) {
					c.Forced, c.ForceRefused, c.Rotated, c.From = true, true, false, addressOf(2)
				}))
			}},
			want: "refused",
		},
		"ForcedTooSoon": {
			reason: "WeChat allows one forced call in 30 s.",
			mods: []func(*journal){forced, asked(39), asked(45), func(j *journal) {
				j.calls = slices.Insert(j.calls, 2, brought(50, "f", func(c *wechattest.Call) { c.Forced, c.ForceRefused, c.Rotated = true, true, false }))
			}},
			want: "refused",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.replaced == 0 {
				tc.replaced = 92
			}
			j := replaced(tc.replaced)
			for _, mod := range tc.mods {
				mod(j)
			}
			j.judge()
			if tc.want == "" && len(j.found) > 0 || tc.want != "" && (len(j.found) == 0 || !strings.HasPrefix(j.found[0].text, tc.want+": ")) {
				t.Errorf("%s\nfound %v, want %q", tc.reason, j.found, tc.want)
			}
		})
	}
}
