package secretcache

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What is held counts as long as nothing later is known.
func TestContentsCountUntilSomethingLaterIsKnown(t *testing.T) {
	t.Parallel()
	list := func(namespace, resourceVersion string, all ...*metav1.PartialObjectMetadata) func(*Cache) {
		return func(c *Cache) { c.Replace(namespace, all, resourceVersion) }
	}
	named := func(c *Cache) { c.SetNames(keyOf("thing"), Names{Target: "shop", Credentials: "app"}) }
	began := list("", "1")
	listed := func(version string) func(*Cache) { return list("", version, metaAt(version)) }
	relisted := func(version, at string) func(*Cache) { return list("", at, metaAt(version)) }
	none := func(at string) func(*Cache) { return list("", at) }
	shown := func(version string) func(*Cache) { return func(c *Cache) { c.Observe(metaAt(version)) } }
	gone := func(version string) func(*Cache) { return func(c *Cache) { c.Gone("", metaAt(version)) } }
	read := func(version string) func(*Cache) { return func(c *Cache) { c.remember(secretAt(version)) } }
	wrote := func(version string) func(*Cache) {
		return func(c *Cache) { c.Wrote(keyOf("thing"), secretAt(version)) }
	}
	failed := func(c *Cache) { c.Invalidate(keyOf("shop")) }

	large := func(version string) func(*Cache) {
		return func(c *Cache) {
			c.remember(secretAt(version, func(s *corev1.Secret) { s.Data["large"] = make([]byte, 900<<10) }))
		}
	}
	cases := map[string]struct {
		reason string
		events []func(*Cache)
		want   string // version; empty if none counts
		absent bool
	}{
		"Nothing":           {"Nobody has read it.", []func(*Cache){named, listed("5")}, "", false},
		"None":              {"The watch would have shown it.", []func(*Cache){named, began}, "", true},
		"NotYetListed":      {"The watch has not begun.", []func(*Cache){named, read("5")}, "", false},
		"NotNamed":          {"Nobody needs it.", []func(*Cache){listed("5"), read("5")}, "", false},
		"Read":              {"It is the one that is shown.", []func(*Cache){named, listed("5"), read("5")}, "5", false},
		"AheadOfTheWatch":   {"The watch will come to it.", []func(*Cache){named, listed("5"), read("6")}, "6", false},
		"Unseen":            {"The watch will come to it.", []func(*Cache){named, began, wrote("6")}, "6", false},
		"Changed":           {"A later one is shown.", []func(*Cache){named, listed("5"), read("5"), shown("6")}, "", false},
		"CaughtUp":          {"It is the one that is shown at last.", []func(*Cache){named, listed("5"), read("7"), shown("6"), shown("7")}, "7", false},
		"LateRead":          {"A later one was read meanwhile.", []func(*Cache){named, listed("5"), read("6"), read("5")}, "6", false},
		"LateReadOfChanged": {"A later one was shown meanwhile.", []func(*Cache){named, listed("5"), shown("6"), read("5")}, "", false},
		"Gone":              {"It is deleted.", []func(*Cache){named, listed("5"), read("5"), gone("6")}, "", true},
		"LateReadOfGone":    {"It was deleted meanwhile.", []func(*Cache){named, listed("5"), gone("6"), read("5")}, "", true},
		"OwnGone":           {"It was deleted before the answer came.", []func(*Cache){named, began, shown("5"), gone("6"), wrote("5")}, "", true},
		"MadeAnew":          {"Another one is there.", []func(*Cache){named, listed("5"), read("5"), gone("6"), shown("7")}, "", false},
		"MadeAnewAndRead":   {"The watch has yet to show the end of the one before.", []func(*Cache){named, listed("5"), read("7"), gone("6")}, "7", false},
		"MadeAnewAndShown":  {"It is the one that is there.", []func(*Cache){named, listed("5"), read("7"), gone("6"), shown("7")}, "7", false},
		"OthersGoOn": {"The watch has come to another Secret after it.", []func(*Cache){named, listed("5"), read("5"), func(c *Cache) {
			c.Observe(metaAt("9", called("other")))
		}}, "5", false},
		"Relisted":        {"It has not changed while the watch was cut.", []func(*Cache){named, listed("5"), read("5"), relisted("5", "9")}, "5", false},
		"ChangedUnseen":   {"It has changed while the watch was cut.", []func(*Cache){named, listed("5"), read("5"), relisted("8", "9")}, "", false},
		"GoneUnseen":      {"It was deleted while the watch was cut.", []func(*Cache){named, listed("5"), read("5"), none("9")}, "", false},
		"RestoredBackup":  {"5 is what came before 7.", []func(*Cache){named, listed("7"), read("7"), relisted("5", "6")}, "", false},
		"RestoredAndRead": {"7 is forgotten.", []func(*Cache){named, listed("7"), read("7"), relisted("5", "6"), read("5")}, "5", false},
		"RestoredAndWritten": {"The list was of an earlier version.",
			[]func(*Cache){named, none("20"), none("6"), wrote("8")}, "8", false},
		"Invalidated":        {"A write has failed.", []func(*Cache){named, listed("5"), read("5"), failed}, "", false},
		"AbsenceInvalidated": {"A write has failed.", []func(*Cache){named, began, failed}, "", false},
		"ValidAgain":         {"It was read since.", []func(*Cache){named, listed("5"), read("5"), failed, read("5")}, "5", false},
		"Unordered":          {"Nobody knows which is the later one.", []func(*Cache){named, listed("x"), read("x")}, "", false},
		"Large":              {"Its values are held as far as they can be credentials.", []func(*Cache){named, began, large("5")}, "5", false},
		"OtherRelisted":      {"That watch is of another namespace.", []func(*Cache){named, listed("5"), read("7"), list("other", "9")}, "7", false},
		"OnlyElsewhere":      {"Its namespace is not watched: nothing would show a change.", []func(*Cache){named, list("other", "1"), read("5")}, "", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := New(&reader{}, ours)
			for _, event := range tc.events {
				event(c)
			}
			got := ""
			if s := c.known(keyOf("shop"), ""); s != nil {
				got = string(s.Data["version"])
			}
			if got != tc.want {
				t.Errorf("%s\nknown is %q, want %q", tc.reason, got, tc.want)
			}
			if got := c.Absent(keyOf("shop")); got != tc.absent {
				t.Errorf("%s\nAbsent() = %t, want %t", tc.reason, got, tc.absent)
			}
		})
	}
}

