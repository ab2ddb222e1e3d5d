package secretcache

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Whatever happens in whatever order: once the watch has caught up, the Cache has
// what the API server has; and each controller that saw anything else was woken.
func TestCacheAgreesWithTheCluster(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		m := newModel(t, seed, []string{"", "web"}[seed%2])
		for range 180 {
			m.step()
		}
		m.settle()
		for _, wrong := range []string{m.disagreement(), m.oversight(&m.writer), m.oversight(&m.follower), m.leftover()} {
			if wrong != "" {
				t.Fatalf("seed %d: %s", seed, wrong)
			}
		}
	}
}

// disagreement is what the Cache has wrong; empty if nothing.
func (m *model) disagreement() string {
	owned := map[types.UID][]string{}
	for _, name := range []string{"x", "y", "z"} {
		s, known := m.secrets[name], m.cache.known(keyOf(name), "")
		if known != nil && contentsOf(known) != contentsOf(s) {
			return fmt.Sprintf("of %s %q is known, want %q", name, contentsOf(known), contentsOf(s))
		}
		if s != nil && m.cache.Absent(keyOf(name)) {
			return name + " is taken to be absent"
		}
		if s != nil {
			if o := metav1.GetControllerOf(s); o != nil {
				owned[o.UID] = append(owned[o.UID], name)
			}
		}
	}
	for _, uid := range []types.UID{"a", "b", "c"} {
		if got := slices.Sorted(slices.Values(m.cache.OwnedBy("web", uid))); !slices.Equal(got, owned[uid]) {
			return fmt.Sprintf("%s is taken to own %v, and owns %v", uid, got, owned[uid])
		}
	}
	return ""
}

// oversight is an object that a controller would have to be woken for; empty if
// there is none.
func (m *model) oversight(a *actor) string {
	for object, names := range m.objects {
		for _, id := range names.in(object.Namespace) {
			if saw, want := a.saw[object][id.Name], contentsOf(m.secrets[id.Name]); !a.queue.keys[object] && saw != want {
				return fmt.Sprintf("%s is not woken (own writes: %t) and has seen %q in %s, want %q", object.Name, a == &m.follower, saw, id.Name, want)
			}
		}
	}
	return ""
}

// leftover is what the Cache holds of objects that are gone; empty if nothing.
func (m *model) leftover() string {
	for _, a := range []*actor{&m.writer, &m.follower} {
		for object := range a.queue.keys {
			if _, exists := m.objects[object]; !exists {
				m.reconcile(a, object)
			}
		}
	}
	owners := map[types.UID]bool{}
	for _, s := range m.secrets {
		if o := metav1.GetControllerOf(s); o != nil {
			owners[o.UID] = true
		}
	}
	if c := m.cache; len(c.names) > len(m.objects) || len(c.contents) > 2*len(m.objects) || len(c.owned) > len(owners) {
		return fmt.Sprintf("left over: %d names, %d contents, %d owners", len(c.names), len(c.contents), len(c.owned))
	}
	return ""
}
