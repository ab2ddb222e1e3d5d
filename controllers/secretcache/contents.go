package secretcache

import (
	"math"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// contents are what this process read or wrote last of a Secret that an object
// names. They count as long as the watch has shown no later version, and no
// later deletion.
type contents struct {
	version     uint64
	encoded     []byte                 // without managedFields; nil if they are not known. Go's maps would take four times the memory
	lastWritten uint64                 // the version that this process has written last
	writer      types.NamespacedName   // the object for which it did
	invalid     bool                   // until a read
	cut         bool                   // the values are cut
	users       []types.NamespacedName // the objects that name the Secret
}

const (
	// maxEncoded bounds the contents of one Secret that are held, in bytes: a target
	// has a quarter of it.
	maxEncoded = 8 << 10
	// maxCredential is how much is held of each value of a larger Secret, in bytes: any
	// Secret can be named, so that reading it again and again would cost a megabyte
	// each time. Credentials are shorter, and what was longer still is. Only who
	// controls it needs all of it.
	maxCredential = 128
)

// unordered is a resource version that is no number. It is later than all others,
// so that nothing held counts, and a Secret that has it is not held.
const unordered = math.MaxUint64

// versionOf is a resource version as a number: a later one is greater (KEP-5504).
func versionOf(resourceVersion string) uint64 {
	v, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return unordered
	}
	return v
}

// known is the Secret as it was read or written last; nil if that is not known or
// stale, or if owner needs more of it than is held.
func (c *Cache) known(id types.NamespacedName, owner types.UID) *corev1.Secret {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.contents[id]
	if held == nil || held.encoded == nil || c.isStale(id, held.version) {
		return nil
	}
	var s corev1.Secret
	if s.Unmarshal(held.encoded) != nil {
		return nil
	}
	if o := metav1.GetControllerOfNoCopy(&s); held.cut && o != nil && o.UID == owner {
		return nil
	}
	return &s
}

// remember holds the contents of s, which was just read.
func (c *Cache) remember(s *corev1.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold(s)
}

// hold keeps the contents of s, unless nobody names it or later ones are held: an
// answer may come late.
func (c *Cache) hold(s *corev1.Secret) {
	held := c.contents[client.ObjectKeyFromObject(s)]
	version := versionOf(s.ResourceVersion)
	if held == nil || version < held.version || version == unordered {
		return
	}
	lean := *s
	lean.ManagedFields = nil
	if held.cut = lean.Size() > maxEncoded; held.cut {
		lean.ObjectMeta = metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, ResourceVersion: s.ResourceVersion}
		if o := controllerOf(s); o != nil {
			lean.OwnerReferences = []metav1.OwnerReference{*o}
		}
		lean.Data = map[string][]byte{}
		for key, value := range s.Data {
			lean.Data[key] = value[:min(len(value), maxCredential)]
		}
	}
	held.version, held.encoded, held.invalid = version, nil, false
	if encoded, err := lean.Marshal(); err == nil && len(encoded) <= maxEncoded {
		held.encoded = encoded
	}
}

// isStale reports whether the watch has shown something later than this version
// of a Secret. A Secret that is not listed is gone if the watch has come beyond
// the version: the read may have been on its way when it was deleted. Where
// nothing is watched everything may be stale.
func (c *Cache) isStale(id types.NamespacedName, version uint64) bool {
	if is, exists := c.listed[id.Namespace][id.Name]; exists {
		return version < is.version
	}
	observed, watched := c.observedUpTo(id.Namespace)
	return !watched || version <= observed
}

// observedUpTo is the version that the watch of a namespace has come to at least,
// if it has begun.
func (c *Cache) observedUpTo(namespace string) (version uint64, watched bool) {
	if version, watched = c.observed[namespace]; !watched {
		version, watched = c.observed[metav1.NamespaceAll]
	}
	return version, watched
}

// isOwnWrite reports whether m is what this process has written for the object.
func (c *Cache) isOwnWrite(object types.NamespacedName, m *metav1.PartialObjectMetadata) bool {
	held, version := c.contents[client.ObjectKeyFromObject(m)], versionOf(m.ResourceVersion)
	return held != nil && held.lastWritten == version && version != unordered && held.writer == object
}
