package wechattest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestAdminGoverns(t *testing.T) {
	cases := map[string]struct {
		reason       string
		method, path string
		body         string
		status       int
		check        func(*wechattest.Server, client) bool
	}{
		"AddAccount": {
			reason: "A new account gets tokens.",
			method: "PUT", path: "/fake/accounts/" + other, body: `{"secret":"x"}`, status: 204,
			check: func(_ *wechattest.Server, c client) bool { return c.classicOf(grant, other, "x").Errcode == 0 },
		},
		"AddWithoutSecret": {
			reason: "A new account needs a secret.",
			method: "PUT", path: "/fake/accounts/" + other, body: `{"frozen":true}`, status: 400,
		},
		"Freeze": {
			reason: "An account can be frozen, and keeps its secret.",
			method: "PUT", path: "/fake/accounts/" + appID, body: `{"frozen":true}`, status: 204,
			check: func(_ *wechattest.Server, c client) bool { return c.stable().Errcode == 40243 },
		},
		"Allow": {
			reason: "An account can have its own list of callers.",
			method: "PUT", path: "/fake/accounts/" + appID, body: `{"allowIPs":["198.51.100.0/24"]}`, status: 204,
			check: func(_ *wechattest.Server, c client) bool { return c.stable().Errcode == 40164 },
		},
		"Misspelt": {
			reason: "A misspelt field is noticed.",
			method: "PUT", path: "/fake/accounts/" + appID, body: `{"frozzen":true}`, status: 400,
		},
		"Rotate": {
			reason: "Somebody outside rotates.",
			method: "POST", path: "/fake/accounts/" + appID + "/rotate", status: 204,
			check: func(s *wechattest.Server, _ client) bool { return s.Counts(appID).OutsideRotations == 1 },
		},
		"RotateNobody": {
			reason: "There must be an account.",
			method: "POST", path: "/fake/accounts/" + other + "/rotate", status: 404,
		},
		"RevokeNobody": {
			reason: "A token that is not valid cannot be revoked.",
			method: "POST", path: "/fake/kill", body: `{"token":"x"}`, status: 404,
		},
		"Fault": {
			reason: "A fault is set.",
			method: "POST", path: "/fake/faults", body: `{"kind":"errcode","code":-1,"appid":"` + appID + `","endpoint":"stable","count":1,"for":"1m","delay":"0s"}`, status: 200,
			check: func(_ *wechattest.Server, c client) bool {
				return c.classic().Errcode == 0 && c.stable().Errcode == -1 && c.stable().Errcode == 0
			},
		},
		"BusinessFault": {
			reason: "A check can be the only call that fails.",
			method: "POST", path: "/fake/faults", body: `{"kind":"errcode","code":-1,"endpoint":"business"}`, status: 200,
			check: func(_ *wechattest.Server, c client) bool {
				token := c.stable()
				return token.Errcode == 0 && c.classic().Errcode == 0 && c.business(token.AccessToken).Errcode == -1
			},
		},
		"TicketFault": {
			reason: "A call for a ticket can be the only one that fails.",
			method: "POST", path: "/fake/faults", body: `{"kind":"errcode","code":48001,"endpoint":"ticket"}`, status: 200,
			check: func(_ *wechattest.Server, c client) bool {
				token := c.stable()
				return c.business(token.AccessToken).Errcode == 0 && c.ticket(token.AccessToken, "jsapi").Errcode == 48001
			},
		},
		"ClockWithoutTime": {
			reason: "A clock is set to something.",
			method: "PUT", path: "/fake/clock", body: `{}`, status: 400,
		},
		"ImpossibleFault": {
			reason: "An impossible fault is refused.",
			method: "POST", path: "/fake/faults", body: `{"kind":"x"}`, status: 400,
		},
		"BadDuration": {
			reason: "A duration has a unit.",
			method: "POST", path: "/fake/faults", body: `{"kind":"slow","delay":"5"}`, status: 400,
		},
		"Help": {
			reason: "The page explains itself.",
			method: "GET", path: "/fake/", status: 200,
		},
		"Nothing": {
			reason: "There is nothing else.",
			method: "GET", path: "/fake/nothing", status: 404,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, c := inMemory(t, wechattest.Config{})
			got, err := c.try(t.Context(), tc.method, tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if got.status != tc.status {
				t.Errorf("%s\nstatus: got %d, want %d: %s", tc.reason, got.status, tc.status, got.raw)
			}
			if tc.check != nil && !tc.check(s, c) {
				t.Errorf("%s\nit did not work", tc.reason)
			}
		})
	}
}

