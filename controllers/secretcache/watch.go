package secretcache

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Source lists and watches the metadata of the Secrets in the given namespaces, or
// in all if there are none, until its controller stops. It is for the controller
// that writes the Secrets: it queues the users of each Secret that has changed,
// but not the one for which this process has written it.
//
// A process has one Source. Its controller starts no worker before the first list
// has come.
func (c *Cache) Source(m metadata.Interface, namespaces []string) source.SyncingSource {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	namespaces = slices.Compact(slices.Sorted(slices.Values(namespaces)))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched = namespaces
	return &subscriber{cache: c, start: func(ctx context.Context) {
		for _, namespace := range namespaces {
			go reflect(ctx, m, &store{cache: c, namespace: namespace})
		}
	}}
}

// Changes queues the users of each Secret that has changed, also of those that this
// process has written. It is for further controllers. They start no worker before the first list of Source has come: a worker that reads a
// Secret earlier would miss what changes until then. So the controller of Source
// must not start later than theirs, as it would with another leader election or
// warmup.
func (c *Cache) Changes() source.SyncingSource { return &subscriber{cache: c, ownWrites: true} }

// subscriber is a source of events for one controller.
type subscriber struct {
	cache     *Cache
	ownWrites bool
	start     func(context.Context) // nil if there is nothing to start

	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// Start queues events from now on until ctx ends.
func (s *subscriber) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	s.queue = queue
	s.cache.mu.Lock()
	s.cache.subscribers[s] = struct{}{}
	s.cache.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.cache.mu.Lock()
		defer s.cache.mu.Unlock()
		delete(s.cache.subscribers, s)
	})
	if s.start != nil {
		s.start(ctx)
	}
	return nil
}

// WaitForSync waits until all watched namespaces were listed.
func (s *subscriber) WaitForSync(ctx context.Context) error {
	select {
	case <-s.cache.synced:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the list of the metadata of Secrets has not come: %w", ctx.Err())
	}
}

// String names the source in the log.
func (*subscriber) String() string { return "metadata of Secrets" }

// event says that a Secret has changed which concerns an object.
type event struct {
	object   types.NamespacedName
	ownWrite bool // this process has written the Secret for the object
	crowded  bool // more than crowd objects are concerned
}

// crowd is how many objects one Secret wakes before others. A tenant may have
// thousands that name one Secret, and change it without pause: so many wait for what
// else there is to do.
const crowd = 32

func (c *Cache) eventsOf(m *metav1.PartialObjectMetadata) []event {
	var events []event
	users := c.usersOf(m)
	for _, object := range users {
		events = append(events, event{object: object, crowded: len(users) > crowd})
	}
	return events
}

// publish queues the objects of events. It does so without the lock, which the
// workers wait for.
func (c *Cache) publish(events []event) {
	if len(events) == 0 {
		return
	}
	c.mu.Lock()
	subscribers := slices.Collect(maps.Keys(c.subscribers))
	c.mu.Unlock()
	for _, s := range subscribers {
		for _, e := range events {
			if e.ownWrite && !s.ownWrites {
				continue
			}
			request := reconcile.Request{NamespacedName: e.object}
			if sorted, ok := s.queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok && e.crowded {
				sorted.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, request)
				continue
			}
			s.queue.Add(request)
		}
	}
}

// closeIfSynced lets the workers start once all watched namespaces were listed.
func (c *Cache) closeIfSynced() {
	for _, namespace := range c.watched {
		if _, listed := c.observed[namespace]; !listed {
			return
		}
	}
	if !c.Synced() {
		close(c.synced)
	}
}

// reflect lists and watches Secrets into a store until ctx ends.
func reflect(ctx context.Context, m metadata.Interface, into *store) {
	secrets := m.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(into.namespace)
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			if o.ResourceVersion == "0" {
				// With "0" an API server may answer from its cache, which may be
				// old. An owned Secret that is missing there would be taken for
				// absent, and be made anew at a price.
				o.ResourceVersion = ""
			}
			return secrets.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return secrets.Watch(ctx, o)
		},
	}, m)
	cache.NewReflectorWithOptions(lw, &metav1.PartialObjectMetadata{}, into, cache.ReflectorOptions{Name: "secrets"}).RunWithContext(ctx)
}

// store is where the reflector of a namespace puts what it sees: into the Cache.
type store struct {
	cache     *Cache
	namespace string // "" for all
}

// Add takes a Secret that is new.
func (s *store) Add(obj any) error { return s.Update(obj) }

// Update takes a Secret that has changed.
func (s *store) Update(obj any) error {
	s.cache.Observe(obj.(*metav1.PartialObjectMetadata)) //nolint:forcetypeassert // the reflector makes sure
	return nil
}

// Delete takes a Secret that was deleted.
func (s *store) Delete(obj any) error {
	s.cache.Gone(s.namespace, obj.(*metav1.PartialObjectMetadata)) //nolint:forcetypeassert // the reflector makes sure
	return nil
}

// Replace takes all Secrets that there are.
func (s *store) Replace(items []any, resourceVersion string) error {
	all := make([]*metav1.PartialObjectMetadata, len(items))
	for i, item := range items {
		all[i] = item.(*metav1.PartialObjectMetadata) //nolint:forcetypeassert // the reflector makes sure
	}
	s.cache.Replace(s.namespace, all, resourceVersion)
	return nil
}

// Resync does nothing: nobody else reads this store.
func (*store) Resync() error { return nil }

// Transformer makes the reflector keep no more than is needed of the Secrets that
// it collects for Replace.
func (*store) Transformer() cache.TransformFunc { return strip }

// strip keeps the name, the version and the controller: of owners there may be as
// many, and of names as long ones, as an object has room for.
func strip(obj any) (any, error) {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	kept := metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, ResourceVersion: m.ResourceVersion}
	if o := controllerOf(m); o != nil {
		kept.OwnerReferences = []metav1.OwnerReference{*o}
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: kept}, nil
}
