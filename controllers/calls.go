package controllers

import (
	"cmp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// begin notes that a call is under way. It returns false if one is already: an
// account has one call at a time. It does so too if one has ended since this one
// was decided on: what that one brought has woken key.
func (a *accounts) begin(key types.NamespacedName, id accountID, c call) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.byID[id]
	if acc == nil || acc.calling || acc.ended != c.after || acc.user(key) == nil {
		return false
	}
	acc.calling = true
	for _, u := range acc.users {
		switch {
		case c.ticket != "":
			u.polled[kindOf(c.ticket)] = u.seen.generation
		case c.check:
			u.questioned = u.seen
		default:
			u.tried, u.inCall = u.seen, u.seen.request
		}
	}
	return true
}

// end notes what a call that began at start has brought, and returns the
// WeChatTokens that want to know.
func (a *accounts) end(key types.NamespacedName, id accountID, c call, start time.Time, got wechat.Token, failed *wechat.Error) []types.NamespacedName {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.callOver(id)
	if acc == nil {
		return nil
	}
	if c.mode == v1alpha1.ModeClassic {
		acc.classic = acc.classic.add(start)
	}
	if failed != nil {
		if failed.Lost {
			acc.settled = acc.settled && !c.force
			acc.lost = acc.lost || c.force || c.mode == v1alpha1.ModeClassic
		}
		acc.fail(failed, c.force)
	} else {
		acc.give(key, id, c, start, got)
	}
	return acc.others(types.NamespacedName{})
}

// answered notes whether the token that was asked about at start lives, and
// returns the WeChatTokens that want to know.
func (a *accounts) answered(id accountID, c call, start time.Time, lives bool, failed *wechat.Error) []types.NamespacedName {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.callOver(id)
	if acc == nil {
		return nil
	}
	last := acc.checked.failure
	acc.checked = checked{fingerprint: c.previous.fingerprint, at: start, dead: failed == nil && !lives}
	if failed != nil {
		acc.checked.failure = last.and(&failure{err: failed, at: time.Now()})
	}
	return acc.others(types.NamespacedName{})
}

// brought notes what a call for a ticket that began at start has brought, and
// returns the WeChatTokens that want to know.
func (a *accounts) brought(id accountID, c call, start time.Time, got wechat.Ticket, failed *wechat.Error) []types.NamespacedName {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.callOver(id)
	if acc == nil {
		return nil
	}
	p := &acc.polls[kindOf(c.ticket)]
	p.learn(c.had, start)
	if failed == nil {
		p.brought(c.creds.AppID, got, start)
		return acc.others(types.NamespacedName{})
	}
	p.failure, p.with = p.failure.and(&failure{err: failed, at: time.Now()}), c.previous.fingerprint
	if failed.InvalidToken() && acc.doubted != p.with {
		acc.doubted, acc.doubtedAt = p.with, time.Now()
	}
	return acc.others(types.NamespacedName{})
}

// callOver notes that the call under way has ended. It returns nil, and drops the
// account, if nobody uses it any more.
func (a *accounts) callOver(id accountID) *account {
	acc := a.byID[id]
	acc.calling = false
	acc.ended++
	if len(acc.users) == 0 {
		delete(a.byID, id)
		return nil
	}
	return acc
}

// others are the WeChatTokens of the account but the one at key.
func (acc *account) others(key types.NamespacedName) []types.NamespacedName {
	var keys []types.NamespacedName
	for _, u := range acc.users {
		if u.key != key {
			keys = append(keys, u.key)
		}
	}
	return keys
}

func (acc *account) fail(err *wechat.Error, forced bool) {
	acc.failure = acc.failure.and(&failure{err: err, forced: forced, at: time.Now()})
}

// and is next, counted as one more failure in a row if it is of the class of f.
func (f *failure) and(next *failure) *failure {
	next.count = 1
	if f != nil && f.class() == next.class() {
		next.count += f.count
	}
	return next
}

// oldTokenBack is the class of a forced call that gave the old token back.
const oldTokenBack wechat.Class = -1

func (f *failure) class() wechat.Class {
	if f.err == nil {
		return oldTokenBack
	}
	return f.err.Class()
}

// give notes the token that a call has brought. A new one answers every forced
// refresh that was asked for before the call began.
func (acc *account) give(key types.NamespacedName, id accountID, c call, start time.Time, got wechat.Token) {
	isNew := c.isNew(got)
	if c.force || (isNew && acc.forcedByOther(c)) {
		acc.forced = spend(c.mode, acc.forced, start)
	}
	acc.settled, acc.lost = true, false
	acc.askedAt = start
	acc.token = newToken(id, c, start, got)
	if isNew {
		acc.token.forced, acc.token.classic = acc.forced, acc.classic
		if p := c.previous; p != nil && acc.checked.dead && acc.checked.fingerprint == p.fingerprint {
			acc.token.diedEarly = acc.checked.at.Truncate(time.Second)
		}
		for _, u := range acc.users {
			u.handled = cmp.Or(u.inCall, u.handled)
			u.newSince = time.Now()
		}
	} else {
		acc.checked.givenBack = true
		if u := acc.user(key); u != nil {
			u.keptFor = u.inCall
		}
	}
	if c.force && !isNew {
		acc.fail(nil, true)
		return
	}
	acc.failure = nil
}

// isNew reports whether a call has brought another token than the one in use.
func (c call) isNew(got wechat.Token) bool {
	return c.previous == nil || c.previous.fingerprint != fingerprint(got.Value)
}

// forcedByOther reports whether the new token that a plain call has brought is
// that of a forced call which nobody has counted: an earlier process has died
// after it, or somebody outside has made it. WeChat counts them all alike.
func (acc *account) forcedByOther(c call) bool {
	if c.previous == nil || c.mode != v1alpha1.ModeStable {
		return false
	}
	return !acc.settled || (acc.checked.dead && acc.checked.fingerprint == c.previous.fingerprint)
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
		t.obtained, t.forced, t.classic, t.diedEarly = p.obtained, p.forced, p.classic, p.diedEarly
		if t.expires.Sub(p.expires).Abs() <= sameEnd && start.Before(p.expires) {
			t.expires = p.expires
		}
	}
	return t
}

// wrote notes what the Secret of the WeChatToken at key was made to carry. It
// returns since when that is WeChat's newest token, if the Secret has waited for
// it.
func (a *accounts) wrote(key types.NamespacedName, what string, t *issued, repair bool) (newSince time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.byID[a.of[key]]
	if acc == nil || acc.user(key) == nil {
		return time.Time{}
	}
	u := acc.user(key)
	u.wrote, u.carried = what, carried{fingerprint: t.fingerprint, replaced: t.replaced}
	if repair {
		u.repairedAt = time.Now()
	}
	if acc.token != nil && acc.token.fingerprint == t.fingerprint {
		newSince, u.newSince = u.newSince, time.Time{}
	}
	return newSince
}

// written is what tells one write of a Secret from another.
func written(wt *v1alpha1.WeChatToken, t *issued) string {
	what := []string{t.fingerprint, layout(wt), t.handled, t.handledDead}
	for kind, ticket := range t.tickets {
		what = append(what, ticket.record(kind))
	}
	return strings.Join(what, " ")
}