func TestAdminRevokesAToken(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	token := c.stable().AccessToken
	if got, err := c.try(t.Context(), "POST", "/fake/kill", strings.NewReader(`{"token":"`+token+`"}`)); err != nil || got.status != 204 {
		t.Errorf("got %d, %v, want 204", got.status, err)
	}
	if s.Valid(token) {
		t.Error("the token is valid")
	}
}

func TestAdminSaysWhetherATicketIsValid(t *testing.T) {
	_, c := inMemory(t, wechattest.Config{})
	ticket := c.ticket(c.stable().AccessToken, "jsapi").Ticket
	for asked, want := range map[string]string{ticket: `{"valid":true}` + "\n", "x": `{"valid":false}` + "\n"} {
		got, err := c.try(t.Context(), "POST", "/fake/ticket", strings.NewReader(`{"ticket":"`+asked+`"}`))
		if err != nil || got.raw != want {
			t.Errorf("got %s, %v, want %s", got.raw, err, want)
		}
	}
}

func TestAdminListsAndClearsFaults(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	for _, body := range []string{`{"kind":"hang","delay":"1m30s"}`, `{"kind":"badttl","expiresIn":-1,"count":2}`} {
		if got, err := c.try(t.Context(), "POST", "/fake/faults", strings.NewReader(body)); err != nil || got.status != 200 {
			t.Fatalf("got %d, %v: %s", got.status, err, got.raw)
		}
	}
	list, err := c.try(t.Context(), "GET", "/fake/faults", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"id":1,"kind":"hang","delay":"1m30s"},{"id":2,"kind":"badttl","count":2,"expiresIn":-1}]` + "\n"
	if diff := cmp.Diff(want, list.raw); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}

	for _, step := range []struct {
		path         string
		status, left int
	}{{"/fake/faults?id=x", 400, 2}, {"/fake/faults?id=1", 204, 1}, {"/fake/faults", 204, 0}} {
		got, err := c.try(t.Context(), "DELETE", step.path, nil)
		if err != nil || got.status != step.status || len(s.Faults()) != step.left {
			t.Errorf("DELETE %s: got %d, %v and %d left, want %d and %d", step.path, got.status, err, len(s.Faults()), step.status, step.left)
		}
	}
}

func TestAdminCounts(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	c.stable()
	c.business("98_never")
	var got struct {
		Total    wechattest.Counts
		Accounts map[string]wechattest.Counts
	}
	read(t, c, "/fake/stats", &got)
	if diff := cmp.Diff(s.Counts(""), got.Total); diff != "" {
		t.Errorf("total (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]wechattest.Counts{appID: s.Counts(appID)}, got.Accounts); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}

	var one wechattest.Counts
	read(t, c, "/fake/stats?appid="+appID, &one)
	if diff := cmp.Diff(s.Counts(appID), one); diff != "" {
		t.Errorf("one account (-want +got):\n%s", diff)
	}
}

func read(t *testing.T, c client, path string, v any) {
	t.Helper()
	got, err := c.try(t.Context(), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(got.raw), v); err != nil {
		t.Fatalf("%v in %s", err, got.raw)
	}
}

func TestAdminTellsNoSecretAndNoToken(t *testing.T) {
	s, c := inMemory(t, wechattest.Config{})
	tokens := []string{c.stable().AccessToken, c.classic().AccessToken}
	tokens = append(tokens, c.ticket(tokens[0], "jsapi").Ticket)
	c.classicOf(grant, secret, appID) // swapped
	s.SetFault(wechattest.Fault{Kind: wechattest.FaultEcho})
	c.classic()
	for _, path := range []string{"/fake/", "/fake/stats", "/fake/accounts", "/fake/faults", "/fake/nothing"} {
		got, err := c.try(t.Context(), http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, hidden := range append(tokens, secret) {
			if strings.Contains(got.raw, hidden) {
				t.Errorf("GET %s shows %q", path, hidden)
			}
		}
	}
	var accounts []map[string]any
	read(t, c, "/fake/accounts", &accounts)
	if len(accounts) != 1 || accounts[0]["appid"] != appID {
		t.Errorf("accounts: got %v", accounts)
	}
}
