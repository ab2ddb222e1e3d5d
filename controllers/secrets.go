package controllers

import (
	"math"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// secrets is what this process knows of Secrets without asking: of all of them
// the name, the version and the owner, by the watch; and of those that a
// WeChatToken names the contents, as they were read or written last. A reconcile
// of something that has not changed asks the API server for nothing.
//
// Contents count as long as the watch has shown no later version of them. They
// are kept encoded: a Secret in Go's maps takes four times the memory.
type secrets struct {
	mu     sync.Mutex
	listed map[string]map[string]shown // by namespace and name
	owned  map[types.UID][]string      // names of the Secrets that a WeChatToken controls
	held   map[types.NamespacedName]*held
	named  map[types.NamespacedName]names // by WeChatToken
}

// shown is a Secret that is there, by the word of the watch.
type shown struct {
	version uint64
	owner   types.UID // of the WeChatToken that controls it; empty if none does
}

// held are the contents of a Secret.
type held struct {
	version uint64
	encoded []byte   // without managedFields; nil if they are not known
	written uint64   // version that this process has written last
	doubted bool     // a write has failed that relied on what was known, absence too; a read ends it
	users   []string // names of the WeChatTokens that name it
}

// names are those of the Secrets that a WeChatToken names, in its namespace.
type names struct{ target, appSecret string }

// maxHeld bounds the contents of one Secret that are held, in bytes. One that is
// larger, with the AppSecrets of many accounts, say, is read each time.
const maxHeld = 16 << 10

// versionOf is a resource version as a number: a later one is greater (KEP-5504).
// One that is no number is later than all, so that nothing held counts.
func versionOf(resourceVersion string) uint64 {
	v, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return v
}

// name notes the Secrets that the WeChatToken at key names. Only of those are
// contents held.
func (k *secrets) name(key types.NamespacedName, n names) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.named[key] == n {
		return
	}
	k.unname(key)
	if k.named == nil {
		k.named, k.held = map[types.NamespacedName]names{}, map[types.NamespacedName]*held{}
	}
	k.named[key] = n
	for _, name := range []string{n.target, n.appSecret} {
		id := types.NamespacedName{Namespace: key.Namespace, Name: name}
		if k.held[id] == nil {
			k.held[id] = &held{}
		}
		k.held[id].users = append(k.held[id].users, key.Name)
	}
}

// forget drops what only the WeChatToken at key has named.
func (k *secrets) forget(key types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unname(key)
}

func (k *secrets) unname(key types.NamespacedName) {
	n, ok := k.named[key]
	if !ok {
		return
	}
	delete(k.named, key)
	for _, name := range []string{n.target, n.appSecret} {
		id := types.NamespacedName{Namespace: key.Namespace, Name: name}
		h := k.held[id]
		i := slices.Index(h.users, key.Name)
		if h.users = slices.Delete(h.users, i, i+1); len(h.users) == 0 {
			delete(k.held, id)
		}
	}
}

// users are the WeChatTokens that name a Secret, as far as they were looked at:
// those that were not are in the queue.
func (k *secrets) users(id types.NamespacedName) []types.NamespacedName {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[id]
	if h == nil {
		return nil
	}
	var users []types.NamespacedName
	for _, name := range h.users {
		users = append(users, types.NamespacedName{Namespace: id.Namespace, Name: name})
	}
	return users
}

// remember holds the contents of s, which was just read or written.
func (k *secrets) remember(s *corev1.Secret) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}]
	version := versionOf(s.ResourceVersion)
	if h == nil || version < h.version {
		return
	}
	h.doubted = false
	lean := *s
	lean.ManagedFields = nil
	encoded, err := lean.Marshal()
	if err != nil || len(encoded) > maxHeld {
		encoded = nil
	}
	h.version, h.encoded = version, encoded
}

// wrote is remember for what this process has written.
func (k *secrets) wrote(s *corev1.Secret) {
	k.remember(s)
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}]; h != nil {
		h.written = versionOf(s.ResourceVersion)
	}
}

