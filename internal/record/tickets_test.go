package record

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
)

// ticket is one that was seen so long after noon, and is trusted for an hour more.
func ticket(value string, seen time.Duration) Ticket {
	return Ticket{Value: value, FirstSeen: noon.Add(seen), Life: 2 * time.Hour, ExpiresAt: noon.Add(seen + time.Hour)}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	longer := ticket("a", 0)
	longer.ExpiresAt = longer.ExpiresAt.Add(time.Minute)
	cases := map[string]struct {
		reason   string
		t, other Ticket
		want     Ticket
	}{
		"None":      {"There is no ticket.", Ticket{}, Ticket{}, Ticket{}},
		"First":     {"Any ticket is better than none.", Ticket{}, ticket("a", 0), ticket("a", 0)},
		"Nothing":   {"A ticket is not replaced by nothing.", ticket("a", 0), Ticket{}, ticket("a", 0)},
		"Later":     {"The one seen last counts.", ticket("a", 0), ticket("b", time.Second), ticket("b", time.Second)},
		"Earlier":   {"An older one changes nothing.", ticket("b", time.Second), ticket("a", 0), ticket("b", time.Second)},
		"Prolonged": {"WeChat has given the same one again.", ticket("a", 0), longer, longer},
		"Before":    {"An earlier word on the same one changes nothing.", longer, ticket("a", 0), longer},
		"Future":    {"A clock was wrong.", ticket("a", 0), ticket("x", time.Hour), ticket("a", 0)},
		"OurFuture": {"Our clock was wrong.", ticket("x", time.Hour), ticket("a", 0), ticket("a", 0)},
		"Slack":     {"The clock of another replica may be a minute ahead.", ticket("a", 0), ticket("b", time.Minute), ticket("b", time.Minute)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, tc.t.Newer(tc.other, noon)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTrusted(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		ticket Ticket
		now    time.Duration // after noon
		want   bool
	}{
		"None":   {"There is no ticket.", Ticket{ExpiresAt: noon.Add(time.Hour)}, 0, false},
		"New":    {"WeChat has just given it.", ticket("a", 0), 0, true},
		"Last":   {"Its last second counts.", ticket("a", 0), time.Hour - time.Second, true},
		"Over":   {"Its end does not.", ticket("a", 0), time.Hour, false},
		"Future": {"A clock was wrong.", ticket("a", time.Hour), 0, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tc.ticket.Trusted(noon.Add(tc.now)); got != tc.want {
				t.Errorf("%s\ngot %t", tc.reason, got)
			}
		})
	}
}

// wanting is a spec that asks for these tickets.
func wanting(types ...v1alpha1.TicketType) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Tickets = types }
}

// Tickets are asked for in one order, whatever the spec's is.
func TestWanted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		types []v1alpha1.TicketType
		want  []int
	}{
		"None":  {nil, nil},
		"JSAPI": {[]v1alpha1.TicketType{v1alpha1.TicketJSAPI}, []int{0}},
		"Card":  {[]v1alpha1.TicketType{v1alpha1.TicketWxCard}, []int{1}},
		"Both":  {[]v1alpha1.TicketType{v1alpha1.TicketWxCard, v1alpha1.TicketJSAPI}, []int{0, 1}},
		"Other": {[]v1alpha1.TicketType{"Mini"}, nil},
	} {
		if got := Wanted(weChatToken(wanting(tc.types...))); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
