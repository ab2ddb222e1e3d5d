package record

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/wechat/wire"
)

// Two replicas that know the same write the same: otherwise each would correct the
// other.
func TestTheSameIsWrittenTheSame(t *testing.T) {
	t.Parallel()
	want := secretOf(full()).Annotations[Annotation]
	for range 100 {
		if got := secretOf(full()).Annotations[Annotation]; got != want {
			t.Fatalf("got %s, and before %s", got, want)
		}
	}
}

// No byte of the annotation can be edited, added or taken away, not even where JSON
// means the same.
func TestNoByteCanBeEdited(t *testing.T) {
	t.Parallel()
	whole := secretOf(full()).Annotations[Annotation]
	edits := map[string]func(at int) string{
		"flipped":     func(at int) string { return whole[:at] + string([]byte{whole[at] ^ 1}) + whole[at+1:] },
		"other case":  func(at int) string { return whole[:at] + string([]byte{whole[at] ^ 0x20}) + whole[at+1:] },
		"taken away":  func(at int) string { return whole[:at] + whole[at+1:] },
		"twice":       func(at int) string { return whole[:at+1] + whole[at:] },
		"after space": func(at int) string { return whole[:at] + " " + whole[at:] },
		"cut off":     func(at int) string { return whole[:at] },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := range len(whole) {
				s := secretOf(full())
				s.Annotations[Annotation] = edit(at)
				if got := Read(s, key); got != nil && got.Verified {
					t.Errorf("%s is verified, with byte %d %s", s.Annotations[Annotation], at, name)
				}
			}
		})
	}
}

// JSON has other spellings of an envelope, which prove nothing.
func TestOtherSpellingsAreNotVerified(t *testing.T) {
	t.Parallel()
	whole := secretOf(full()).Annotations[Annotation]
	_, signed, _ := strings.Cut(whole, `,"record":`)
	for name, annotation := range map[string]string{
		"Indented":  strings.Replace(whole, `{"version"`, "{\n  \"version\"", 1),
		"UpperCase": strings.Replace(whole, `"version"`, `"VERSION"`, 1),
		"MoreKeys":  strings.Replace(whole, `{"version"`, `{"note":"x","version"`, 1),
		"TwoKeys":   `{"version":1,"record":{"appid":"forged"},"record":` + signed,
		"OtherEnd":  whole + "\n",
		"Escaped":   strings.Replace(whole, `"version"`, `"\u0076ersion"`, 1),
	} {
		s := secretOf(full(), func(s *corev1.Secret) { s.Annotations[Annotation] = annotation })
		if annotation == whole {
			t.Fatalf("%s changes nothing", name)
		}
		if got := Read(s, key); got == nil || got.Verified {
			t.Errorf("%s: got %+v, want a record that is not verified", name, got)
		}
	}
}

// A key of nothing proves nothing: anybody has it.
func TestNoKeyProvesNothing(t *testing.T) {
	t.Parallel()
	for _, none := range []Key{nil, {}} {
		if got := Read(Render(weChatToken(), full(), none), none); got == nil || got.Verified {
			t.Errorf("got %+v, want a record that is not verified", got)
		}
	}
	if a, b := NewKey("a"), NewKey("b"); len(a) == 0 || slices.Equal(a, b) || !slices.Equal(a, NewKey("a")) {
		t.Error("a key is not that of its AppSecret")
	}
}