// writtenHere reports whether m is of the version that this process has written.
func (k *secrets) writtenHere(m *metav1.PartialObjectMetadata) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[types.NamespacedName{Namespace: m.Namespace, Name: m.Name}]
	return h != nil && h.written == versionOf(m.ResourceVersion)
}

// recall is the Secret as it was read or written last; nil if that is not known,
// or if the watch has shown a later version.
func (k *secrets) recall(id types.NamespacedName) *corev1.Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[id]
	if h == nil || h.encoded == nil || h.version < k.listed[id.Namespace][id.Name].version {
		return nil
	}
	var s corev1.Secret
	if s.Unmarshal(h.encoded) != nil {
		return nil
	}
	return &s
}

// doubt drops what is known of a Secret: a write that relied on it has failed.
func (k *secrets) doubt(id types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[id]; h != nil {
		h.encoded, h.doubted = nil, true
	}
}

// absent reports whether there is no such Secret, as far as the watch and this
// process's own writes tell.
func (k *secrets) absent(id types.NamespacedName) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.listed == nil {
		return false // the watch has told nothing yet
	}
	_, there := k.listed[id.Namespace][id.Name]
	h := k.held[id]
	return !there && (h == nil || (h.encoded == nil && !h.doubted))
}

// ownedBy are the names of the Secrets that the WeChatToken of the given UID
// controls, by the word of the watch.
func (k *secrets) ownedBy(uid types.UID) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.owned[uid])
}

// note notes that a Secret is there.
func (k *secrets) note(m *metav1.PartialObjectMetadata) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.listed == nil {
		k.listed, k.owned = map[string]map[string]shown{}, map[types.UID][]string{}
	}
	if k.listed[m.Namespace] == nil {
		k.listed[m.Namespace] = map[string]shown{}
	}
	k.disown(m.Namespace, m.Name)
	is := shown{version: versionOf(m.ResourceVersion)}
	if owner := metav1.GetControllerOfNoCopy(m); owner != nil && owner.Kind == kind {
		is.owner = owner.UID
		k.owned[is.owner] = append(k.owned[is.owner], m.Name)
	}
	k.listed[m.Namespace][m.Name] = is
}

// gone notes that a Secret is gone. m has the version of its end.
func (k *secrets) gone(m *metav1.PartialObjectMetadata) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(types.NamespacedName{Namespace: m.Namespace, Name: m.Name}, versionOf(m.ResourceVersion))
}

func (k *secrets) drop(id types.NamespacedName, at uint64) {
	k.disown(id.Namespace, id.Name)
	delete(k.listed[id.Namespace], id.Name)
	if h := k.held[id]; h != nil && h.version <= at {
		h.encoded = nil
	}
}

func (k *secrets) disown(namespace, name string) {
	owner := k.listed[namespace][name].owner
	if owner == "" {
		return
	}
	rest := slices.DeleteFunc(k.owned[owner], func(n string) bool { return n == name })
	if len(rest) == 0 {
		delete(k.owned, owner)
	} else {
		k.owned[owner] = rest
	}
}

// missing are the Secrets of a namespace, or of all if it is empty, that were
// there and are not among all.
func (k *secrets) missing(namespace string, all []*metav1.PartialObjectMetadata) []types.NamespacedName {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.listed) == 0 {
		return nil
	}
	there := make(map[types.NamespacedName]bool, len(all))
	for _, m := range all {
		there[types.NamespacedName{Namespace: m.Namespace, Name: m.Name}] = true
	}
	var missing []types.NamespacedName
	for ns, names := range k.listed {
		if namespace != "" && ns != namespace {
			continue
		}
		for name := range names {
			if id := (types.NamespacedName{Namespace: ns, Name: name}); !there[id] {
				missing = append(missing, id)
			}
		}
	}
	return missing
}

// knows reports whether the watch has shown this version of a Secret before.
func (k *secrets) knows(m *metav1.PartialObjectMetadata) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	is, there := k.listed[m.Namespace][m.Name]
	return there && is.version == versionOf(m.ResourceVersion)
}
