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
// Contents count as long as the watch has shown no later version of them, and
// not that they are gone. They are kept encoded: a Secret in Go's maps takes four
// times the memory.
type secrets struct {
	mu     sync.Mutex
	told   map[string]uint64           // version of the last list or end that was told, by the namespace that is watched
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
	encoded []byte               // without managedFields; nil if they are not known
	written uint64               // version that this process has written last
	writer  types.NamespacedName // for which WeChatToken
	doubted bool                 // a write has failed that relied on what was known, absence too; a read ends it
	users   []string             // names of the WeChatTokens that name it
}

// names are those of the Secrets that a WeChatToken names, in its namespace.
type names struct{ target, appSecret string }

// maxHeld bounds the contents of one Secret that are held, in bytes. One that is
// larger, with the AppSecrets of many accounts, say, is read each time.
const maxHeld = 16 << 10

// unordered is a resource version that is no number. It is later than all others,
// so that nothing held counts, and what has it is not held.
const unordered = math.MaxUint64

// versionOf is a resource version as a number: a later one is greater (KEP-5504).
func versionOf(resourceVersion string) uint64 {
	v, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return unordered
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
	if h == nil || version < h.version || version == unordered {
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

// wrote is remember for what this process has written for the WeChatToken at key.
func (k *secrets) wrote(key types.NamespacedName, s *corev1.Secret) {
	k.remember(s)
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}]; h != nil {
		h.written, h.writer = versionOf(s.ResourceVersion), key
	}
}

// writtenFor reports whether m is what this process has written for the
// WeChatToken at key, which still has it as its target.
func (k *secrets) writtenFor(key types.NamespacedName, m *metav1.PartialObjectMetadata) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, version := k.held[types.NamespacedName{Namespace: m.Namespace, Name: m.Name}], versionOf(m.ResourceVersion)
	return h != nil && h.written == version && version != unordered && h.writer == key && k.named[key].target == m.Name
}

// current reports whether the watch has told of nothing later than this version
// of a Secret. One that is not listed is gone if the watch has come beyond it: a
// read may have been on its way meanwhile.
func (k *secrets) current(id types.NamespacedName, version uint64) bool {
	if is, there := k.listed[id.Namespace][id.Name]; there {
		return version >= is.version
	}
	told, watched := k.upTo(id.Namespace)
	return watched && version > told
}

// upTo is the version that the watch of a namespace has come to at least, if it
// has begun.
func (k *secrets) upTo(namespace string) (version uint64, watched bool) {
	if version, watched = k.told[namespace]; !watched {
		version, watched = k.told[metav1.NamespaceAll]
	}
	return version, watched
}

// recall is the Secret as it was read or written last; nil if that is not known,
// or if the watch has told of something later.
func (k *secrets) recall(id types.NamespacedName) *corev1.Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[id]
	if h == nil || h.encoded == nil || !k.current(id, h.version) {
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
	if _, watched := k.upTo(id.Namespace); !watched {
		return false
	}
	_, there := k.listed[id.Namespace][id.Name]
	h := k.held[id]
	return !there && (h == nil || (!h.doubted && !k.current(id, h.version)))
}

// ownedBy are the names of the Secrets that the WeChatToken of the given UID
// controls, by the word of the watch.
func (k *secrets) ownedBy(uid types.UID) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.owned[uid])
}

// replace notes that these Secrets are there and no others, in the namespace of a
// watch or in all, by a list of this version. It returns what has changed,
// appeared or vanished.
//
// Nothing is held after it but what it lists: a cluster may have been restored
// from a backup meanwhile, and an earlier version be the later one.
func (k *secrets) replace(watch string, all []*metav1.PartialObjectMetadata, at string) []*metav1.PartialObjectMetadata {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.told == nil {
		k.told, k.listed, k.owned = map[string]uint64{}, map[string]map[string]shown{}, map[types.UID][]string{}
	}
	changed := k.unlistOthers(watch, all)
	for _, m := range all {
		if version := versionOf(m.ResourceVersion); version == unordered || version != k.listed[m.Namespace][m.Name].version {
			k.list(m)
			changed = append(changed, m)
		}
	}
	for id, h := range k.held {
		if (watch == metav1.NamespaceAll || watch == id.Namespace) && h.version != k.listed[id.Namespace][id.Name].version {
			if h.version != 0 { // it was seen here, and may never have been listed
				changed = append(changed, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name}})
			}
			*h = held{users: h.users, doubted: true}
		}
	}
	k.told[watch] = versionOf(at)
	return changed
}

// unlistOthers takes from the list what is not among all, and returns it.
func (k *secrets) unlistOthers(watch string, all []*metav1.PartialObjectMetadata) (vanished []*metav1.PartialObjectMetadata) {
	if len(k.listed) == 0 {
		return nil // as at the start, when all may be large
	}
	there := make(map[types.NamespacedName]bool, len(all))
	for _, m := range all {
		there[types.NamespacedName{Namespace: m.Namespace, Name: m.Name}] = true
	}
	for namespace, names := range k.listed {
		if watch != metav1.NamespaceAll && watch != namespace {
			continue
		}
		for name := range names {
			if id := (types.NamespacedName{Namespace: namespace, Name: name}); !there[id] {
				k.unlist(id)
				vanished = append(vanished, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
			}
		}
	}
	return vanished
}

// note notes that a Secret is there. The watch has begun with replace.
func (k *secrets) note(m *metav1.PartialObjectMetadata) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list(m)
}

// gone notes that a Secret is gone. m has the version of its end.
func (k *secrets) gone(watch string, m *metav1.PartialObjectMetadata) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, at := types.NamespacedName{Namespace: m.Namespace, Name: m.Name}, versionOf(m.ResourceVersion)
	k.unlist(id)
	k.told[watch] = at
	if h := k.held[id]; h != nil && h.version <= at {
		h.encoded = nil
	}
}

func (k *secrets) list(m *metav1.PartialObjectMetadata) {
	k.disown(m.Namespace, m.Name)
	is := shown{version: versionOf(m.ResourceVersion)}
	if owner := metav1.GetControllerOfNoCopy(m); owner != nil && owner.Kind == kind {
		is.owner = owner.UID
		k.owned[is.owner] = append(k.owned[is.owner], m.Name)
	}
	if k.listed[m.Namespace] == nil {
		k.listed[m.Namespace] = map[string]shown{}
	}
	k.listed[m.Namespace][m.Name] = is
}

func (k *secrets) unlist(id types.NamespacedName) {
	k.disown(id.Namespace, id.Name)
	delete(k.listed[id.Namespace], id.Name)
	if len(k.listed[id.Namespace]) == 0 {
		delete(k.listed, id.Namespace) // namespaces come and go
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