// The API server is asked for what is not known, and once.
func TestGetReadsWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	refused := apierrors.NewForbidden(corev1.Resource("secrets"), "shop", nil)
	cases := map[string]struct {
		reason string
		named  bool
		server reader
		want   *corev1.Secret
		err    error
		reads  int // of two Gets
	}{
		"Named":     {"The second Get finds what the first one has read.", true, reader{secret: secretAt("5")}, secretAt("5"), nil, 1},
		"NotNamed":  {"Contents are not held for nobody.", false, reader{secret: secretAt("5")}, secretAt("5"), nil, 2},
		"None":      {"A Secret may have been made since the first Get.", true, reader{}, nil, nil, 2},
		"Forbidden": {"A caller can find out why.", true, reader{err: refused}, nil, refused, 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := New(&tc.server, ours)
			c.Replace("", []*metav1.PartialObjectMetadata{metaAt("5")}, "5")
			if tc.named {
				c.SetNames(keyOf("thing"), Names{Target: "shop"})
			}
			for range 2 {
				got, err := c.Get(t.Context(), keyOf("shop"), "")
				if !errors.Is(err, tc.err) {
					t.Errorf("%s\nerror %v, want %v", tc.reason, err, tc.err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("%s\nGet() (-want +got):\n%s", tc.reason, diff)
				}
				if got != nil {
					got.Data["version"] = []byte("changed by the caller")
				}
			}
			if tc.server.reads != tc.reads {
				t.Errorf("%s\n%d reads, want %d", tc.reason, tc.server.reads, tc.reads)
			}
		})
	}
}

