package record

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
)

var (
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	key  = NewKey("0123456789abcdef0123456789abcdef")
)

func weChatToken(mods ...func(*v1alpha1.WeChatToken)) *v1alpha1.WeChatToken {
	wt := &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "web", UID: "u"}}
	for _, mod := range mods {
		mod(wt)
	}
	return wt
}

// full is a record in which nothing is missing.
func full(mods ...func(*Record)) Record {
	r := Record{
		Token: Token{
			Value: "98_token", AppID: "wx0123456789abcdef", Mode: v1alpha1.ModeStable,
			ObtainedAt: noon, ExpiresAt: noon.Add(2 * time.Hour), PredecessorInvalidAt: noon.Add(-time.Minute),
		},
		Tickets: Tickets{
			{Value: "jsapi", FirstSeen: noon, Life: 2 * time.Hour, ExpiresAt: noon.Add(time.Hour)},
			{Value: "card", FirstSeen: noon, Life: time.Hour, ExpiresAt: noon.Add(time.Hour)},
		},
		Spent: budget.Spent{
			Forced: []time.Time{time.Unix(noon.Unix(), 0)}, Elsewhere: []time.Time{time.Unix(noon.Unix(), 0)},
			Classic: budget.Calls{Day: "2026-11-22", Calls: 37}, Verify: budget.Calls{Day: "2026-11-22", Calls: 7},
		},
		HandledRefresh: "1", HandledReport: "0123456789abcdef@x", ReplacedAt: noon,
	}
	for _, mod := range mods {
		mod(&r)
	}
	return r
}

// secretOf is the Secret that holds r, as the operator writes it.
func secretOf(r Record, mods ...func(*corev1.Secret)) *corev1.Secret {
	want := Render(weChatToken(), r, key)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: want.Labels, Annotations: want.Annotations}, Data: want.Data}
	for _, mod := range mods {
		mod(s)
	}
	return s
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Record{
		"Full": full(),
		"Bare": full(func(r *Record) {
			*r = Record{Token: Token{Value: "98_token", AppID: "wx0123456789abcdef", Mode: v1alpha1.ModeClassic, ObtainedAt: noon, ExpiresAt: noon.Add(time.Hour)}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r.Verified = true
			got := Read(secretOf(r), key)
			if got == nil {
				t.Fatal("there is no record")
			}
			if diff := cmp.Diff(r, *got, cmpopts.IgnoreUnexported(Record{})); diff != "" {
				t.Errorf("read back (-written +read):\n%s", diff)
			}
			annotation := secretOf(r).Annotations[Annotation]
			for _, secret := range r.Secrets() {
				if secret != "" && strings.Contains(annotation, secret) {
					t.Errorf("the annotation shows %s", secret)
				}
			}
		})
	}
}

// In other namespaces only what the AppSecret proves counts, so anything that
// anybody without it writes must not verify.
func TestOnlyTheHolderOfTheAppSecretIsVerified(t *testing.T) {
	t.Parallel()
	replace := func(pattern, with string) func(*corev1.Secret) {
		return func(s *corev1.Secret) {
			before := s.Annotations[Annotation]
			if s.Annotations[Annotation] = regexp.MustCompile(pattern).ReplaceAllString(before, with); s.Annotations[Annotation] == before {
				panic("nothing is replaced: " + pattern)
			}
		}
	}
	cases := map[string]struct {
		reason string
		edit   func(*corev1.Secret)
		key    Key
		none   bool // there is no record at all
	}{
		"AnotherKey":     {reason: "Another AppSecret wrote it.", key: NewKey("fedcba9876543210fedcba9876543210")},
		"NoKey":          {reason: "Nobody can tell."},
		"LaterEnd":       {reason: "The token would expire unseen.", key: key, edit: replace(`"expiresAt":"2026-11-22T14:`, `"expiresAt":"2026-11-22T15:`)},
		"Budget":         {reason: "Forced refreshes would be blocked.", key: key, edit: replace(`"forcedCalls":\[`, `"forcedCalls":[1,`)},
		"Ticket":         {reason: "Tickets are proved, too.", key: key, edit: replace(`"life":3600`, `"life":3601`)},
		"NoMAC":          {reason: "It is part of the record.", key: key, edit: replace(`,"mac":"[0-9a-f]*"`, ``)},
		"EditedToken":    {reason: "The record is of another token.", key: key, none: true, edit: func(s *corev1.Secret) { s.Data["access_token"] = []byte("98_forged") }},
		"AnotherVersion": {reason: "Its format is not known.", key: key, none: true, edit: replace(`"version":1`, `"version":2`)},
		"NoJSON":         {reason: "Somebody has written nonsense.", key: key, none: true, edit: func(s *corev1.Secret) { s.Annotations[Annotation] = "x" }},
		"Null":           {reason: "Somebody has written nothing.", key: key, none: true, edit: replace(`"record":.*,"mac"`, `"record":null,"mac"`)},
		"LastsTooLong":   {reason: "WeChat would not give it.", key: key, none: true, edit: replace(`"expiresAt":"2026-11-22T14`, `"expiresAt":"2027-11-22T14`)},
		"NoTime":         {reason: "WeChat would not give it.", key: key, none: true, edit: replace(`"obtainedAt":"[^"]*"`, `"obtainedAt":"soon"`)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := secretOf(full())
			if tc.edit != nil {
				tc.edit(s)
			}
			if got := Read(s, tc.key); (got == nil) != tc.none || (got != nil && got.Verified) {
				t.Errorf("%s\ngot %+v", tc.reason, got)
			}
		})
	}
}

