package wechattest_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The clock is what answers show, and not what tokens expire by.
func TestClockIsShown(t *testing.T) {
	set := map[string]func(*wechattest.Server, client){
		"Config":   func(*wechattest.Server, client) {},
		"SetClock": func(s *wechattest.Server, _ client) { s.SetClock(time.Hour) },
		"Admin": func(_ *wechattest.Server, c client) {
			if got, err := c.try(t.Context(), http.MethodPut, "/fake/clock", strings.NewReader(`{"ahead":"-2h"}`)); err != nil || got.status != 204 {
				t.Errorf("got %d, %v: %s", got.status, err, got.raw)
			}
		},
	}
	want := map[string]time.Duration{"Config": 5 * time.Minute, "SetClock": time.Hour, "Admin": -2 * time.Hour}
	for name, do := range set {
		synctest.Test(t, func(t *testing.T) {
			s, c := inMemory(t, wechattest.Config{ClockOffset: 5 * time.Minute})
			do(s, c)
			token := c.stable()
			s.SetFault(wechattest.Fault{Kind: wechattest.FaultNull, Endpoint: wechattest.Business})
			for what, got := range map[string]answer{"a token": token, "a refusal": c.classicOf(grant, appID, "wrong"), "a fault": c.business(token.AccessToken)} {
				date, err := http.ParseTime(got.date)
				if err != nil || time.Until(date) != want[name] {
					t.Errorf("%s, %s: Date is %v ahead, %v, want %v", name, what, time.Until(date), err, want[name])
				}
				if got.Errcode == 0 {
					continue
				}
				rid := trailer.FindStringSubmatch(got.Errmsg)
				if rid == nil {
					t.Fatalf("%s, %s: no rid in %q", name, what, got.Errmsg)
				}
				if seconds, err := strconv.ParseInt(rid[1], 16, 64); err != nil || time.Until(time.Unix(seconds, 0)) != want[name] {
					t.Errorf("%s, %s: rid is %v ahead, %v, want %v", name, what, time.Until(time.Unix(seconds, 0)), err, want[name])
				}
			}
			if token.ExpiresIn != 7200 || !s.Valid(token.AccessToken) {
				t.Errorf("%s: the token expires by that clock", name)
			}
		})
	}
}

func TestClockIsShownOverTheWire(t *testing.T) {
	s, c := overLoopback(t, httptest.NewServer)
	s.SetClock(time.Hour)
	before := time.Now().Truncate(time.Second)
	date, err := http.ParseTime(c.stable().date)
	if ahead := date.Add(-time.Hour); err != nil || ahead.Before(before) || ahead.After(time.Now()) {
		t.Errorf("Date is %v, %v, want that in an hour", date, err)
	}
}
