package secretcache

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Who owns what follows the watch.
func TestOwnedFollowsTheWatch(t *testing.T) {
	t.Parallel()
	none := map[string][]string{}
	begin := map[string][]string{"web/a": {"one", "two"}}
	two := map[string][]string{"web/a": {"two"}}
	observe := func(m *metav1.PartialObjectMetadata) func(*Cache) { return func(c *Cache) { c.Observe(m) } }
	otherKind := func(o *metav1.OwnerReference) { o.Kind = "Deployment" }
	otherGroup := func(o *metav1.OwnerReference) { o.APIVersion = "example.org/v1" }
	otherVersion := func(o *metav1.OwnerReference) { o.APIVersion = "example.com/v2" }
	noController := func(o *metav1.OwnerReference) { o.Controller = nil }
	cases := map[string]struct {
		reason string
		event  func(*Cache)
		want   map[string][]string // by namespace/uid
	}{
		"Begin":      {"As listed.", func(*Cache) {}, begin},
		"Changed":    {"It is the same Secret.", observe(metaAt("7", called("one"), ownedBy("a"))), map[string][]string{"web/a": {"two", "one"}}},
		"Taken":      {"It has another owner.", observe(metaAt("7", called("one"), ownedBy("b"))), map[string][]string{"web/a": {"two"}, "web/b": {"one"}}},
		"Released":   {"It has no owner.", observe(metaAt("7", called("one"))), two},
		"Gone":       {"It was deleted.", func(c *Cache) { c.Gone("", metaAt("7", called("one"))) }, two},
		"OtherKind":  {"A Deployment is none of ours.", observe(metaAt("7", called("one"), ownedBy("a", otherKind))), two},
		"OtherGroup": {"Another project has a kind of this name.", observe(metaAt("7", called("one"), ownedBy("a", otherGroup))), two},
		"OtherVersion": {"An owner is the same in each version.", observe(metaAt("7", called("one"), ownedBy("a", otherVersion))),
			map[string][]string{"web/a": {"two", "one"}}},
		"NoController": {"An owner that does not control it is not enough.", observe(metaAt("7", called("one"), ownedBy("a", noController))), two},
		"OtherNamespace": {"Anybody may name our UID in a namespace of theirs.", observe(metaAt("7", called("one"), in("evil"), ownedBy("a"))),
			map[string][]string{"web/a": {"one", "two"}, "evil/a": {"one"}}},
		"Relisted":      {"None is there.", func(c *Cache) { c.Replace("", nil, "9") }, none},
		"OtherRelisted": {"That watch is of another namespace.", func(c *Cache) { c.Replace("other", nil, "9") }, begin},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := New(&reader{}, ours)
			c.Replace("", []*metav1.PartialObjectMetadata{
				metaAt("5", called("one"), ownedBy("a")), metaAt("6", called("two"), ownedBy("a")),
			}, "6")
			tc.event(c)
			got := map[string][]string{}
			for _, namespace := range []string{"web", "evil"} {
				for _, uid := range []types.UID{"a", "b"} {
					if names := c.OwnedBy(namespace, uid); len(names) > 0 {
						got[namespace+"/"+string(uid)] = names
					}
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nowned (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// At the start all objects are queued, and the list wakes nobody. Later those are
// woken whose Secret has changed, but not the one that has written it.
func TestChangedSecretsWakeTheirUsers(t *testing.T) {
	t.Parallel()
	list := func(at string, all ...*metav1.PartialObjectMetadata) func(*Cache, string) {
		return func(c *Cache, namespace string) { c.Replace(namespace, all, at) }
	}
	observe := func(m *metav1.PartialObjectMetadata) func(*Cache, string) {
		return func(c *Cache, _ string) { c.Observe(m) }
	}
	gone := func(m *metav1.PartialObjectMetadata) func(*Cache, string) {
		return func(c *Cache, namespace string) { c.Gone(namespace, m) }
	}
	// wrote is a write of a's target, of which the event is to come.
	wrote := func(c *Cache) { c.Wrote(keyOf("a"), secretAt("20", called("one"))) }
	app, theirs := metaAt("12", called("app")), metaAt("13", called("theirs"))
	cases := map[string]struct {
		reason string
		before func(*Cache)
		event  func(*Cache, string)
		want   []string // of both subscribers
		own    []string // only of the one that wants own writes, too
	}{
		"Unchanged":      {"The watch was cut, and nothing has happened.", nil, list("15", metaAt("11", called("one")), app, theirs), nil, nil},
		"ChangedUnseen":  {"It has changed while the watch was cut.", nil, list("15", metaAt("14", called("one")), app, theirs), []string{"a", "c"}, nil},
		"AppearedUnseen": {"It was made while the watch was cut.", nil, list("15", metaAt("11", called("one")), metaAt("14", called("two")), app), []string{"b"}, nil},
		"VanishedUnseen": {"It was deleted while the watch was cut.", nil, list("15", metaAt("11", called("one")), theirs), []string{"a", "b"}, nil},
		"StillUnordered": {"It may have changed.", func(c *Cache) { c.Observe(metaAt("x", called("one"))) },
			list("15", metaAt("x", called("one")), app, theirs), []string{"a", "c"}, nil},
		"OwnUnordered": {"Nobody knows which is the later one.", func(c *Cache) { wrote(c); c.Wrote(keyOf("a"), secretAt("x", called("one"))) },
			observe(metaAt("x", called("one"), ownedBy("a"))), []string{"a", "c"}, nil},
		"Unordered": {"It may have changed.", nil, list("15", metaAt("x", called("one")), app), []string{"a", "c"}, nil},
		"MadeAndGoneUnseen": {"No list has ever had what was written.", func(c *Cache) { c.Wrote(keyOf("b"), secretAt("20", called("two"))) },
			list("25", metaAt("11", called("one")), app, theirs), []string{"b"}, nil},
		"Changed":   {"Both name it.", nil, observe(metaAt("20", called("app"))), []string{"a", "b"}, nil},
		"Theirs":    {"Nobody names it.", nil, observe(metaAt("20", called("theirs"))), nil, nil},
		"Deleted":   {"Both name it.", nil, gone(metaAt("20", called("one"))), []string{"a", "c"}, nil},
		"OwnWrite":  {"a knows; c names it, too.", wrote, observe(metaAt("20", called("one"), ownedBy("a"))), []string{"c"}, []string{"a"}},
		"AfterOwn":  {"Somebody else has changed it.", wrote, observe(metaAt("21", called("one"), ownedBy("a"))), []string{"a", "c"}, nil},
		"BeforeOwn": {"What came before was not ours.", wrote, observe(metaAt("19", called("one"), ownedBy("a"))), []string{"a", "c"}, nil},
		"OnlyOwned": {"Anybody may say that it is b's.", nil, observe(metaAt("20", called("old"), ownedBy("b"))), nil, nil},
		"LeftBehind": {"a has another one by now.", func(c *Cache) {
			wrote(c)
			c.SetNames(keyOf("a"), Names{Target: "two", Credentials: "app"})
		}, observe(metaAt("20", called("one"), ownedBy("a"))), []string{"c"}, nil},
		"OwnGone": {"Somebody else has deleted it.", wrote, gone(metaAt("21", called("one"))), []string{"a", "c"}, nil},
	}
	for name, tc := range cases {
		for _, namespace := range []string{metav1.NamespaceAll, "web"} {
			t.Run(name+namespace, func(t *testing.T) {
				t.Parallel()
				c := New(&reader{}, ours)
				c.SetNames(keyOf("a"), Names{Target: "one", Credentials: "app"})
				c.SetNames(keyOf("b"), Names{Target: "two", Credentials: "app"})
				c.SetNames(keyOf("c"), Names{Target: "one", Credentials: "three"})
				before, beforeAll := subscribe(t, c, false), subscribe(t, c, true)
				list("13", metaAt("11", called("one")), app, theirs)(c, namespace)
				if got := slices.Concat(before.names(), beforeAll.names()); len(got) > 0 {
					t.Errorf("the first list wakes %v", got)
				}
				if tc.before != nil {
					tc.before(c)
				}
				writer, all := subscribe(t, c, false), subscribe(t, c, true) // after the first list
				tc.event(c, namespace)
				if diff := cmp.Diff(tc.want, writer.names()); diff != "" {
					t.Errorf("%s\nthe writer's controller is woken for (-want +got):\n%s", tc.reason, diff)
				}
				if diff := cmp.Diff(slices.Concat(tc.own, tc.want), all.names()); diff != "" {
					t.Errorf("%s\nanother controller is woken for (-want +got):\n%s", tc.reason, diff)
				}
			})
		}
	}
}

// So many that name one Secret wait for what else there is to do.
func TestACrowdWaits(t *testing.T) {
	t.Parallel()
	c := New(&reader{}, ours)
	c.Replace(metav1.NamespaceAll, nil, "1")
	for i := range crowd + 1 {
		c.SetNames(keyOf(fmt.Sprint(i)), Names{Target: fmt.Sprint("target-", i), Credentials: "app"})
	}
	c.SetNames(keyOf("alone"), Names{Target: "alone"})
	q := priorityqueue.New[reconcile.Request]("test")
	t.Cleanup(q.ShutDown)
	if err := c.Changes().Start(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	c.Observe(metaAt("2", called("app")))
	c.Observe(metaAt("3", called("alone")))
	for i := range crowd + 2 {
		got, priority, _ := q.GetWithPriority()
		if first := got.Name == "alone"; first != (i == 0) || first != (priority == 0) {
			t.Errorf("number %d is %s, with priority %d", i, got.Name, priority)
		}
	}
}

// Any number of Secrets may name one object as their owner.
func TestFewSecretsOfAnOwnerAreTold(t *testing.T) {
	t.Parallel()
	c := New(&reader{}, ours)
	c.Replace(metav1.NamespaceAll, nil, "1")
	secret := func(i int, version string) *metav1.PartialObjectMetadata {
		return metaAt(version, called(fmt.Sprintf("fake-%04d", i)), ownedBy("a"))
	}
	for i := range 4000 {
		c.Observe(secret(i, "2"))
	}
	if got := len(c.OwnedBy("web", "a")); got != maxOwned {
		t.Errorf("%d names are told, want %d", got, maxOwned)
	}
	for i := range 4000 {
		c.Gone(metav1.NamespaceAll, secret(i, "3"))
	}
	if len(c.owned) > 0 {
		t.Errorf("left: %v", c.owned)
	}
}

// What is kept of 50,000 Secrets is small, and namespaces come and go.
func TestWatchKeepsNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	into := &store{cache: New(&reader{}, ours)}
	// What the watch shows goes to the cache as it is, what it lists only when it is stripped.
	forged := metaAt("4", called("forged"), ownedBy(strings.Repeat("x", 2000)))
	into.cache.list(forged)
	stripped, err := into.Transformer()(forged)
	if diff := cmp.Diff(any(metaAt("4", called("forged"))), stripped); diff != "" || err != nil || len(into.cache.owned) > 0 {
		t.Errorf("kept of an owner that cannot exist: %v, %v (-want +got):\n%s", into.cache.owned, err, diff)
	}
	m := metaAt("5", ownedBy("thing"))
	want := m.DeepCopy()
	m.Labels, m.Annotations = map[string]string{"a": "b"}, map[string]string{"a": "b"}
	m.ManagedFields = []metav1.ManagedFieldsEntry{{}}
	m.OwnerReferences = append(m.OwnerReferences, metav1.OwnerReference{Kind: "Pod", Name: "another"})
	got, err := into.Transformer()(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("kept of a Secret (-want +got):\n%s", diff)
	}
	for _, do := range []func() error{
		func() error { return into.Replace(nil, "1") },
		func() error { return into.Add(got) },
		func() error { return into.Delete(metaAt("6")) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if c := into.cache; len(c.listed)+len(c.owned) > 0 {
		t.Errorf("left: %v, %v", c.listed, c.owned)
	}
}
