package account

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
)

// A process that has just started does not know yet which token is on whose Secret.
// Would it call WeChat for the first WeChatToken that has none, another one might
// hold a valid token of the account, and in mode Classic the call ends that. So
// nobody calls for an appid before all WeChatTokens that name it, and had a Secret
// at the start, were heard of: each joins in its turn, and no Secret is read twice,
// however many there are.

// longestRollCall is how long one that is not heard of holds up the others. It is
// enough for tens of thousands.
const longestRollCall = 10 * time.Second

// group is what accounts have in common whose WeChatTokens may share a token, as far
// as can be told without an AppSecret.
type group struct {
	appID string
	mode  v1alpha1.Mode
}

// rollCall are the WeChatTokens that are expected.
type rollCall struct {
	of      map[types.NamespacedName]group
	left    map[group]int
	waiting map[group]map[ID]struct{} // accounts that want to call
	until   time.Time
}

// Expect makes the accounts of an appid in a mode wait for the WeChatToken at key
// to Join, Pause or Leave.
func (a *Accounts) Expect(key types.NamespacedName, appID string, mode v1alpha1.Mode, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.expected.of[key]; known || a.of[key] != nil {
		return
	}
	if a.expected.of == nil {
		a.expected = rollCall{of: map[types.NamespacedName]group{}, left: map[group]int{}, waiting: map[group]map[ID]struct{}{}, until: now.Add(longestRollCall)}
	}
	g := group{appID, mode}
	a.expected.of[key] = g
	a.expected.left[g]++
}

// heardOf notes that the WeChatToken at key is expected no longer.
func (a *Accounts) heardOf(key types.NamespacedName, now time.Time) {
	r := &a.expected
	g, expected := r.of[key]
	if !expected {
		return
	}
	delete(r.of, key)
	if r.left[g]--; r.left[g] > 0 {
		return
	}
	delete(r.left, g)
	for id := range r.waiting[g] {
		a.callAt(id, now, now, 0)
	}
	delete(r.waiting, g)
}

// holds reports whether the account may not call yet. It is queued again when it may.
func (r *rollCall) holds(id ID, acc *account, now time.Time) bool {
	g := group{acc.credentials.AppID, acc.Mode}
	if r.left[g] == 0 || !now.Before(r.until) {
		return false
	}
	if r.waiting[g] == nil {
		r.waiting[g] = map[ID]struct{}{}
	}
	r.waiting[g][id] = struct{}{}
	return true
}
