//go:build integration

package secretcache

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What is held is what the API server has, each field of it, after a read and
// after a write.
func TestWhatIsHeldIsWhatTheServerHas(t *testing.T) {
	t.Parallel()
	n := newCluster(t, Names{Target: "target"})
	read := n.create("target", ownedBy("thing"), func(s *corev1.Secret) {
		s.Labels, s.Annotations = map[string]string{"a": "b"}, map[string]string{"c": "d"}
		s.Immutable, s.Type = new(false), "example.com/type"
		s.Finalizers = []string{"example.com/finalizer"}
	})
	if n.get("target") == nil || n.known(n.id("target"), "") == nil {
		t.Fatal("what was read is not held")
	}
	n.isKnown("target")
	n.isWoken(n.writer, "thing")
	n.isWoken(n.all, "thing")

	wrote := n.edit("target", "written")
	n.Wrote(n.id("thing"), wrote)
	if s := n.known(n.id("target"), ""); s == nil || s.ResourceVersion != wrote.ResourceVersion || s.UID != read.UID {
		t.Errorf("what was written is not held: %v", s)
	}
	n.isKnown("target")
	n.isWoken(n.all, "thing")
	if got := n.OwnedBy(n.namespace, "thing"); !slices.Equal(got, []string{"target"}) {
		t.Errorf("thing owns %v, want its target", got)
	}
}

// What has changed while the watch was cut is noticed when it is back, whether it
// continues or lists again.
func TestCutWatchMissesNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason  string
		expired bool
	}{
		"Continues":  {"The API server still has the version at which it was cut.", false},
		"ListsAgain": {"That version is too old.", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newCluster(t, Names{Target: "edited", Credentials: "deleted"}, "edited", "deleted", "theirs")
			n.SetNames(n.id("maker"), Names{Target: "made", Credentials: "made-and-deleted"})
			for _, name := range []string{"edited", "deleted"} {
				n.get(name)
			}

			n.front.cut(tc.expired)
			n.edit("edited", "by somebody")
			n.delete("deleted")
			n.edit("theirs", "by somebody")
			n.create("made")
			n.Wrote(n.id("maker"), n.create("made-and-deleted"))
			n.delete("made-and-deleted")
			if n.known(n.id("edited"), "") == nil || !n.Absent(n.id("made")) {
				t.Error("the watch is not cut")
			}
			n.front.fix()

			for _, q := range []*woken{n.writer, n.all} {
				n.isWoken(q, "maker", "thing")
			}
			for _, name := range []string{"edited", "deleted", "made", "made-and-deleted"} {
				n.isKnown(name)
			}
		})
	}
}
