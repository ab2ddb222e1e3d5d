package wechattest

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestJournalKeepsTheLast(t *testing.T) {
	j := newJournal()
	j.kept = 3
	for i := range 8 {
		j.add(Call{Endpoint: Stable, Status: 200, Errcode: i}, false)
	}
	var got []int
	for _, c := range j.last() {
		got = append(got, c.Errcode)
	}
	if diff := cmp.Diff([]int{5, 6, 7}, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	for range 8 {
		j.issued(&token{})
	}
	if len(j.made) != j.kept {
		t.Errorf("tokens: got %d, want %d", len(j.made), j.kept)
	}
	if got := j.counts("").Stable.Calls; got != 8 {
		t.Errorf("count: got %d, want 8", got)
	}
}

func TestInvalidTokensAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		s.AddAccount("a", "x")
		for range 1000 {
			s.Rotate("a")
			time.Sleep(time.Minute)
		}
		known := 0
		s.tokens.Range(func(any, any) bool { known++; return true })
		// 125 minutes of death and overlap, and the present one.
		if want := 127; known > want {
			t.Errorf("tokens: got %d, want %d at most", known, want)
		}
	})
}

func TestRefusalNamesTheCaller(t *testing.T) {
	cases := map[string]struct {
		reason string
		remote string
		want   string
	}{
		"IPv4":   {reason: "As observed.", remote: "203.0.113.7:80", want: "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist"},
		"Mapped": {reason: "A dual-stack listener reports IPv4 as IPv6.", remote: "[::ffff:203.0.113.7]:80", want: "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist"},
		"IPv6":   {reason: "The shape is a guess.", remote: "[2001:db8::7]:80", want: "invalid ip 2001:db8::7 ipv6 2001:db8::7, not in whitelist"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := message(40164, &request{from: caller(&http.Request{RemoteAddr: tc.remote})})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEveryBusinessCallIsExplained(t *testing.T) {
	for path := range ipLists {
		if !strings.Contains(adminHelp, "\n       "+path+" ") {
			t.Errorf("GET /fake/ does not explain %s", path)
		}
	}
}

func TestEveryFaultKindIsExplained(t *testing.T) {
	for kind := range kinds {
		if !strings.Contains(adminHelp, "\n  "+string(kind)) {
			t.Errorf("GET /fake/ does not explain %q", kind)
		}
	}
}
