package wechattest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestFaultErrcode(t *testing.T) {
	cases := map[string]struct {
		reason string
		fault  wechattest.Fault
		want   failure
	}{
		"Known":    {reason: "The usual message comes by itself.", fault: wechattest.Fault{Code: -1}, want: failure{200, -1, "system error rid"}},
		"CallerIP": {reason: "So does the caller's address.", fault: wechattest.Fault{Code: 40164}, want: failure{200, 40164, "invalid ip 192.0.2.1 ipv6 ::ffff:192.0.2.1, not in whitelist rid"}},
		"Unknown":  {reason: "A code without a usual message is possible.", fault: wechattest.Fault{Code: 99999}, want: failure{200, 99999, "error rid"}},
		"Message":  {reason: "A message gets its trailer.", fault: wechattest.Fault{Code: 50002, Message: "user limited,"}, want: failure{200, 50002, "user limited, rid"}},
		"Hint":     {reason: "A message with a trailer keeps it.", fault: wechattest.Fault{Code: 45009, Message: "quota hint: [nl1a8a02641530!]"}, want: failure{200, 45009, "quota hint: [nl1a8a02641530!]"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := inMemory(t, wechattest.Config{})
			tc.fault.Kind = wechattest.FaultErrcode
			s.SetFault(tc.fault)
			if diff := cmp.Diff(tc.want, c.classic().failure()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFaultAnswers(t *testing.T) {
	cases := map[string]struct {
		reason    string
		fault     wechattest.Fault
		status    int
		inBody    []string
		rotations int
	}{
		"Status": {
			reason: "A gateway answers with a page.",
			fault:  wechattest.Fault{Kind: wechattest.FaultStatus},
			status: 502, inBody: []string{"<html>", "502 Bad Gateway"},
		},
		"StatusGiven": {
			reason: "Any status can be had.",
			fault:  wechattest.Fault{Kind: wechattest.FaultStatus, Status: 503},
			status: 503, inBody: []string{"503 Service Unavailable"},
		},
		"Garbage": {
			reason: "What is not JSON comes with 200.",
			fault:  wechattest.Fault{Kind: wechattest.FaultGarbage},
			status: 200, inBody: []string{"<not json>"},
		},
		"Null": {
			reason: "An errcode comes beside a null token.",
			fault:  wechattest.Fault{Kind: wechattest.FaultNull},
			status: 200, inBody: []string{`{"errcode":-1000,"errmsg":"system error rid: `, `,"access_token":null,"expires_in":0}`},
		},
		"Empty": {
			reason: "A success carries no token.",
			fault:  wechattest.Fault{Kind: wechattest.FaultEmpty},
			status: 200, inBody: []string{`{"access_token":"","expires_in":7200}`},
		},
		"Huge": {
			reason: "The body is larger than anybody should read.",
			fault:  wechattest.Fault{Kind: wechattest.FaultHuge},
			status: 200, inBody: []string{strings.Repeat("A", 4<<20)},
		},
		"HugeGiven": {
			reason: "Any length can be had.",
			fault:  wechattest.Fault{Kind: wechattest.FaultHuge, Bytes: 5},
			status: 200, inBody: []string{`{"access_token":"AAAAA","expires_in":7200}`},
		},
		"Echo": {
			reason: "A box on the way quotes the AppSecret.",
			fault:  wechattest.Fault{Kind: wechattest.FaultEcho},
			status: 502, inBody: []string{"/cgi-bin/stable_token", secret},
		},
		"BadTTLZero": {
			reason: "The life of the token is 0.",
			fault:  wechattest.Fault{Kind: wechattest.FaultBadTTL},
			status: 200, inBody: []string{`{"access_token":"98_`, `,"expires_in":0}`}, rotations: 1,
		},
		"BadTTLNegative": {
			reason: "The life of the token is negative.",
			fault:  wechattest.Fault{Kind: wechattest.FaultBadTTL, ExpiresIn: -7200},
			status: 200, inBody: []string{`,"expires_in":-7200}`}, rotations: 1,
		},
		"BadTTLAbsurd": {
			reason: "The life of the token is absurd.",
			fault:  wechattest.Fault{Kind: wechattest.FaultBadTTL, ExpiresIn: 1 << 62},
			status: 200, inBody: []string{`,"expires_in":4611686018427387904}`}, rotations: 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := inMemory(t, wechattest.Config{})
			s.SetFault(tc.fault)
			got, err := c.try(t.Context(), http.MethodPost, "/cgi-bin/stable_token",
				asJSON(stableRequest{GrantType: grant, AppID: appID, Secret: secret}))
			if err != nil {
				t.Fatal(err)
			}
			if got.status != tc.status {
				t.Errorf("%s\nstatus: got %d, want %d", tc.reason, got.status, tc.status)
			}
			for _, part := range tc.inBody {
				if !strings.Contains(got.raw, part) {
					t.Errorf("%s\nno %.80q in %.200q", tc.reason, part, got.raw)
				}
			}
			if got := s.Counts(appID).Stable.Rotations; got != tc.rotations {
				t.Errorf("%s\nrotations: got %d, want %d", tc.reason, got, tc.rotations)
			}
		})
	}
}

func TestFaultAnswersToABusinessCall(t *testing.T) {
	cases := map[string]struct {
		reason string
		fault  wechattest.Fault
		want   string
	}{
		"Empty": {"A success lists no address.", wechattest.Fault{Kind: wechattest.FaultEmpty}, `{"ip_list":[]}`},
		"Huge":  {"A success lists one that is too long.", wechattest.Fault{Kind: wechattest.FaultHuge, Bytes: 5}, `{"ip_list":["AAAAA"]}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := inMemory(t, wechattest.Config{})
			token := c.stable().AccessToken
			tc.fault.Endpoint = wechattest.Business
			s.SetFault(tc.fault)
			if diff := cmp.Diff(tc.want, c.business(token).raw); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if got := c.stable(); got.AccessToken != token {
				t.Errorf("a stable call got errcode %d, want the token", got.Errcode)
			}
		})
	}
}

func TestFaultEchoQuotesTheURL(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	s.SetFault(wechattest.Fault{Kind: wechattest.FaultEcho})
	if got := c.classic().raw; !strings.Contains(got, "secret="+secret) {
		t.Errorf("no AppSecret in %q", got)
	}
}

func TestFaultsBreakTheConnection(t *testing.T) {
	cases := map[string]struct {
		reason    string
		fault     wechattest.Fault
		want      error
		took      time.Duration
		rotations int
	}{
		"Reset":     {reason: "The call did not get through.", fault: wechattest.Fault{Kind: wechattest.FaultReset}, want: syscall.ECONNRESET},
		"Lost":      {reason: "The call got through, its answer did not.", fault: wechattest.Fault{Kind: wechattest.FaultLost}, want: syscall.ECONNRESET, rotations: 1},
		"Truncated": {reason: "Half of the answer arrived.", fault: wechattest.Fault{Kind: wechattest.FaultTruncated}, want: io.ErrUnexpectedEOF, rotations: 1},
		"Hang":      {reason: "A hang can have an end.", fault: wechattest.Fault{Kind: wechattest.FaultHang, Delay: time.Minute}, want: syscall.ECONNRESET, took: time.Minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c := inMemory(t, wechattest.Config{})
				s.SetFault(tc.fault)
				start := time.Now()
				_, err := c.try(t.Context(), http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret="+secret, nil)
				if !errors.Is(err, tc.want) {
					t.Errorf("%s\ngot %v, want %v", tc.reason, err, tc.want)
				}
				if got := time.Since(start); got != tc.took {
					t.Errorf("%s\nit took %v, want %v", tc.reason, got, tc.took)
				}
				if got := s.Counts(appID).Classic.Rotations; got != tc.rotations {
					t.Errorf("%s\nrotations: got %d, want %d", tc.reason, got, tc.rotations)
				}
			})
		})
	}
}

func TestSlowAnswerIsOfTheTimeOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{Latency: time.Second})
		s.SetFault(wechattest.Fault{Kind: wechattest.FaultSlow, Delay: 10 * time.Second, Count: 1})
		start := time.Now()
		first := c.stable()
		if got := time.Since(start); got != 11*time.Second {
			t.Errorf("slow call took %v, want 11s with the latency", got)
		}
		if first.ExpiresIn != 7200 {
			t.Errorf("expires_in: got %d, want 7200, as when the call was processed", first.ExpiresIn)
		}
		start = time.Now()
		if got := c.stable().ExpiresIn; got != 7189 {
			t.Errorf("expires_in 11 s later: got %d, want 7189", got)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("next call took %v, want 1s", got)
		}
	})
}

func TestFaultTextPlain(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	s.SetFault(wechattest.Fault{Kind: wechattest.FaultTextPlain})
	for range 3 {
		if got := c.stable(); got.contentType != "text/plain" || got.AccessToken == "" {
			t.Errorf("got %s with a token: %t", got.contentType, got.AccessToken != "")
		}
	}
}

func TestFaultTakesOnlyWhatItMatches(t *testing.T) {
	cases := map[string]struct {
		reason string
		fault  wechattest.Fault
		want   map[string]int
	}{
		"All":      {reason: "A fault is for all calls.", want: map[string]int{"stable": 50002, "classic": 50002, "business": 50002, "other": 50002}},
		"Endpoint": {reason: "It can be for one endpoint.", fault: wechattest.Fault{Endpoint: wechattest.Classic}, want: map[string]int{"stable": 0, "classic": 50002, "business": 0, "other": 0}},
		"Business": {reason: "A check of a token can fail while tokens are issued.", fault: wechattest.Fault{Endpoint: wechattest.Business}, want: map[string]int{"stable": 0, "classic": 0, "business": 50002, "other": 0}},
		"Account":  {reason: "It can be for one account, whose tokens it follows.", fault: wechattest.Fault{AppID: appID}, want: map[string]int{"stable": 50002, "classic": 50002, "business": 50002, "other": 0}},
		"Both":     {reason: "It can be for both.", fault: wechattest.Fault{AppID: appID, Endpoint: wechattest.Stable}, want: map[string]int{"stable": 50002, "classic": 0, "business": 0, "other": 0}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := inMemory(t, wechattest.Config{})
			s.AddAccount(other, secret)
			token := c.stable().AccessToken
			tc.fault.Kind, tc.fault.Code = wechattest.FaultErrcode, 50002
			s.SetFault(tc.fault)
			got := map[string]int{
				"stable":   c.stable().Errcode,
				"classic":  c.classic().Errcode,
				"business": c.business(token).Errcode,
				"other":    c.post(stableRequest{GrantType: grant, AppID: other, Secret: secret}).Errcode,
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFaultsTakeTurnsAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{})
		s.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 1, Count: 2})
		s.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 2, For: time.Minute})
		third := s.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 3})

		want := []int{1, 1, 2, 2}
		got := []int{c.stable().Errcode, c.stable().Errcode, c.stable().Errcode, c.stable().Errcode}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("errcodes (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute)
		if got := c.stable().Errcode; got != 3 {
			t.Errorf("after a minute: got %d, want 3", got)
		}
		if diff := cmp.Diff([]wechattest.Fault{{ID: third, Kind: wechattest.FaultErrcode, Code: 3}}, s.Faults()); diff != "" {
			t.Errorf("Faults (-want +got):\n%s", diff)
		}

		fourth := s.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 4})
		s.ClearFaults(third)
		if got := c.stable().Errcode; got != 4 {
			t.Errorf("after clearing the third: got %d, want 4 of fault %d", got, fourth)
		}
		s.ClearFaults()
		if got := c.stable().Errcode; got != 0 {
			t.Errorf("after clearing all: got %d, want 0", got)
		}
	})
}

func TestFaultsListsWhatIsLeft(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	s.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 1, Count: 3})
	c.stable()
	want := []wechattest.Fault{{Kind: wechattest.FaultErrcode, Code: 1, Count: 2}}
	if diff := cmp.Diff(want, s.Faults(), cmpopts.IgnoreFields(wechattest.Fault{}, "ID")); diff != "" {
		t.Errorf("Faults (-want +got):\n%s", diff)
	}
}

func TestUnprocessedCallCostsNoQuota(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{ClassicPerDay: 1})
	s.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus, Count: 5})
	for range 5 {
		c.classic()
	}
	if got := c.classic().Errcode; got != 0 {
		t.Errorf("got %d, want 0: the calls before did not reach WeChat", got)
	}
}

func TestImpossibleFaultIsRefused(t *testing.T) {
	cases := map[string]struct {
		reason string
		fault  wechattest.Fault
	}{
		"Kind":     {reason: "The kind is unknown.", fault: wechattest.Fault{Kind: "x"}},
		"Endpoint": {reason: "The endpoint is unknown.", fault: wechattest.Fault{Kind: wechattest.FaultReset, Endpoint: "x"}},
		"NoCode":   {reason: "Errcode 0 is no error.", fault: wechattest.Fault{Kind: wechattest.FaultErrcode}},
		"NoDelay":  {reason: "Slow without a delay is not slow.", fault: wechattest.Fault{Kind: wechattest.FaultSlow}},
		"Status":   {reason: "A server can not write this status and a body.", fault: wechattest.Fault{Kind: wechattest.FaultStatus, Status: 204}},
		"Negative": {reason: "There is no negative count.", fault: wechattest.Fault{Kind: wechattest.FaultReset, Count: -1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.fault.Check() == nil {
				t.Errorf("%s\nCheck: got nil", tc.reason)
			}
		})
	}
}
