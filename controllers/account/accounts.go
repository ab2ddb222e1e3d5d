package account

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// ID names an account: a hash of the appid, the AppSecret and the mode. It is in
// memory only.
type ID string

// IDOf is the ID of an account.
func IDOf(creds wechat.Credentials, mode v1alpha1.Mode) ID {
	sum := sha256.Sum256([]byte(strconv.Quote(creds.AppID) + strconv.Quote(creds.AppSecret) + string(mode)))
	return ID(hex.EncodeToString(sum[:16]))
}

// Accounts are all accounts that this process works for. All of it may be lost at
// any moment.
type Accounts struct {
	options Options
	queue   priorityqueue.PriorityQueue[ID]
	pulse   pulse

	mu       sync.Mutex
	byID     map[ID]*account
	of       map[types.NamespacedName]*member // what a WeChatToken is to the account that it uses
	expected rollCall
	pace     pace
}

// Options are what Accounts need. All are required.
type Options struct {
	WeChat *wechat.Client
	Window time.Duration // how long before its end WeChat replaces a stable token: 5 minutes
	// Wake queues a WeChatToken, for which there is news. The news of a failed call
	// is less urgent than the others.
	Wake func(key types.NamespacedName, failed bool)
	// Called is told of each call.
	Called func(c Call, a Answer, took time.Duration)
	// Elsewhere is told when a call has found that somebody else had replaced the
	// token of an account.
	Elsewhere func()
}

// New returns Accounts without an account. Start makes them call WeChat.
func New(o Options) *Accounts {
	return &Accounts{
		options: o,
		queue:   priorityqueue.New[ID]("account"),
		byID:    map[ID]*account{},
		of:      map[types.NamespacedName]*member{},
		pace:    newPace(),
	}
}

type account struct {
	State

	id          ID
	credentials wechat.Credentials
	members     []*member // few, mostly one: a map of one takes 400 bytes
}

// member is a WeChatToken that uses an account.
type member struct {
	Wants

	of  *account
	key types.NamespacedName
	// inherited is the refresh request that was there when it joined.
	inherited string
	// tokenSince is when WeChat gave the token that the Secret does not hold yet;
	// zero if it holds the newest.
	tokenSince time.Time
}

// Join notes that the WeChatToken at key uses the account with these credentials,
// and what it wants; found is what its Secrets say, nil for nothing. It returns the
// account as it is then. Other members are woken if found is news to them, and
// WeChat is called in its time.
func (a *Accounts) Join(key types.NamespacedName, creds wechat.Credentials, mode v1alpha1.Mode, w Wants, found *record.Record, now time.Time) View {
	id := IDOf(creds, mode)
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.heardOf(key, now) // when all is known of it
	if m := a.of[key]; m != nil && (m.of.id != id || m.UID != w.UID) {
		a.leave(key, now)
	}
	acc := a.account(id, creds, mode, w.UID, now)
	m := a.of[key]
	if m == nil {
		m = &member{of: acc, key: key, inherited: w.Request, Wants: Wants{UID: w.UID, Generation: w.Generation}}
		acc.members = append(acc.members, m)
		a.of[key] = m
		if acc.tokenAt().IsZero() && w.Request != "" && (found == nil || found.HandledRefresh != w.Request) {
			acc.forcedUncounted = true
		}
	}
	m.update(w, found, now)
	learned := acc.learn(found, now)
	acc.settle(m)
	if learned {
		for _, other := range acc.members {
			acc.settle(other)
		}
		a.wakeAll(acc, key, false)
	}
	if m.holds(&acc.Known.Token) {
		m.Secret.Token.Value = acc.Known.Token.Value // the same memory for both
	}
	view := View{State: acc.State, Wants: m.Wants}
	a.callAt(id, view.Next(now).At, now, 0)
	return view
}

// update notes what m wants now.
func (m *member) update(w Wants, found *record.Record, now time.Time) {
	w.specSince, w.requestSince, w.reportSince, w.handled = m.specSince, m.requestSince, m.reportSince, m.handled
	if w.Generation != m.Generation {
		w.specSince = now
	}
	if w.Request != m.Request {
		w.requestSince = now
	}
	if w.Report != m.Report {
		w.reportSince = now
	}
	if found != nil {
		w.handled = cmp.Or(w.handled, found.HandledRefresh)
	}
	if w.Suspended {
		m.tokenSince = time.Time{} // nobody waits for it there
	}
	m.Wants = w
}

