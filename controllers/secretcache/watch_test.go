package secretcache

import (
	"context"
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"wechattoken.io/operator/internal/testcluster"
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
	synctest.Test(t, func(t *testing.T) {
		c := New(&reader{}, ours)
		ctx, stop := context.WithCancel(t.Context())
		if err := c.Changes().Start(ctx, &woken{}); err != nil {
			t.Fatal(err)
		}
		stop()
		synctest.Wait()
		if n := len(c.subscribers); n > 0 {
			t.Errorf("%d are subscribed", n)
		}
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
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Patience)
	defer cancel()
	if err := s.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-versions; got != "" {
		t.Errorf("the list is asked for with resource version %q, want none", got)
	}
}
