package controllers

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// claims are those of WeChatTokens to the Secrets that they name. A Secret belongs to
// the WeChatToken that controls it; while there is none, to the oldest that names it.
// An index keeps them, so that a thousand WeChatTokens with one target cost each
// reconcile no more than two do.
type claims struct {
	mu       sync.Mutex
	byTarget map[types.NamespacedName][]claim              // the oldest first
	of       map[types.NamespacedName]types.NamespacedName // the target that a WeChatToken names
}

type claim struct {
	created time.Time
	uid     types.UID
	name    string
}

func (c claim) compare(other claim) int {
	return cmp.Or(c.created.Compare(other.created), cmp.Compare(c.uid, other.uid))
}

// put notes what wt names, and returns the WeChatToken that has the first claim now
// to what wt named before; empty if nothing has changed there.
func (c *claims) put(wt *v1alpha1.WeChatToken) (next types.NamespacedName) {
	key, target := client.ObjectKeyFromObject(wt), types.NamespacedName{Namespace: wt.Namespace, Name: wt.TokenSecretName()}
	is := claim{wt.CreationTimestamp.Time, wt.UID, wt.Name}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, same := slices.BinarySearchFunc(c.byTarget[target], is, claim.compare); same {
		return types.NamespacedName{}
	}
	next = c.remove(key)
	if c.of == nil {
		c.of, c.byTarget = map[types.NamespacedName]types.NamespacedName{}, map[types.NamespacedName][]claim{}
	}
	at, _ := slices.BinarySearchFunc(c.byTarget[target], is, claim.compare)
	c.byTarget[target] = slices.Insert(c.byTarget[target], at, is)
	c.of[key] = target
	return next
}

// drop forgets the claim of the WeChatToken at key, and returns who has the first
// one now; empty if nothing has changed.
func (c *claims) drop(key types.NamespacedName) (next types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remove(key)
}

func (c *claims) remove(key types.NamespacedName) (next types.NamespacedName) {
	target := c.of[key]
	delete(c.of, key)
	all := c.byTarget[target]
	at := slices.IndexFunc(all, func(c claim) bool { return c.name == key.Name })
	if at < 0 {
		return types.NamespacedName{}
	}
	if all = slices.Delete(all, at, at+1); len(all) == 0 {
		delete(c.byTarget, target)
		return types.NamespacedName{}
	}
	c.byTarget[target] = all
	if at > 0 {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: key.Namespace, Name: all[0].name}
}

// first is the name of the WeChatToken with the first claim to a Secret; empty if
// there is none.
func (c *claims) first(target types.NamespacedName) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all := c.byTarget[target]; len(all) > 0 {
		return all[0].name
	}
	return ""
}
