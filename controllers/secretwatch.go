package controllers

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// secretWatch watches the metadata of Secrets, tells the reconciler's secrets
// what it sees, and queues the WeChatTokens that a change concerns. An informer
// would do the same and keep half a kilobyte of each Secret; a cluster has many
// that are not ours.
//
// It is a source of the controller, and the store of a reflector.
type secretWatch struct {
	r         *WeChatTokenReconciler
	metadata  metadata.Interface
	namespace string // empty for all

	queue  workqueue.TypedRateLimitingInterface[reconcile.Request]
	synced chan struct{} // closed once all that is there is known
}

// watchSecrets makes b watch the Secrets of the given namespaces, or of all if
// there are none.
func (r *WeChatTokenReconciler) watchSecrets(b *builder.Builder, mgr manager.Manager, namespaces []string) error {
	c, err := metadata.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range slices.Compact(slices.Sorted(slices.Values(namespaces))) {
		w := &secretWatch{r: r, metadata: c, namespace: namespace, synced: make(chan struct{})}
		r.watches = append(r.watches, w)
		b.WatchesRawSource(w)
	}
	return nil
}

// Start makes it a source.Source.
func (w *secretWatch) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.queue = queue
	resource := w.metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(w.namespace)
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			if o.ResourceVersion == "0" {
				// What some API server has in its cache, which may be old. A
				// Secret of ours that is not shown would cost a call to WeChat.
				o.ResourceVersion = ""
			}
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}, w.metadata)
	go cache.NewReflectorWithOptions(lw, &metav1.PartialObjectMetadata{}, w, cache.ReflectorOptions{Name: "secrets"}).RunWithContext(ctx)
	return nil
}

// WaitForSync makes it a source.SyncingSource: no worker begins before.
func (w *secretWatch) WaitForSync(ctx context.Context) error {
	select {
	case <-w.synced:
		return nil
	case <-ctx.Done():
		return errors.New("list the metadata of Secrets: it takes too long")
	}
}

// Add is told of a Secret that is new.
func (w *secretWatch) Add(obj any) error { return w.Update(obj) }

// Update is told of a Secret that has changed. What was written for a WeChatToken
// is no news to it.
func (w *secretWatch) Update(obj any) error {
	m := obj.(*metav1.PartialObjectMetadata) //nolint:forcetypeassert // the reflector makes sure
	w.r.secrets.note(m)
	for _, request := range w.r.usersOf(m) {
		if !w.r.secrets.writtenFor(request.NamespacedName, m) {
			w.queue.Add(request)
		}
	}
	return nil
}

// Delete is told of a Secret that is gone.
func (w *secretWatch) Delete(obj any) error {
	m := obj.(*metav1.PartialObjectMetadata) //nolint:forcetypeassert // the reflector makes sure
	w.r.secrets.gone(w.namespace, m)
	w.wake(m)
	return nil
}

// Replace is told of all that is there: at the start, and when events may have
// been missed. At the start nobody is woken: all WeChatTokens are queued then.
func (w *secretWatch) Replace(items []any, at string) error {
	all := make([]*metav1.PartialObjectMetadata, len(items))
	for i, item := range items {
		all[i] = item.(*metav1.PartialObjectMetadata) //nolint:forcetypeassert // the reflector makes sure
	}
	changed := w.r.secrets.replace(w.namespace, all, at)
	if !w.isSynced() {
		close(w.synced)
		return nil
	}
	for _, m := range changed {
		w.wake(m)
	}
	return nil
}

// Resync is for stores that somebody else reads.
func (w *secretWatch) Resync() error { return nil }

// Transformer makes the reflector keep no more than is needed of the Secrets that
// it collects for Replace.
func (w *secretWatch) Transformer() cache.TransformFunc { return stripSecretMetadata }

func (w *secretWatch) isSynced() bool {
	select {
	case <-w.synced:
		return true
	default:
		return false
	}
}

func (w *secretWatch) wake(m client.Object) {
	for _, request := range w.r.usersOf(m) {
		w.queue.Add(request)
	}
}

// stripSecretMetadata keeps the name, the version and the owner.
func stripSecretMetadata(obj any) (any, error) {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace:       m.Namespace,
		Name:            m.Name,
		ResourceVersion: m.ResourceVersion,
		OwnerReferences: m.OwnerReferences,
	}}, nil
}

// SecretsKnown reports whether the Secrets that are there are known.
func (r *WeChatTokenReconciler) SecretsKnown() bool {
	for _, w := range r.watches {
		if !w.isSynced() {
			return false
		}
	}
	return len(r.watches) > 0
}
