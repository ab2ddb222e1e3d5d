package account

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// A ticket is trusted for 30 minutes after the last moment at which WeChat is
// known to give it.
func TestTrustInATicket(t *testing.T) {
	t.Parallel()
	const minute, life = time.Minute, 2 * time.Hour
	// A was seen first at noon, after Z, and polled last 50 minutes later.
	known := func(mods ...func(*record.Ticket)) *situation {
		a := record.Ticket{Value: "A", FirstSeen: noon, Life: life, ExpiresAt: noon.Add(60 * minute)}
		for _, mod := range mods {
			mod(&a)
		}
		return at(func(s *situation) {
			s.Known.Tickets[jsapi], s.replacedTicket[jsapi] = a, "Z"
			s.last[Ticket].succeededAt = noon.Add(50 * minute)
		})
	}
	trusted := func(until time.Duration) func(*record.Ticket) {
		return func(t *record.Ticket) { t.ExpiresAt = noon.Add(until) }
	}
	seenAhead := func(t *record.Ticket) { t.FirstSeen, t.ExpiresAt = noon.Add(9*time.Hour), noon.Add(11*time.Hour) }

	cases := map[string]struct {
		reason string
		given  *situation
		value  string
		life   time.Duration
		at     time.Duration // of the poll, after noon
		want   string
		seen   time.Duration
		until  time.Duration
	}{
		"First":                  {"How old it is, nobody knows.", at(), "A", life, 0, "A", 0, 30 * minute},
		"FirstOfFractions":       {"The Secret stores whole seconds.", at(), "A", life, 700 * time.Millisecond, "A", 0, 30 * minute},
		"Successor":              {"It is younger than the poll before.", known(), "B", life, 60 * minute, "B", 60 * minute, 200 * minute},
		"SuccessorAfterAGap":     {"It may be as old as the gap.", known(), "B", life, 150 * minute, "B", 150 * minute, 200 * minute},
		"SuccessorAfterALongGap": {"It may be about to be replaced, and works as long as any.", known(), "B", life, 600 * minute, "B", 600 * minute, 630 * minute},
		"SameWithTimeLeft":       {"Nothing is written.", known(trusted(76 * minute)), "A", life, 60 * minute, "A", 0, 76 * minute},
		"SameNearItsEnd":         {"The poll has confirmed it.", known(trusted(75 * minute)), "A", life, 60 * minute, "A", 0, 90 * minute},
		"SameAfterItsEnd":        {"WeChat still gives it.", known(), "A", life, 300 * minute, "A", 0, 330 * minute},
		"PredecessorAgain":       {"One server of WeChat's is behind: the old one is not young again.", known(), "Z", life, 55 * minute, "A", 0, 60 * minute},
		"PredecessorForGood":     {"WeChat gives no other one any more.", known(), "Z", life, 60 * minute, "Z", 60 * minute, 200 * minute},
		"LifeTooLong":            {"No ticket is valid for a month.", known(), "B", 30 * 24 * time.Hour, 60 * minute, "B", 60 * minute, 200 * minute},
		"Compressed":             {"All follows from the life.", known(), "B", 40 * time.Second, 50*minute + 3*time.Second, "B", 50*minute + 3*time.Second, 50*minute + 49*time.Second},
		"SeenInTheFuture":        {"A clock was wrong: nothing is known of the ticket.", known(seenAhead), "A", life, 60 * minute, "A", 60 * minute, 90 * minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tc.given.State
			start := noon.Add(tc.at)
			s.doneTicket(jsapi, wechat.Ticket{Value: tc.value, Life: tc.life}, start)
			want := record.Ticket{Value: tc.want, FirstSeen: noon.Add(tc.seen), Life: min(tc.life, life), ExpiresAt: noon.Add(tc.until)}
			if diff := cmp.Diff(want, s.Known.Tickets[jsapi]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if got := s.last[Ticket].succeededAt; !got.Equal(start.Truncate(time.Second)) {
				t.Errorf("%s\nthe poll at %s is noted at %s", tc.reason, start, got)
			}
		})
	}
}

