package wechattest_test

import (
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestCallsSayWhatCameIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var observed []wechattest.Call
		s, c := inMemory(t, wechattest.Config{ForcedPerDay: 1, Observe: func(c wechattest.Call) { observed = append(observed, c) }})
		token := c.stable().AccessToken
		c.forced()
		c.forced()
		time.Sleep(time.Hour)
		c.business(token)
		c.classicOf(grant, appID, "wrong")
		c.classicOf(grant, "a-secret-in-the-wrong-place", "x")
		c.classicOf(grant, other, "x")
		s.SetFault(wechattest.Fault{Kind: wechattest.FaultLost})
		_, err := c.try(t.Context(), http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret="+secret, nil)
		if err == nil {
			t.Error("lost call: got an answer")
		}

		from := netip.MustParseAddr("192.0.2.1")
		later := time.Now()
		start := later.Add(-time.Hour)
		tokens := s.Tokens()
		want := []wechattest.Call{
			{At: start, From: from, Endpoint: wechattest.Stable, AppID: appID, Status: 200, Rotated: true, Token: tokens[0].Fingerprint},
			{At: start, From: from, Endpoint: wechattest.Stable, AppID: appID, Status: 200, Rotated: true, Token: tokens[1].Fingerprint, Forced: true},
			{At: start, From: from, Endpoint: wechattest.Stable, AppID: appID, Status: 200, Token: tokens[1].Fingerprint, Forced: true, ForceRefused: true},
			{At: later, From: from, Endpoint: wechattest.Business, AppID: appID, Status: 200, Token: tokens[0].Fingerprint, Errcode: 40001, InvalidToken: true},
			{At: later, From: from, Endpoint: wechattest.Classic, AppID: appID, Status: 200, Errcode: 40125},
			{At: later, From: from, Endpoint: wechattest.Classic, Status: 200, Errcode: 40013},
			{At: later, From: from, Endpoint: wechattest.Classic, AppID: other, Status: 200, Errcode: 40013},
			{At: later, From: from, Endpoint: wechattest.Classic, AppID: appID, Rotated: true, Token: tokens[2].Fingerprint, Fault: wechattest.FaultLost},
		}
		opts := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
		if diff := cmp.Diff(want, s.Calls(), opts); diff != "" {
			t.Errorf("Calls (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, observed, opts); diff != "" {
			t.Errorf("Observe (-want +got):\n%s", diff)
		}
	})
}

// What became of a token is known also when nobody may use it any more.
func TestTokensSayWhatBecameOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := inMemory(t, wechattest.Config{})
		start := time.Now()
		at := start.Add
		first := c.stable().AccessToken
		c.classic()
		time.Sleep(time.Minute)
		s.Rotate(appID)
		s.Revoke(first)
		time.Sleep(24 * time.Hour)
		c.stable()

		now := at(24*time.Hour + time.Minute)
		want := []wechattest.Token{
			{Endpoint: wechattest.Stable, Issued: start, Expires: at(2 * time.Hour), Ends: at(time.Minute)},
			{Endpoint: wechattest.Classic, Issued: start, Expires: at(2 * time.Hour), Ends: at(6 * time.Minute)},
			{Endpoint: wechattest.Classic, Issued: at(time.Minute), Expires: at(2*time.Hour + time.Minute), Ends: at(2*time.Hour + time.Minute)},
			{Endpoint: wechattest.Stable, Issued: now, Expires: now.Add(2 * time.Hour), Ends: now.Add(2 * time.Hour)},
		}
		got := s.Tokens()
		for i := range got {
			if got[i].AppID != appID || len(got[i].Fingerprint) != 16 {
				t.Errorf("token %d: %+v", i, got[i])
			}
			got[i].AppID, got[i].Fingerprint = "", ""
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Tokens (-want +got):\n%s", diff)
		}
	})
}

func TestCountsAddUp(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	c.stable()
	c.forced()
	c.forced()
	c.classicOf(grant, appID, "wrong")
	c.classicOf(grant, other, secret)
	c.business("98_never")
	c.must(http.MethodPost, "/cgi-bin/stable_token?", nothing{})
	s.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1})
	c.classic()

	ofAccount := wechattest.Counts{
		Stable: wechattest.EndpointCounts{Calls: 3, OK: 3, Rotations: 2},
		Classic: wechattest.EndpointCounts{
			Calls: 2, Errcodes: map[int]int{40125: 1}, Faults: map[wechattest.FaultKind]int{wechattest.FaultErrcode: 1},
		},
		Forced: 2, ForceRefused: 1,
	}
	if diff := cmp.Diff(ofAccount, s.Counts(appID)); diff != "" {
		t.Errorf("Counts of the account (-want +got):\n%s", diff)
	}

	total := ofAccount
	total.Stable.Calls, total.Stable.Statuses = 4, map[int]int{412: 1}
	total.Classic.Calls, total.Classic.Errcodes = 3, map[int]int{40125: 1, 40013: 1}
	total.Business = wechattest.EndpointCounts{Calls: 1, Errcodes: map[int]int{40001: 1}}
	total.InvalidTokens = 1
	if diff := cmp.Diff(total, s.Counts("")); diff != "" {
		t.Errorf("Counts of all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wechattest.Counts{}, s.Counts(other)); diff != "" {
		t.Errorf("Counts of no account (-want +got):\n%s", diff)
	}
}

// nothing is an empty body of unknown length.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, http.ErrBodyReadAfterClose }
