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
// the WeChatToken that controls it; while there is none, to the one that had it last,
// or else to the oldest that names it. An index keeps them, so that a thousand
// WeChatTokens with one target cost each reconcile no more than two do.
type claims struct {
	mu       sync.Mutex
	byTarget map[types.NamespacedName][]claim              // the oldest first
	of       map[types.NamespacedName]types.NamespacedName // the target that a WeChatToken names
	holder   map[types.NamespacedName]string               // by target, the name of the one that had it last
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
		c.of, c.byTarget, c.holder = map[types.NamespacedName]types.NamespacedName{}, map[types.NamespacedName][]claim{}, map[types.NamespacedName]string{}
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
	target, named := c.of[key]
	if !named {
		return types.NamespacedName{}
	}
	before := c.firstOf(target)
	delete(c.of, key)
	if c.holder[target] == key.Name {
		delete(c.holder, target)
	}
	c.byTarget[target] = slices.DeleteFunc(c.byTarget[target], func(c claim) bool { return c.name == key.Name })
	if len(c.byTarget[target]) == 0 {
		delete(c.byTarget, target)
	}
	if after := c.firstOf(target); after != before && after != "" {
		return types.NamespacedName{Namespace: key.Namespace, Name: after}
	}
	return types.NamespacedName{}
}

// holds notes that wt has the Secret that it names.
func (c *claims) holds(wt *v1alpha1.WeChatToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key := client.ObjectKeyFromObject(wt); c.of[key].Name == wt.TokenSecretName() {
		c.holder[c.of[key]] = wt.Name
	}
}

// first is the name of the WeChatToken with the first claim to a Secret; empty if
// there is none.
func (c *claims) first(target types.NamespacedName) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.firstOf(target)
}

func (c *claims) firstOf(target types.NamespacedName) string {
	if holder := c.holder[target]; holder != "" {
		return holder
	}
	if all := c.byTarget[target]; len(all) > 0 {
		return all[0].name
	}
	return ""
}
