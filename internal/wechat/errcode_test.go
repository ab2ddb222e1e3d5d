package wechat_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A row says all that the operator needs to know, and waits where the class
// leaves that to it.
func TestEachErrcodeHasItsMeaning(t *testing.T) {
	for _, code := range append(wechat.Codes(), 0, 99999) {
		m := (&wechat.Error{Code: code}).Meaning()
		if m.Reason == "" || m.Remedy == "" || strings.HasSuffix(m.Remedy, ".") {
			t.Errorf("%d: reason %q, remedy %q", code, m.Reason, m.Remedy)
		}
		classDecides := m.Class == wechat.Transient || m.Class == wechat.MinuteQuota
		if (m.Wait == 0) != classDecides {
			t.Errorf("%d: class %v with a wait of %s", code, m.Class, m.Wait)
		}
		if m.Longest != 0 && m.Longest <= m.Wait {
			t.Errorf("%d: waits from %s to %s", code, m.Wait, m.Longest)
		}
	}
}

// Those that the page of return codes has, and no row here, wait for a person.
func TestErrcodesOfRangesWaitForAPerson(t *testing.T) {
	for _, code := range []int64{40066, 41003, 44002, 46001, 49003, 50005, 61007} {
		if m := (&wechat.Error{Code: code}).Meaning(); m.Class != wechat.Refused || m.Longest != 30*time.Minute || !strings.Contains(m.Remedy, "全局返回码") {
			t.Errorf("%d: %+v, want one that a person ends", code, m)
		}
	}
}

func TestUnknownErrcodesAreTransient(t *testing.T) {
	want := wechat.Errcode{Class: wechat.Transient, Reason: "WeChatUnavailable", Remedy: "The operator tries again"}
	for _, code := range []int64{0, 45001, 99999, 9001001} {
		if diff := cmp.Diff(want, (&wechat.Error{Code: code}).Meaning()); diff != "" {
			t.Errorf("%d (-want +got):\n%s", code, diff)
		}
	}
}

func TestRemedyNamesTheCaller(t *testing.T) {
	cases := map[string]struct {
		reason string
		err    wechat.Error
		want   string
	}{
		"Seen":    {"The address that WeChat saw is the one to allow.", wechat.Error{Code: 40164, CallerIP: netip.MustParseAddr("203.0.113.7")}, "Add 203.0.113.7 to the IP allow-list"},
		"Unseen":  {"The message need not have an address.", wechat.Error{Code: 40164}, "Add this cluster's address to the IP allow-list"},
		"Blocked": {"No address is known then.", wechat.Error{Code: 89507}, "The administrator refused this cluster's address: WeChat blocks it for 1 hour"},
		"Nobody":  {"Not every remedy is about the caller.", wechat.Error{Code: 40013}, "Correct spec.appID"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.err.Remedy(); !strings.HasPrefix(got, tc.want) {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// The fake knows the errmsg of each errcode, and the client reads each.
func TestTheFakeAnswersEachErrcode(t *testing.T) {
	for _, code := range wechat.Codes() {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s, c := fake(t, wechattest.Config{})
			s.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: int(code)})
			_, err := c.StableToken(t.Context(), creds, false)
			failed, ok := errors.AsType[*wechat.Error](err)
			if !ok || failed.Code != code || failed.Message == "" || failed.Message == "error" {
				t.Errorf("got %v, want errcode %d with its errmsg", err, code)
			}
		})
	}
}