// What is read back is checked like an answer, also if the AppSecret proves it.
func TestUnusableTokensAreNotReadBack(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"LineFeed": "98\n1", "NUL": "98\x001", "Long": strings.Repeat("x", 4<<10+1)} {
		if Read(secretOf(full(func(r *Record) { r.Token.Value = value })), key) != nil {
			t.Errorf("%s: a token is read back that WeChat would not give", name)
		}
		got := Read(secretOf(full(func(r *Record) { r.Tickets[0].Value = value })), key)
		if got == nil || got.Tickets[0].Value != "" {
			t.Errorf("%s: got %+v, want a token without that ticket", name, got)
		}
	}
}

// A Secret matches as long as it has all that is wanted; more is other people's.
func TestWhatMatches(t *testing.T) {
	t.Parallel()
	owned := func(s *corev1.Secret) {
		s.OwnerReferences = []metav1.OwnerReference{{UID: "u", Controller: new(true)}}
	}
	cases := map[string]struct {
		reason string
		edit   func(*corev1.Secret)
		want   bool
	}{
		"AsWritten":    {reason: "Nothing has changed.", edit: func(*corev1.Secret) {}, want: true},
		"MoreLabels":   {reason: "People add their own.", edit: func(s *corev1.Secret) { s.Labels["team"] = "x" }, want: true},
		"MoreData":     {reason: "People add their own.", edit: func(s *corev1.Secret) { s.Data["note"] = nil }, want: true},
		"NoLabel":      {reason: "Somebody has taken it off.", edit: func(s *corev1.Secret) { delete(s.Labels, LabelManagedBy) }},
		"NoAnnotation": {reason: "The record is gone.", edit: func(s *corev1.Secret) { delete(s.Annotations, Annotation) }},
		"OtherToken":   {reason: "Somebody has edited it.", edit: func(s *corev1.Secret) { s.Data["access_token"] = []byte("x") }},
		"NoOwner":      {reason: "The garbage collector would leave it.", edit: func(s *corev1.Secret) { s.OwnerReferences = nil }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := secretOf(full(), owned)
			tc.edit(s)
			if got := Matches(s, Render(weChatToken(), full(), key)); got != tc.want {
				t.Errorf("%s\ngot %t", tc.reason, got)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	later := full(func(r *Record) { r.Token.Value, r.Token.ObtainedAt = "98_later", noon.Add(time.Minute) })
	cases := map[string]struct {
		reason      string
		known, read Record
		want        string // the token
	}{
		"Nothing": {reason: "There was none.", read: full(), want: "98_token"},
		"Later":   {reason: "The one obtained last counts.", known: full(), read: later, want: "98_later"},
		"Earlier": {reason: "An older one changes nothing.", known: later, read: full(), want: "98_later"},
		"Tie":     {reason: "What is known may correct what is stored.", known: full(), read: full(func(r *Record) { r.Token.Value = "x" }), want: "98_token"},
		"Future": {reason: "A clock was wrong.", known: full(), want: "98_token",
			read: full(func(r *Record) { r.Token.Value, r.Token.ObtainedAt = "x", noon.Add(time.Hour) })},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Merge(tc.known, tc.read, noon.Add(time.Minute)).Token.Value; got != tc.want {
				t.Errorf("%s\ngot %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

// Tickets and budgets are merged by themselves: each source may know more of some.
func TestMergeTakesTheBestOfEach(t *testing.T) {
	t.Parallel()
	known := full(func(r *Record) {
		r.Tickets = Tickets{ticket("new", time.Second), ticket("card", time.Hour)}
		r.Spent.Forced, r.Spent.Classic.Calls = []time.Time{noon.Add(-time.Hour)}, 7
	})
	read := full(func(r *Record) {
		r.Token.Value, r.Token.ObtainedAt, r.HandledRefresh = "98_later", noon.Add(time.Second), "2"
		r.Tickets = Tickets{ticket("old", 0), ticket("kept", 0)}
		r.Spent = budget.Spent{
			Forced:  []time.Time{noon.Add(-25 * time.Hour), noon.Add(-time.Minute), noon.Add(9 * time.Hour)},
			Classic: budget.Calls{Day: "2026-11-23", Calls: 2000},
		}
	})
	want := known
	want.Token = read.Token
	want.Tickets = Tickets{ticket("new", time.Second), ticket("kept", 0)} // the other is of a wrong clock
	want.Spent.Forced = []time.Time{noon.Add(-time.Hour), noon.Add(-time.Minute)}
	if diff := cmp.Diff(want, Merge(known, read, noon.Add(time.Second)), cmpopts.IgnoreUnexported(Record{})); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
}

// Different contents have different fingerprints, and that of a token without
// tickets is the one in the status.
func TestContents(t *testing.T) {
	t.Parallel()
	if got := (*Record)(nil).Contents(); got != "" {
		t.Errorf("nothing has the contents %s", got)
	}
	tickets := func(all ...string) Record {
		return full(func(r *Record) { r.Tickets = Tickets{{Value: all[0]}, {Value: all[1]}} })
	}
	bare := tickets("", "")
	if got := bare.Contents(); got != bare.Token.Fingerprint() || len(got) != 16 {
		t.Errorf("got %s, want the fingerprint %s", got, bare.Token.Fingerprint())
	}
	seen := map[string]bool{}
	for _, r := range []Record{bare, tickets("a", ""), tickets("", "a"), tickets("a", "a"), tickets("b", "a"), full(func(r *Record) { r.Token.Value = "98_other" })} {
		if seen[r.Contents()] {
			t.Errorf("%+v looks like another", r)
		}
		seen[r.Contents()] = true
	}
}

func TestTokensOfNothing(t *testing.T) {
	t.Parallel()
	if got := (*Token)(nil).Fingerprint() + Fingerprint(""); got != "" {
		t.Errorf("no token has the fingerprint %s", got)
	}
	if got := (*Record)(nil).Secrets(); len(got) != 0 {
		t.Errorf("no record hides %v", got)
	}
	wt := weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wx0123456789abcdef" })
	r := full()
	if !r.Token.Serves(wt) {
		t.Error("a token does not serve its own appid, in the default mode")
	}
	r.Token.Mode = v1alpha1.ModeClassic
	if r.Token.Serves(wt) {
		t.Error("a token serves another mode")
	}
}

// Whatever is on a Secret, what is read from it can be written, and is the same when
// it is read back. Only that is verified then.
func FuzzRead(f *testing.F) {
	f.Add(`{"version":1,"record":{"appid":"a"},"mac":""}`, "t")
	f.Add(secretOf(full()).Annotations[Annotation], "98_token")
	f.Add(strings.Replace(secretOf(full()).Annotations[Annotation], "12:00:00Z", "12:00:00.5Z", 2), "98_token")
	f.Fuzz(func(t *testing.T, annotation, token string) {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{Annotation: annotation}}, Data: map[string][]byte{
			"t": []byte(token), "jsapi": []byte("jsapi"), "card": []byte("card"),
		}}
		ReadSpent(s.Annotations)
		got := Read(s, key)
		if got == nil {
			return
		}
		again := Read(secretOf(*got), key)
		if again == nil || !again.Verified {
			t.Fatalf("%+v is read, and written it is not: %+v", got, again)
		}
		got.Verified = true
		if diff := cmp.Diff(got, again, cmpopts.IgnoreUnexported(Record{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("read back (-written +read):\n%s", diff)
		}
	})
}
