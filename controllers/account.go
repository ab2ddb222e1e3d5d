package controllers

import (
	"cmp"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// accounts is what this process knows of the WeChat accounts it works for: the
// calls under way and what the last ones brought. All of it can be lost at any
// moment; what must not be lost stands on the Secrets.
//
// WeChat is called outside of the workers, so that an account that does not
// answer holds up no other. A call ends by waking the WeChatTokens of its
// account, whose next reconcile finds here what it brought.
type accounts struct {
	mu   sync.Mutex
	byID map[accountID]*account
	of   map[types.NamespacedName]accountID // the account that a WeChatToken uses
}

// account is one appid with one AppSecret in one mode.
type account struct {
	known
	users map[types.NamespacedName]*user
}

// known is what this process knows of an account.
type known struct {
	calling bool      // a call is under way
	token   *issued   // the newest token this process was given; nil before the first
	askedAt time.Time // when the last call that brought a token began
	failure *failure  // of the last call; nil after a good one
	forced  []time.Time
	classic dayCount

	// settled says that there is no forced call of which only WeChat knows:
	// none has lost its answer, and no earlier process can have died between a
	// forced call and the write of its token. A plain call tells, and is free.
	settled bool
}

// user is what one WeChatToken has had of its account.
type user struct {
	handled    string    // the forced refresh that was handled last
	keptFor    string    // the forced refresh for which a call gave the old token back
	tried      attempt   // what the object looked like when WeChat was last called
	repairedAt time.Time // when its Secret was last written without a new token
}

// attempt is what of a WeChatToken tells that a person has acted on it.
type attempt struct {
	generation int64
	request    string // see requested
}

func attemptOf(wt *v1alpha1.WeChatToken) attempt {
	return attempt{generation: wt.Generation, request: requested(wt)}
}

// failure is a call that brought no token, or the old one where a new one was
// forced.
type failure struct {
	err   *wechat.Error // nil if the old token came back
	at    time.Time
	count int // failures in a row, this one included
}

// call is one call to WeChat for one WeChatToken.
type call struct {
	creds    wechat.Credentials
	mode     v1alpha1.Mode
	force    bool    // a new token is wanted though the present one is not due
	request  string  // the forced refresh it answers; empty if none is asked for
	previous *issued // the token in use, of the same appid and mode; nil if there is none
	tried    attempt
}

// look notes that the WeChatToken at key uses the account, and returns what is
// known of it. written is what the cluster remembers of an earlier token; nil if
// there is none.
func (a *accounts) look(key types.NamespacedName, id accountID, wt *v1alpha1.WeChatToken, written *issued) (known, user) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID == nil {
		a.byID, a.of = map[accountID]*account{}, map[types.NamespacedName]accountID{}
	}
	if a.of[key] != id {
		a.leave(key)
	}
	acc := a.byID[id]
	if acc == nil {
		acc = &account{users: map[types.NamespacedName]*user{}}
		acc.settled = pending(wt, written) == ""
		a.byID[id] = acc
	}
	u := acc.users[key]
	if u == nil {
		u = &user{tried: attemptOf(wt)}
		acc.users[key], a.of[key] = u, id
	}
	if written != nil {
		u.handled = cmp.Or(u.handled, written.handled)
		if written.appID == wt.Spec.AppID { // the budget is the appid's
			acc.forced = union(acc.forced, written.forced)
			acc.classic = acc.classic.later(written.classic)
		}
	}
	return acc.known, *u
}

// forget drops the WeChatToken at key.
func (a *accounts) forget(key types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave(key)
}

// leave takes key from its account, and drops an account without users.
func (a *accounts) leave(key types.NamespacedName) {
	id := a.of[key]
	delete(a.of, key)
	if acc := a.byID[id]; acc != nil {
		delete(acc.users, key)
		if len(acc.users) == 0 {
			delete(a.byID, id)
		}
	}
}

// begin notes that a call is under way. It returns false if one is already: an
// account has one call at a time.
func (a *accounts) begin(key types.NamespacedName, id accountID, c call) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.byID[id]
	if acc == nil || acc.calling || acc.users[key] == nil {
		return false
	}
	acc.calling = true
	acc.users[key].tried = c.tried
	return true
}

// end notes what a call that began at start has brought, and returns the
// WeChatTokens that want to know.
func (a *accounts) end(key types.NamespacedName, id accountID, c call, start time.Time, got wechat.Token, failed *wechat.Error) []types.NamespacedName {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.byID[id]
	if acc == nil {
		return nil // all its users are gone
	}
	acc.calling = false
	if c.mode == v1alpha1.ModeClassic {
		acc.classic = acc.classic.add(start)
	}
	if failed != nil {
		acc.settled = acc.settled && !(c.force && failed.Lost)
		acc.fail(failed)
	} else {
		u := acc.users[key]
		if u == nil {
			u = &user{} // the one that asked is gone; the others may use the token
		}
		acc.give(u, id, c, start, got)
	}
	keys := make([]types.NamespacedName, 0, len(acc.users))
	for k := range acc.users {
		keys = append(keys, k)
	}
	return keys
}

func (acc *account) fail(err *wechat.Error) {
	f := &failure{err: err, at: time.Now(), count: 1}
	if acc.failure != nil {
		f.count += acc.failure.count
	}
	acc.failure = f
}

// give notes the token that a call has brought.
func (acc *account) give(u *user, id accountID, c call, start time.Time, got wechat.Token) {
	isNew := c.previous == nil || c.previous.fingerprint != fingerprint(got.Value)
	lost := !acc.settled && isNew && c.previous != nil // a forced call that nobody counted has worked
	if c.force || (lost && c.mode == v1alpha1.ModeStable) {
		acc.forced = spend(acc.forced, start)
	}
	acc.settled = true
	acc.askedAt = start
	acc.token = newToken(id, c, start, got)
	if isNew {
		acc.token.forced, acc.token.classic = acc.forced, acc.classic
	}
	switch {
	case c.request == "":
	case isNew:
		u.handled = c.request
	default:
		u.keptFor = c.request
	}
	if c.force && !isNew {
		acc.fail(nil)
		return
	}
	acc.failure = nil
}

// sameEnd is how far two ends of one token may lie apart, given whole seconds
// and the time a call takes. What differs more is a correction: the clock was
// set, or WeChat has changed its mind.
const sameEnd = 3 * time.Second

// newToken is what is remembered of the token that a call has brought. The
// token in use, given once more, stays as it was.
func newToken(id accountID, c call, start time.Time, got wechat.Token) *issued {
	t := &issued{
		value:       got.Value,
		fingerprint: fingerprint(got.Value),
		account:     id,
		appID:       c.creds.AppID,
		mode:        c.mode,
		obtained:    start.Truncate(time.Second), // the Secret keeps whole seconds
		expires:     start.Truncate(time.Second).Add(got.Life),
	}
	if p := c.previous; p != nil && p.fingerprint == t.fingerprint {
		t.obtained, t.forced, t.classic = p.obtained, p.forced, p.classic
		if t.expires.Sub(p.expires).Abs() <= sameEnd {
			t.expires = p.expires
		}
	}
	return t
}

// repaired notes that the Secret of the WeChatToken at key was written without
// a new token.
func (a *accounts) repaired(key types.NamespacedName, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if acc := a.byID[a.of[key]]; acc != nil {
		acc.users[key].repairedAt = now
	}
}
