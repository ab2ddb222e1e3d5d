package secretcache

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Workers wait until each namespace was listed, those of a second controller, too.
func TestWorkersWaitForEachNamespace(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason     string
		namespaces []string
		lists      []string
		want       bool
	}{
		"Nothing":   {"No list has come.", []string{"one", "two"}, nil, false},
		"One":       {"One is missing.", []string{"one", "two"}, []string{"one"}, false},
		"OneTwice":  {"One is missing.", []string{"one", "two"}, []string{"one", "one"}, false},
		"Each":      {"All is known.", []string{"one", "two"}, []string{"two", "one"}, true},
		"SameTwice": {"A namespace is watched once.", []string{"one", "one"}, []string{"one"}, true},
		"All":       {"No namespace means all.", nil, []string{""}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := New(&reader{}, ours)
			sources := []source.SyncingSource{c.Source(nil, tc.namespaces), c.Changes()}
			for _, namespace := range tc.lists {
				c.Replace(namespace, nil, "1")
			}
			if got := c.Synced(); got != tc.want {
				t.Errorf("%s\nSynced() = %t, want %t", tc.reason, got, tc.want)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if !tc.want {
				cancel() // they would wait for ever
			}
			defer cancel()
			for _, s := range sources {
				if err := s.WaitForSync(ctx); (err == nil) != tc.want {
					t.Errorf("%s\nWaitForSync() = %v", tc.reason, err)
				}
			}
		})
	}
}

// A controller that has stopped is woken no more.
func TestSourceEndsWithItsController(t *testing.T) {
	t.Parallel()
	c := New(&reader{}, ours)
	ctx, stop := context.WithCancel(t.Context())
	if err := c.Changes().Start(ctx, &woken{}); err != nil {
		t.Fatal(err)
	}
	stop()
	eventually(t, "nobody is subscribed", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if n := len(c.subscribers); n > 0 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

// A list never comes from the cache of an API server, where a Secret may be
// missing that was written a moment ago.
func TestListIsNeverAnOldOne(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	m := metadatafake.NewSimpleMetadataClient(scheme) // it knows no WatchList, and so the reflector lists
	versions := make(chan string, 1)
	m.PrependReactor("list", "secrets", func(a clienttesting.Action) (bool, runtime.Object, error) {
		select {
		case versions <- a.(clienttesting.ListActionImpl).ListOptions.ResourceVersion:
		default:
		}
		return true, &metav1.List{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
	})
	s := New(&reader{}, ours).Source(m, nil)
	if err := s.Start(t.Context(), &woken{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := s.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-versions; got != "" {
		t.Errorf("the list is asked for with resource version %q, want none", got)
	}
}

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