// Each slot of 10 minutes has one poll, counted from when the ticket was first
// seen, whatever the process knows beside that.
func TestPollsLieInSlots(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	tk := record.Ticket{Value: "A", FirstSeen: noon, Life: 2 * time.Hour}
	bit := offset("uid", minute)
	for name, tc := range map[string]struct{ last, want time.Duration }{ // after noon
		"JustSeen":           {0, 10 * minute},
		"PolledInItsSlot":    {10*minute + bit, 20 * minute},
		"PolledBeforeTheBit": {10 * minute, 20 * minute},
		"PolledLate":         {20*minute - time.Second, 20 * minute},
		"StartedAgain":       {84 * minute, 90 * minute},
		"ClockSetBack":       {-time.Hour, 10 * minute},
	} {
		if got := nextPoll(tk, "uid", noon.Add(tc.last)).Sub(noon); got != tc.want+bit {
			t.Errorf("%s: got %s, want %s", name, got, tc.want+bit)
		}
	}
	if bit <= 0 || bit >= minute {
		t.Errorf("the bit is %s", bit)
	}
	for life, want := range map[time.Duration]time.Duration{40 * time.Second: 3 * time.Second, time.Second: time.Second, 2 * time.Hour: 10 * minute} {
		if got := every(record.Ticket{Value: "A", Life: life}); got != want {
			t.Errorf("a life of %s is polled every %s, want %s", life, got, want)
		}
	}
}

// WeChatTokens with other bits do not add polls.
func TestMembersShareSlots(t *testing.T) {
	t.Parallel()
	tk := record.Ticket{Value: "A", FirstSeen: noon, Life: 2 * time.Hour}
	last, polls := noon, 0
	for now := noon; now.Before(noon.Add(2 * time.Hour)); now = now.Add(time.Second) {
		for _, uid := range []types.UID{"a", "b", "c", "d"} {
			if !now.Before(nextPoll(tk, uid, last)) {
				last, polls = now, polls+1
			}
		}
	}
	if polls != 11 {
		t.Errorf("%d polls in 2 hours, want 11", polls)
	}
}

func TestWaitForATicket(t *testing.T) {
	t.Parallel()
	has := record.Ticket{Value: "A", Life: 2 * time.Hour}
	cases := map[string]struct {
		reason string
		code   int64
		count  int
		ticket record.Ticket
		want   time.Duration
	}{
		"First":        {"It may pass at once, and costs a quota that nobody knows.", -1, 1, has, 10 * time.Second},
		"FirstOfAll":   {"The same without a ticket.", -1, 1, record.Ticket{}, 10 * time.Second},
		"Third":        {"Each further one waits for twice as long.", 0, 3, has, 40 * time.Second},
		"Many":         {"An outage costs as many calls as none.", -1, 30, has, 10 * time.Minute},
		"Compressed":   {"Waits follow from the life.", -1, 30, record.Ticket{Value: "A", Life: 40 * time.Second}, 3 * time.Second},
		"InvalidToken": {"The token is asked about meanwhile.", 40001, 1, has, 10 * time.Second},
		"Unauthorized": {"Somebody must have the account verified.", 48001, 1, has, time.Hour},
		"UserLimited":  {"The same in other words.", 50001, 9, has, time.Hour},
		"DayQuota":     {"As for the token.", 45009, 1, has, time.Hour},
		"MinuteQuota":  {"As for the token.", 45011, 1, has, 30 * time.Second},
		"NotAllowed":   {"As for the token.", 40164, 1, has, 5 * time.Minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &Failure{Err: &wechat.Error{Code: tc.code}, Count: tc.count, At: noon.Add(30 * time.Second)}
			if got := at().ticketWait(f, tc.ticket); got != tc.want {
				t.Errorf("%s\ngot %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

// The Secret keeps its ticket until there is another.
func TestTicketStays(t *testing.T) {
	t.Parallel()
	s := at(ticket(jsapi, 5*time.Hour, -time.Hour))
	s.Known.Tickets = record.Tickets{}
	if got := s.Ticket(&s.Wants, jsapi, noon); got.Value == "" {
		t.Error("an old ticket is replaced by none")
	}
}
