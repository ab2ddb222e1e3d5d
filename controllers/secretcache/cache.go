package secretcache

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cache is what this process knows of Secrets without a request. Several
// controllers may share it.
type Cache struct {
	live      client.Reader
	ownerKind schema.GroupKind
	synced    chan struct{} // closed once all watched namespaces were listed

	mu          sync.Mutex
	subscribers map[*subscriber]struct{}

	// The watch fills these. A watched namespace is "" for all.
	watched  []string                     // the namespaces that Source watches
	observed map[string]uint64            // by watched namespace, the version of its last list or deletion
	listed   map[string]map[string]listed // by namespace and name
	owned    map[owner][]string           // names of Secrets, maxOwned at most

	// Reads and writes fill these.
	names    map[types.NamespacedName]Names     // by object
	contents map[types.NamespacedName]*contents // by Secret, of those that an object names
}

// listed is a Secret that the watch has shown.
type listed struct {
	version uint64
	owner   types.UID // of the owner of our kind; empty if there is none
}

// owner is an object that controls Secrets. A UID alone would let one namespace
// claim to own for an object of another.
type owner struct {
	namespace string
	uid       types.UID
}

// Names are the Secrets that an object names. Either may be empty.
type Names struct {
	Target, Credentials string
	CredentialsIn       string // the namespace of the Credentials; empty for that of the object
}

// New returns a Cache that reads Secrets from live, and takes a Secret for owned
// by its controller if that is of the given kind.
func New(live client.Reader, ownerKind schema.GroupKind) *Cache {
	return &Cache{
		live:        live,
		ownerKind:   ownerKind,
		synced:      make(chan struct{}),
		subscribers: map[*subscriber]struct{}{},
		observed:    map[string]uint64{},
		listed:      map[string]map[string]listed{},
		owned:       map[owner][]string{},
		names:       map[types.NamespacedName]Names{},
		contents:    map[types.NamespacedName]*contents{},
	}
}

// SetNames notes which Secrets an object names. The Cache holds the contents of
// these only, and their changes wake the object. Each controller calls it before
// it gets them: a change after the Get then wakes the object.
func (c *Cache) SetNames(object types.NamespacedName, n Names) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.names[object]; ok && was == n {
		return
	}
	c.unname(object)
	c.names[object] = n
	for _, id := range n.in(object.Namespace) {
		if c.contents[id] == nil {
			c.contents[id] = &contents{}
		}
		c.contents[id].users = append(c.contents[id].users, object)
	}
}

// Forget drops what only this object has named.
func (c *Cache) Forget(object types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unname(object)
}

func (c *Cache) unname(object types.NamespacedName) {
	for _, id := range c.names[object].in(object.Namespace) {
		held := c.contents[id]
		held.users = slices.DeleteFunc(held.users, func(user types.NamespacedName) bool { return user == object })
		if len(held.users) == 0 {
			delete(c.contents, id)
		}
	}
	delete(c.names, object)
}

func (n Names) in(namespace string) []types.NamespacedName {
	var ids []types.NamespacedName
	for _, id := range slices.Compact([]types.NamespacedName{{Namespace: namespace, Name: n.Target}, {Namespace: cmp.Or(n.CredentialsIn, namespace), Name: n.Credentials}}) {
		if id.Name != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// Get is the Secret as it is known, or else as it is read; nil, nil if there is
// none. The caller may change what it gets. Of a large Secret, labels and annotations
// may be missing and values be cut to maxCredential bytes, unless the object with the
// UID owner controls it; empty for nobody.
func (c *Cache) Get(ctx context.Context, id types.NamespacedName, owner types.UID) (*corev1.Secret, error) {
	if known := c.known(id, owner); known != nil {
		return known, nil
	}
	var s corev1.Secret
	err := c.live.Get(ctx, id, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %q: %w", id.Name, err)
	}
	c.remember(&s)
	return &s, nil
}

// Absent reports whether there is no such Secret, as far as the watch and this
// process's own writes show. The watch may lag behind what others have written.
func (c *Cache) Absent(id types.NamespacedName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, watched := c.observedUpTo(id.Namespace); !watched {
		return false
	}
	_, exists := c.listed[id.Namespace][id.Name]
	held := c.contents[id]
	return !exists && (held == nil || (!held.invalid && c.isStale(id, held.version)))
}

// maxOwned is how many Secrets of one object are told. Anybody who edits a
// namespace can make any number there that name an object as their owner.
const maxOwned = 8

// OwnedBy are the names of some Secrets in a namespace that name the object with
// this UID as their controller, as far as the watch has shown: maxOwned at most.
func (c *Cache) OwnedBy(namespace string, uid types.UID) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.owned[owner{namespace, uid}])
}

// UsersOf are the objects that name a Secret, not its owner. An object that never
// called SetNames is not among them: its controller has yet to reconcile it.
func (c *Cache) UsersOf(secret client.Object) []types.NamespacedName {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usersOf(secret)
}

func (c *Cache) usersOf(secret metav1.Object) []types.NamespacedName {
	held := c.contents[types.NamespacedName{Namespace: secret.GetNamespace(), Name: secret.GetName()}]
	if held == nil {
		return nil
	}
	return slices.Clone(held.users)
}

// maxOwner is how large a reference to an owner is at most that there is: a kind, a name
// and a UID, in bytes. The API server takes any that has room in an object.
const maxOwner = 1 << 10

// controllerOf is the controller of a Secret; nil also for one that cannot exist.
func controllerOf(secret metav1.Object) *metav1.OwnerReference {
	o := metav1.GetControllerOfNoCopy(secret)
	if o == nil || o.Size() > maxOwner {
		return nil
	}
	return o
}

// ownerOf is the controller of a Secret if it is of our kind; otherwise nil.
func (c *Cache) ownerOf(secret metav1.Object) *metav1.OwnerReference {
	o := controllerOf(secret)
	if o == nil || schema.FromAPIVersionAndKind(o.APIVersion, o.Kind).GroupKind() != c.ownerKind {
		return nil
	}
	return o
}

// Wrote notes that this process has written s for an object. s is the API
// server's answer, not what was sent.
func (c *Cache) Wrote(object types.NamespacedName, s *corev1.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold(s)
	if held := c.contents[client.ObjectKeyFromObject(s)]; held != nil {
		held.lastWritten, held.writer = versionOf(s.ResourceVersion), object
	}
}

// Invalidate drops what is known of a Secret, also that there is none: a write
// that relied on it has failed. The next Get reads it.
func (c *Cache) Invalidate(id types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held := c.contents[id]; held != nil {
		held.encoded, held.invalid = nil, true
	}
}

// Synced reports whether all watched namespaces were listed.
func (c *Cache) Synced() bool {
	select {
	case <-c.synced:
		return true
	default:
		return false
	}
}
