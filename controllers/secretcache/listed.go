package secretcache

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Replace is what the watch calls with a list of all Secrets of a watched
// namespace, or of all with "": at the start, and when it may have missed events.
// Tests of other packages call it instead of a watch. The first list wakes
// nobody: each controller reconciles all its objects after it. A later one wakes
// those whose Secret has changed, appeared or vanished.
//
// After it the Cache holds no contents but of the versions that are listed: a
// cluster may have been restored from a backup meanwhile, so that an earlier
// version is the later one.
func (c *Cache) Replace(namespace string, all []*metav1.PartialObjectMetadata, resourceVersion string) {
	c.mu.Lock()
	_, again := c.observed[namespace]
	changed := c.replaceListed(namespace, all)
	changed = append(changed, c.dropUnlisted(namespace)...)
	c.observed[namespace] = versionOf(resourceVersion)
	c.closeIfSynced()
	var events []event
	if again {
		for _, m := range changed {
			events = append(events, c.eventsOf(m)...)
		}
	}
	c.mu.Unlock()
	c.publish(events)
}

// Observe is what the watch calls with a Secret that was created or has changed,
// after a first Replace. The object for which this process has written it is not
// woken, except by Changes.
func (c *Cache) Observe(m *metav1.PartialObjectMetadata) {
	c.mu.Lock()
	c.list(m)
	events := c.eventsOf(m)
	for i := range events {
		events[i].ownWrite = c.isOwnWrite(events[i].object, m)
	}
	c.mu.Unlock()
	c.publish(events)
}

// Gone is what the watch of a namespace, "" for all, calls with a Secret that was
// deleted. m has the resource version of the deletion.
func (c *Cache) Gone(namespace string, m *metav1.PartialObjectMetadata) {
	c.mu.Lock()
	id, version := client.ObjectKeyFromObject(m), versionOf(m.ResourceVersion)
	c.unlist(id)
	c.observed[namespace] = version
	if held := c.contents[id]; held != nil && held.version <= version {
		held.encoded = nil
	}
	events := c.eventsOf(m)
	c.mu.Unlock()
	c.publish(events)
}

// replaceListed makes all what is listed in a watched namespace. It returns what
// has changed, appeared or vanished.
func (c *Cache) replaceListed(namespace string, all []*metav1.PartialObjectMetadata) []*metav1.PartialObjectMetadata {
	changed := c.unlistOthers(namespace, all)
	for _, m := range all {
		if version := versionOf(m.ResourceVersion); version == unordered || version != c.listed[m.Namespace][m.Name].version {
			c.list(m)
			changed = append(changed, m)
		}
	}
	return changed
}

// unlistOthers removes what is not among all from the list, and returns it.
func (c *Cache) unlistOthers(namespace string, all []*metav1.PartialObjectMetadata) (vanished []*metav1.PartialObjectMetadata) {
	if len(c.listed) == 0 {
		return nil // as at the start, when all may be large
	}
	exists := make(map[types.NamespacedName]bool, len(all))
	for _, m := range all {
		exists[client.ObjectKeyFromObject(m)] = true
	}
	for in, names := range c.listed {
		if !covers(namespace, in) {
			continue
		}
		for name := range names {
			if id := (types.NamespacedName{Namespace: in, Name: name}); !exists[id] {
				c.unlist(id)
				vanished = append(vanished, metadataOf(id))
			}
		}
	}
	return vanished
}

// dropUnlisted drops the contents of all versions that are not listed, and
// returns their Secrets: one that was written and deleted between two lists was
// never listed.
func (c *Cache) dropUnlisted(namespace string) (dropped []*metav1.PartialObjectMetadata) {
	for id, held := range c.contents {
		if !covers(namespace, id.Namespace) || held.version == c.listed[id.Namespace][id.Name].version {
			continue
		}
		if held.version != 0 {
			dropped = append(dropped, metadataOf(id))
		}
		*held = contents{users: held.users, invalid: true}
	}
	return dropped
}

// covers reports whether the watch of a namespace, "" for all, shows Secrets in
// another one.
func covers(watched, namespace string) bool {
	return watched == metav1.NamespaceAll || watched == namespace
}

func metadataOf(id types.NamespacedName) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name}}
}

func (c *Cache) list(m *metav1.PartialObjectMetadata) {
	c.disown(m.Namespace, m.Name)
	is := listed{version: versionOf(m.ResourceVersion)}
	if o := c.ownerOf(m); o != nil {
		is.owner = o.UID
		by := owner{m.Namespace, o.UID}
		if len(c.owned[by]) < maxOwned {
			c.owned[by] = append(c.owned[by], m.Name)
		}
	}
	if c.listed[m.Namespace] == nil {
		c.listed[m.Namespace] = map[string]listed{}
	}
	c.listed[m.Namespace][m.Name] = is
}

func (c *Cache) unlist(id types.NamespacedName) {
	c.disown(id.Namespace, id.Name)
	delete(c.listed[id.Namespace], id.Name)
	if len(c.listed[id.Namespace]) == 0 {
		delete(c.listed, id.Namespace) // namespaces come and go
	}
}

func (c *Cache) disown(namespace, name string) {
	uid := c.listed[namespace][name].owner
	if uid == "" {
		return
	}
	by := owner{namespace, uid}
	rest := slices.DeleteFunc(c.owned[by], func(n string) bool { return n == name })
	if len(rest) == 0 {
		delete(c.owned, by)
	} else {
		c.owned[by] = rest
	}
}