// What cannot come from WeChat is not read back, also of a record that nobody has
// proved.
func TestReadChecks(t *testing.T) {
	t.Parallel()
	noTicket := func(r *Record) { r.Tickets[0] = Ticket{} }
	cases := map[string]struct {
		reason   string
		edit, to string        // in the text of the record
		want     func(*Record) // what is different then
		none     bool
	}{
		"AsWritten":       {reason: "All of it is read back.", want: func(*Record) {}},
		"Fraction":        {reason: "Times have whole seconds.", edit: `"obtainedAt":"2026-11-22T12:00:00Z"`, to: `"obtainedAt":"2026-11-22T12:00:00.5Z"`, none: true},
		"OtherZone":       {reason: "Times are in UTC.", edit: `"obtainedAt":"2026-11-22T12:00:00Z"`, to: `"obtainedAt":"2026-11-22T20:00:00+08:00"`, none: true},
		"FarYear":         {reason: "No year has five digits.", edit: `"expiresAt":"2026-11-22T14:00:00Z","pre`, to: `"expiresAt":"10000-11-22T14:00:00Z","pre`, none: true},
		"NoLife":          {reason: "A token ends after it was obtained.", edit: `"expiresAt":"2026-11-22T14:00:00Z","pre`, to: `"expiresAt":"2026-11-22T12:00:00Z","pre`, none: true},
		"LongLife":        {reason: "30 days are too long by a second.", edit: `"expiresAt":"2026-11-22T14:00:00Z","pre`, to: `"expiresAt":"2026-12-22T12:00:01Z","pre`, none: true},
		"LongestLife":     {reason: "30 days are not too long.", edit: `"expiresAt":"2026-11-22T14:00:00Z","pre`, to: `"expiresAt":"2026-12-22T12:00:00Z","pre`, want: func(r *Record) { r.Token.ExpiresAt = noon.Add(30 * 24 * time.Hour) }},
		"Predecessor":     {reason: "Every time is read, or none.", edit: `"predecessorInvalidAt":"2026-`, to: `"predecessorInvalidAt":"x`, none: true},
		"Replaced":        {reason: "Every time is read, or none.", edit: `"replacedAt":"2026-`, to: `"replacedAt":"x`, none: true},
		"OtherToken":      {reason: "The Secret does not hold this token.", edit: `"token":"`, to: `"token":"0`, none: true},
		"OtherTicket":     {reason: "The Secret does not hold this ticket.", edit: `"JSAPI":{"ticket":"`, to: `"JSAPI":{"ticket":"0`, want: noTicket},
		"TicketTime":      {reason: "The token is read without the ticket.", edit: `"firstSeen":"2026-11-22T12:00:00Z","life":7200`, to: `"firstSeen":"now","life":7200`, want: noTicket},
		"TicketLongLife":  {reason: "No ticket lasts longer than 2 hours.", edit: `"life":7200`, to: `"life":7201`, want: noTicket},
		"TicketNoLife":    {reason: "A ticket lasts.", edit: `"life":7200`, to: `"life":0`, want: noTicket},
		"TicketNegative":  {reason: "A ticket lasts.", edit: `"life":7200`, to: `"life":-9223372036854775808`, want: noTicket},
		"TicketOverflows": {reason: "So many seconds are no duration.", edit: `"life":7200`, to: `"life":9223372036854775807`, want: noTicket},
		"TicketForEver":   {reason: "No ticket is trusted for years.", edit: `"firstSeen":"2026-`, to: `"firstSeen":"1700-`, want: noTicket},
		"ManyForced":      {reason: "WeChat allows 20 a day.", edit: `"forcedCalls":[`, to: `"forcedCalls":[` + strings.Repeat("1,", 20), none: true},
		"LongHandled":     {reason: "No status has room for it.", edit: `"handledRefresh":"`, to: `"handledRefresh":"` + strings.Repeat("a", 256), none: true},
		"LargeRecord":     {reason: "An object has room for 256 KiB.", edit: `"tickets":{`, to: `"tickets":{"` + strings.Repeat("a", 8<<10) + `":{},`, none: true},
		"NewTicketType":   {reason: "A later operator knows more types.", edit: `"tickets":{`, to: `"tickets":{"mini":{},`, want: func(*Record) {}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := secretOf(full())
			before := s.Annotations[Annotation]
			s.Annotations[Annotation] = strings.Replace(before, tc.edit, tc.to, 1)
			if edited := s.Annotations[Annotation] != before; edited != (tc.edit != "") {
				t.Fatalf("%q is not in %s", tc.edit, before)
			}
			got := Read(s, nil)
			if tc.none {
				if got != nil {
					t.Errorf("%s\ngot %+v, want none", tc.reason, got)
				}
				return
			}
			if diff := cmp.Diff(new(full(tc.want)), got, cmpopts.IgnoreUnexported(Record{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReadWithoutARecord(t *testing.T) {
	t.Parallel()
	if got := Read(nil, key); got != nil {
		t.Errorf("no Secret has the record %+v", got)
	}
	if got := Read(&corev1.Secret{Data: map[string][]byte{"access_token": []byte("98_token")}}, key); got != nil {
		t.Errorf("a Secret of somebody else has the record %+v", got)
	}
}

// The budget is read from the metadata only, also when the Secret holds something
// else by now.
func TestReadSpent(t *testing.T) {
	t.Parallel()
	whole := secretOf(full()).Annotations[Annotation]
	cases := map[string]struct {
		reason     string
		annotation string
		want       budget.Spent
	}{
		"None":      {"There is no record.", "", budget.Spent{}},
		"Nonsense":  {"Nothing can be read.", "x", budget.Spent{}},
		"Null":      {"Nothing is there.", "null", budget.Spent{}},
		"AsWritten": {"Nothing proves it, and nothing needs to.", whole, full().Spent},
		"Edited":    {"Only the budget is read.", strings.Replace(whole, `"obtainedAt":"2026`, `"obtainedAt":"x`, 1), full().Spent},
		"Empty":     {"Nothing was spent.", secretOf(full(func(r *Record) { r.Spent = budget.Spent{} })).Annotations[Annotation], budget.Spent{}},
		"Version":   {"Its format is not known.", strings.Replace(whole, `"version":1`, `"version":2`, 1), budget.Spent{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, ReadSpent(map[string]string{Annotation: tc.annotation})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// Whatever is written is read back, unless WeChat would not give it; and an edited
// byte leaves nothing that is verified.
func FuzzRecord(f *testing.F) {
	f.Add("98_token", "wx0123456789abcdef", int64(1795348800), int32(7200), "jsapi", "monday", uint16(0), byte('x'))
	f.Add("98\n", "", int64(-62135596800), int32(0), "", "", uint16(1), byte('V'))
	f.Add("t", "<&>\u2028", int64(253402300799), int32(30*24*3600), "t", "\x00", uint16(40), byte(' '))
	f.Fuzz(func(t *testing.T, value, appID string, obtained int64, life int32, ticket, request string, at uint16, with byte) {
		if !utf8.ValidString(appID) || !utf8.ValidString(request) {
			t.Skip("the API server takes UTF-8 only")
		}
		start := time.Unix(obtained, 0).UTC()
		end := start.Add(time.Duration(life) * time.Second)
		if start.Year() < 0 || end.Year() < 0 || start.Year() > 9999 || end.Year() > 9999 {
			t.Skip("no clock shows that year")
		}
		r := Record{
			Token:          Token{Value: value, AppID: appID, Mode: v1alpha1.ModeStable, ObtainedAt: start, ExpiresAt: end},
			Spent:          budget.Spent{Forced: []time.Time{time.Unix(obtained, 0)}, Classic: budget.Calls{Day: request, Calls: int(life)}},
			HandledRefresh: request,
			Verified:       true,
		}
		r.Tickets[1] = Ticket{Value: ticket, FirstSeen: start, Life: time.Duration(life) * time.Second, ExpiresAt: end}
		s := secretOf(r)
		whole := s.Annotations[Annotation]
		got := Read(s, key)
		if usable := wire.Usable(value) && wire.UsableLife(end.Sub(start)); usable != (got != nil) {
			t.Fatalf("what can be used (%t) is read back (%t)", usable, got != nil)
		}
		hidden := r // the same, but for the secrets
		hidden.Token.Value, hidden.Tickets[1].Value = "98_other", "other"
		for _, secret := range []string{value, ticket} {
			if len(secret) >= 16 && strings.Contains(whole, secret) && !strings.Contains(hidden.encode(key), secret) {
				t.Errorf("the annotation shows %q", secret)
			}
		}
		if got == nil {
			return
		}
		if !wire.Usable(ticket) || !wire.UsableLife(r.Tickets[1].Life) || r.Tickets[1].Life > LongestTicket {
			r.Tickets[1] = Ticket{}
		}
		if diff := cmp.Diff(&r, got, cmpopts.IgnoreUnexported(Record{})); diff != "" {
			t.Errorf("read back (-written +read):\n%s", diff)
		}

		edited := []byte(whole)
		edited[int(at)%len(edited)] = with
		s.Annotations[Annotation] = string(edited)
		if got := Read(s, key); got != nil && got.Verified && string(edited) != whole {
			t.Errorf("%s is verified, and was written as %s", edited, whole)
		}
		s.Annotations[Annotation] = whole
		s.Data["access_token"] = append(s.Data["access_token"], with)
		if got := Read(s, key); got != nil && got.Token.Value != value {
			t.Error("an edited token is read")
		}
	})
}