// Contents are held as long as an object names them.
func TestContentsAreHeldAsLongAsNamed(t *testing.T) {
	t.Parallel()
	c := New(&reader{}, ours)
	c.Replace("", []*metav1.PartialObjectMetadata{metaAt("5")}, "5")
	c.SetNames(keyOf("a"), Names{Target: "shop", Credentials: "app"})
	c.SetNames(keyOf("b"), Names{Target: "other", Credentials: "shop"})
	c.remember(secretAt("5"))
	isHeld := func(want bool, when string) {
		t.Helper()
		if got := c.known(keyOf("shop"), "") != nil; got != want {
			t.Errorf("held %t %s, want %t", got, when, want)
		}
	}
	c.SetNames(keyOf("a"), Names{Target: "elsewhere", Credentials: "app"})
	isHeld(true, "while b names it")
	c.Forget(keyOf("b"))
	isHeld(false, "when nobody names it")
	c.SetNames(keyOf("a"), Names{Target: "shop", Credentials: "shop"})
	isHeld(false, "before it is read again")
	c.remember(secretAt("5"))
	c.SetNames(keyOf("a"), Names{Target: "shop", Credentials: "shop"})
	isHeld(true, "when it is named once more")
	c.Gone("", metaAt("6"))
	if len(c.contents[keyOf("shop")].encoded) > 0 {
		t.Error("the contents of a Secret that is gone are held")
	}
	c.Forget(keyOf("a"))
	c.Forget(keyOf("a"))
	c.SetNames(keyOf("empty"), Names{})
	c.Forget(keyOf("empty"))
	if len(c.contents)+len(c.names) > 0 {
		t.Errorf("left: %v, %v", c.contents, c.names)
	}
}

// Nobody reads managedFields, which are larger than a token.
func TestManagedFieldsAreNotHeld(t *testing.T) {
	t.Parallel()
	c := New(&reader{}, ours)
	c.Replace("", nil, "1")
	c.SetNames(keyOf("thing"), Names{Target: "shop"})
	s := secretAt("5", func(s *corev1.Secret) { s.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}} })
	c.remember(s)
	if diff := cmp.Diff(secretAt("5"), c.known(keyOf("shop"), "")); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	if len(s.ManagedFields) != 1 {
		t.Error("what was read has lost its managedFields")
	}
}

// Who controls a large Secret gets all of it, and it is read for nobody else.
func TestOnlyTheControllerNeedsALargeSecret(t *testing.T) {
	t.Parallel()
	whole := secretAt("5", ownedBy("mine"), func(s *corev1.Secret) { s.Data["large"] = make([]byte, 900<<10) })
	server := &reader{secret: whole}
	c := New(server, ours)
	c.SetNames(keyOf("shop"), Names{Target: "shop"})
	c.Replace(metav1.NamespaceAll, []*metav1.PartialObjectMetadata{metaOf(whole)}, "5")
	for owner, want := range map[types.UID]struct{ size, reads int }{"": {maxCredential, 0}, "another": {maxCredential, 0}, "mine": {900 << 10, 3}} {
		server.reads = 0
		c.remember(whole)
		var got *corev1.Secret
		for range 3 {
			var err error
			if got, err = c.Get(t.Context(), keyOf("shop"), owner); err != nil {
				t.Fatal(err)
			}
		}
		if len(got.Data["large"]) != want.size || server.reads != want.reads {
			t.Errorf("owner %q: %d bytes with %d reads, want %d with %d", owner, len(got.Data["large"]), server.reads, want.size, want.reads)
		}
		if !metav1.IsControlledBy(got, &metav1.ObjectMeta{UID: "mine"}) {
			t.Errorf("owner %q: it does not tell its controller", owner)
		}
	}
}
