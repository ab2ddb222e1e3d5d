package secretcache

import (
	"context"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// ours is the kind of the objects that own Secrets here.
var ours = schema.GroupKind{Group: "example.com", Kind: "Thing"}

// secretAt is the Secret "shop" of the namespace "web" at a version, which is also
// what it holds.
func secretAt(version string, mods ...func(*corev1.Secret)) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop", ResourceVersion: version},
		Data:       map[string][]byte{"version": []byte(version)},
	}
	for _, mod := range mods {
		mod(s)
	}
	return s
}

func called(name string) func(*corev1.Secret) { return func(s *corev1.Secret) { s.Name = name } }

func in(namespace string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Namespace = namespace }
}

// ownedBy makes an object of our kind the controller. Its UID is its name.
func ownedBy(name string, mods ...func(*metav1.OwnerReference)) func(*corev1.Secret) {
	return func(s *corev1.Secret) {
		o := metav1.OwnerReference{APIVersion: "example.com/v1", Kind: ours.Kind, Name: name, UID: types.UID(name), Controller: new(true)}
		for _, mod := range mods {
			mod(&o)
		}
		s.OwnerReferences = []metav1.OwnerReference{o}
	}
}

func metaOf(s *corev1.Secret) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: s.ObjectMeta}
}

func metaAt(version string, mods ...func(*corev1.Secret)) *metav1.PartialObjectMetadata {
	return metaOf(secretAt(version, mods...))
}

// keyOf is a Secret or an object of the namespace "web".
func keyOf(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "web", Name: name}
}

// reader is an API server that answers a Get.
type reader struct {
	client.Reader

	secret *corev1.Secret // nil if there is none
	err    error
	reads  int
}

func (r *reader) Get(_ context.Context, id types.NamespacedName, obj client.Object, _ ...client.GetOption) error {
	r.reads++
	switch {
	case r.err != nil:
		return r.err
	case r.secret == nil:
		return apierrors.NewNotFound(corev1.Resource("secrets"), id.Name)
	}
	r.secret.DeepCopyInto(obj.(*corev1.Secret))
	return nil
}

// woken is the queue of a controller: it notes what is queued.
type woken struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]

	mu   sync.Mutex
	keys map[types.NamespacedName]bool
}

func (w *woken) Add(r reconcile.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys[r.NamespacedName] = true
}

// names are those that are queued, in order.
func (w *woken) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for key := range w.keys {
		names = append(names, key.Name)
	}
	slices.Sort(names)
	return names
}

// subscribe starts a source that Changes or a Source without a watch would be, and
// returns its queue.
func subscribe(tb testing.TB, c *Cache, ownWrites bool) *woken {
	tb.Helper()
	q := &woken{keys: map[types.NamespacedName]bool{}}
	if err := (&subscriber{cache: c, ownWrites: ownWrites}).Start(tb.Context(), q); err != nil {
		tb.Fatal(err)
	}
	return q
}
