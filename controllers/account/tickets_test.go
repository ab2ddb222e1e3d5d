package account

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// A ticket is trusted for 30 minutes after the last moment at which WeChat is
// known to give it.
func TestTrustInATicket(t *testing.T) {
	const minute = time.Minute
	at := noon.Add
	// A ticket that was seen first at noon, polled last 50 minutes later.
	polled := func(mods ...func(*record.Ticket)) *State {
		s := &State{}
		s.Known.Tickets[0] = record.Ticket{Value: "A", FirstSeen: at(0), Life: 2 * time.Hour, ExpiresAt: at(60 * minute)}
		s.replacedTicket[0] = "Z"
		s.last[Ticket] = attempt{succeededAt: at(50 * minute), failure: &Failure{}}
		for _, mod := range mods {
			mod(&s.Known.Tickets[0])
		}
		return s
	}
	ends := func(in time.Duration) func(*record.Ticket) {
		return func(t *record.Ticket) { t.ExpiresAt = at(in) }
	}
	cases := map[string]struct {
		reason   string
		known    *State
		value    string
		life     time.Duration
		start    time.Time
		wantSeen time.Time
		wantEnd  time.Time
		keeps    bool // the ticket that was known
	}{
		"First": {
			reason: "How old it is, nobody knows.",
			value:  "A", life: 2 * time.Hour, start: at(0),
			wantSeen: at(0), wantEnd: at(30 * minute),
		},
		"FirstOfFractions": {
			reason: "The Secret stores whole seconds.",
			value:  "A", life: 2 * time.Hour, start: at(700 * time.Millisecond),
			wantSeen: at(0), wantEnd: at(30 * minute),
		},
		"Successor": {
			reason: "It is younger than the poll before.",
			known:  polled(), value: "B", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(60 * minute), wantEnd: at(50*minute + 2*time.Hour + 30*minute),
		},
		"SuccessorAfterAGap": {
			reason: "It may be as old as the gap.",
			known:  polled(), value: "B", life: 2 * time.Hour, start: at(150 * minute),
			wantSeen: at(150 * minute), wantEnd: at(50*minute + 2*time.Hour + 30*minute),
		},
		"SuccessorAfterALongGap": {
			reason: "It may be about to be replaced, and works as long as any.",
			known:  polled(), value: "B", life: 2 * time.Hour, start: at(10 * time.Hour),
			wantSeen: at(10 * time.Hour), wantEnd: at(10*time.Hour + 30*minute),
		},
		"SameWithTimeLeft": {
			reason: "Nothing is written.",
			known:  polled(ends(76 * minute)), value: "A", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(0), wantEnd: at(76 * minute), keeps: true,
		},
		"SameNearItsEnd": {
			reason: "The poll has confirmed it.",
			known:  polled(ends(75 * minute)), value: "A", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(0), wantEnd: at(90 * minute), keeps: true,
		},
		"SameAfterItsEnd": {
			reason: "WeChat still gives it.",
			known:  polled(), value: "A", life: 2 * time.Hour, start: at(5 * time.Hour),
			wantSeen: at(0), wantEnd: at(5*time.Hour + 30*minute), keeps: true,
		},
		"PredecessorAgain": {
			reason: "One server of WeChat's is behind: the old one is not young again.",
			known:  polled(), value: "Z", life: 2 * time.Hour, start: at(55 * minute),
			wantSeen: at(0), wantEnd: at(60 * minute), keeps: true,
		},
		"PredecessorForGood": {
			reason: "WeChat gives no other one any more.",
			known:  polled(), value: "Z", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(60 * minute), wantEnd: at(50*minute + 2*time.Hour + 30*minute),
		},
		"LifeTooLong": {
			reason: "No ticket is valid for a month.",
			known:  polled(), value: "B", life: 30 * 24 * time.Hour, start: at(60 * minute),
			wantSeen: at(60 * minute), wantEnd: at(50*minute + 2*time.Hour + 30*minute),
		},
		"Compressed": {
			reason: "All follows from the life.",
			known:  polled(), value: "B", life: 40 * time.Second, start: at(50*minute + 3*time.Second),
			wantSeen: at(50*minute + 3*time.Second), wantEnd: at(50*minute + 49*time.Second),
		},
		"SeenInTheFuture": {
			reason: "A clock was wrong: nothing is known of the ticket.",
			known:  polled(func(t *record.Ticket) { t.FirstSeen, t.ExpiresAt = at(9*time.Hour), at(11*time.Hour) }), value: "A", life: 2 * time.Hour, start: at(60 * minute),
			wantSeen: at(60 * minute), wantEnd: at(90 * minute),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := tc.known
			if s == nil {
				s = &State{}
			}
			was := s.Known.Tickets[0]
			s.Done(Call{Kind: Ticket, Start: tc.start}, Answer{Ticket: wechat.Ticket{Value: tc.value, Life: tc.life}}, tc.start)
			want := record.Ticket{Value: tc.value, FirstSeen: tc.wantSeen, Life: min(tc.life, 2*time.Hour), ExpiresAt: tc.wantEnd}
			if tc.keeps {
				want.Value, want.Life = was.Value, was.Life
			}
			if diff := cmp.Diff(want, s.Known.Tickets[0]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if last := s.last[Ticket]; last.failure != nil || !last.succeededAt.Equal(tc.start.Truncate(time.Second)) {
				t.Errorf("%s\nthe poll at %s is noted at %s, with failure %v", tc.reason, tc.start, last.succeededAt, last.failure)
			}
		})
	}
}