// Spent is what was spent of the calls of the account that the WeChatToken at key
// uses, if this process has looked at it.
func (a *Accounts) Spent(key types.NamespacedName) (spent budget.Spent, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.of[key]
	if m == nil {
		return budget.Spent{}, false
	}
	return m.of.Known.Spent, true
}

// Wrote notes that the Secret of the WeChatToken at key holds r now. It returns
// since when that is WeChat's newest token, if the Secret has waited for it.
func (a *Accounts) Wrote(key types.NamespacedName, r *record.Record) (since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.of[key]
	if m == nil || m.of.Known.Token.Value != r.Token.Value {
		return time.Time{}
	}
	since, m.tokenSince = m.tokenSince, time.Time{}
	return since
}

// Pause notes that the WeChatToken at key wants nothing for now. What is known of
// its account stays.
func (a *Accounts) Pause(key types.NamespacedName, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heardOf(key, now)
	if m := a.of[key]; m != nil {
		m.Suspended = true
	}
}

// Leave drops the WeChatToken at key, which is gone.
func (a *Accounts) Leave(key types.NamespacedName, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heardOf(key, now)
	a.leave(key, now)
}

func (a *Accounts) leave(key types.NamespacedName, now time.Time) {
	m := a.of[key]
	if m == nil {
		return
	}
	delete(a.of, key)
	acc := m.of
	acc.members = slices.DeleteFunc(acc.members, func(other *member) bool { return other == m })
	if len(acc.members) > 0 {
		return
	}
	delete(a.byID, acc.id)
	if !acc.tokenAt().IsZero() && now.Sub(acc.Since) < briefly {
		a.pace.waste(key.Namespace, now)
	}
}

// account is the one with this ID, which may be new, of the WeChatToken uid.
func (a *Accounts) account(id ID, creds wechat.Credentials, mode v1alpha1.Mode, uid types.UID, now time.Time) *account {
	acc := a.byID[id]
	if acc == nil {
		acc = &account{id: id, State: State{Mode: mode, Window: a.options.Window, Since: now, Spread: uid}, credentials: creds}
		a.byID[id] = acc
	}
	return acc
}

// Recheck queues each account for its next call as of now: the clock by which it was
// queued has jumped.
func (a *Accounts) Recheck(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, acc := range a.byID {
		next, _ := acc.next(now)
		a.callAt(id, next.At, now, acc.priority())
	}
}

// wakeAll wakes the members but the one at key.
func (a *Accounts) wakeAll(acc *account, but types.NamespacedName, failed bool) {
	for _, m := range acc.members {
		if m.key != but {
			a.options.Wake(m.key, failed)
		}
	}
}

// mine reports whether r is verified and of this account, not only of its appid.
func (acc *account) mine(r *record.Record) bool {
	return r != nil && r.Verified && r.Token.Mode == acc.Mode && r.Token.AppID == acc.credentials.AppID
}

// settle marks the request that m has inherited as handled if the account's token
// was forced after the one on m's Secret was obtained: an earlier process has ended
// before it wrote that Secret.
func (acc *account) settle(m *member) {
	t := acc.Known.Token
	if m.pending() == "" || m.Request != m.inherited || !acc.mine(m.Secret) || !t.ObtainedAt.After(m.Secret.Token.ObtainedAt) {
		return
	}
	if slices.ContainsFunc(acc.Known.Spent.Forced, func(at time.Time) bool { return at.Unix() == t.ObtainedAt.Unix() }) {
		m.handled, acc.forcedUncounted = m.Request, false
	}
}

// learn notes what a record says of the account, and reports whether it has a newer
// token or ticket. One that is not verified is of the namespace of the AppSecret: its
// budget counts, within WeChat's limits, and nothing else.
func (acc *account) learn(found *record.Record, now time.Time) bool {
	if found == nil || found.Token.AppID != acc.credentials.AppID {
		return false
	}
	r := *found
	if r.Spent = r.Spent.Bounded(now); acc.mine(found) {
		return acc.Learn(r, now)
	}
	r.Spent.Elsewhere = nil
	acc.Known.Spent = acc.Known.Spent.Merge(r.Spent)
	return false
}
