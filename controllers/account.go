package controllers

import (
	"cmp"
	"slices"
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
	users    []*user // few, mostly one: a map of one takes 400 bytes
	surveyed bool    // see survey
}

// user is what the WeChatToken at key has had of the account; nil if it is not of
// the account.
func (acc *account) user(key types.NamespacedName) *user {
	i := slices.IndexFunc(acc.users, func(u *user) bool { return u.key == key })
	if i < 0 {
		return nil
	}
	return acc.users[i]
}

// known is what this process knows of an account.
type known struct {
	calling bool      // a call is under way
	ended   int       // calls that have ended
	token   *issued   // the newest token that this process was given or has found in a Secret; nil before the first
	askedAt time.Time // when the last call that brought a token began
	failure *failure  // of the last call for a token; nil after a good one
	since   time.Time // when this process first heard of the account
	checked checked
	forced  []time.Time
	classic dayCount
	polls   [len(ticketKinds)]poll

	// doubted is the fingerprint of a token that a call for a ticket found dead
	// at doubtedAt, see doubts.
	doubted   string
	doubtedAt time.Time

	// lost says that a call may have ended the token in use, and that its
	// answer, with the next token, did not arrive. A further call ends it.
	lost bool

	// settled says that there is no forced call of which only WeChat knows:
	// none has lost its answer, and no earlier process can have died between a
	// forced call and the write of its token. Any call that brings a token tells,
	// and a plain one is free.
	settled bool
}

// checked is the last question to WeChat whether a token lives.
type checked struct {
	fingerprint string    // of the token; empty before the first question
	at          time.Time // when the question was asked
	dead        bool
	givenBack   bool     // a plain call since has given no other one
	failure     *failure // nil if WeChat told
}

// user is what one WeChatToken has had of its account.
type user struct {
	key        types.NamespacedName
	uid        types.UID
	inCall     string                  // the refresh that was asked for when the call under way began
	handled    string                  // the forced refresh that was handled last
	keptFor    string                  // the forced refresh for which a call gave the old token back
	reportedAt time.Time               // when this process first saw the report
	seen       attempt                 // what the object looks like
	tried      attempt                 // what it looked like when WeChat was last called for a token of the account
	questioned attempt                 // what it looked like when WeChat was last asked about one
	polled     [len(ticketKinds)]int64 // its generation when WeChat was last asked for a ticket
	wrote      string                  // what its Secret was made to carry last, see written
	repairedAt time.Time               // when the same was last written once more
	newSince   time.Time               // when WeChat gave the token that its Secret does not carry yet; zero if it carries the newest
	carried    carried
}

// carried is the token that a Secret was made to carry last.
type carried struct {
	fingerprint string
	replaced    time.Time // see issued
}

// attempt is what of a WeChatToken tells that a person has acted on it.
type attempt struct {
	generation int64
	request    string // see requested
	report     string // see reported
}

func attemptOf(wt *v1alpha1.WeChatToken) attempt {
	report, _ := reported(wt)
	return attempt{generation: wt.Generation, request: requested(wt), report: report}
}

// failure is a call that brought no token, or the old one where a new one was
// forced.
type failure struct {
	err    *wechat.Error // nil if the old token came back
	forced bool          // of a forced call: it says nothing of a plain one
	at     time.Time
	count  int // failures of one class in a row, this one included
}

// call is one call to WeChat for one WeChatToken.
type call struct {
	creds    wechat.Credentials
	mode     v1alpha1.Mode
	check    bool                // ask whether previous lives, and for nothing else
	ticket   v1alpha1.TicketType // ask for this ticket with previous, and for nothing else; empty for none
	had      ticket              // the newest one of that type that was known
	force    bool                // a new token is wanted though the present one is not due
	previous *issued             // the token in use, of the same appid and mode; nil if there is none
	after    int                 // known.ended, when the call was decided on
}

// look notes that the WeChatToken at key uses the account, and returns what is
// known of it. found is the token in its Secrets, nil if there is none: its
// budget and its echo count, and it may be news for the other WeChatTokens of
// the account, which are to be woken then.
func (a *accounts) look(key types.NamespacedName, id accountID, wt *v1alpha1.WeChatToken, found *issued, now time.Time) (known, user, []types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if acc := a.byID[a.of[key]]; acc != nil && (a.of[key] != id || acc.user(key).uid != wt.UID) {
		a.leave(key)
	}
	acc := a.account(id, now)
	u := acc.user(key)
	if u == nil {
		u = &user{key: key, uid: wt.UID, tried: attemptOf(wt), questioned: attemptOf(wt)}
		for kind := range ticketKinds {
			u.polled[kind] = wt.Generation
		}
		acc.users = append(acc.users, u)
		a.of[key] = id
		if acc.forcedSince(found) {
			u.handled = requested(wt)
		} else if pending(wt, found) != "" && acc.askedAt.IsZero() {
			acc.settled = false
		}
	}
	if seen := attemptOf(wt); seen.report != u.seen.report {
		u.seen, u.reportedAt = seen, now
	} else {
		u.seen = seen
	}
	if wt.Spec.Suspend {
		u.newSince = time.Time{} // nobody wants it there
	}
	if found == nil {
		return acc.known, *u, nil
	}
	u.handled = cmp.Or(u.handled, found.handled)
	if acc.learn(id, wt.Spec.AppID, found, now) {
		return acc.known, *u, acc.others(key)
	}
	return acc.known, *u, nil
}

// budget is what was spent of the calls of the account that the WeChatToken at key
// uses, if this process has looked at it.
func (a *accounts) budget(key types.NamespacedName) (forced []time.Time, classic dayCount, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.byID[a.of[key]]
	if acc == nil {
		return nil, dayCount{}, false
	}
	return acc.forced, acc.classic, true
}

// account is the one with the given ID, which may be new.
func (a *accounts) account(id accountID, now time.Time) *account {
	if a.byID == nil {
		a.byID, a.of = map[accountID]*account{}, map[types.NamespacedName]accountID{}
	}
	acc := a.byID[id]
	if acc == nil {
		acc = &account{}
		acc.settled, acc.since = true, now
		a.byID[id] = acc
	}
	return acc
}

// surveyed reports whether survey was called for the account.
func (a *accounts) surveyed(id accountID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.byID[id]
	return acc != nil && acc.surveyed
}

// survey notes what stands in the Secrets of all WeChatTokens of the appid and
// mode. It is called before look, and once: without it a process that has just
// started would call WeChat for one of them though another has a live token.
func (a *accounts) survey(id accountID, appID string, found []*issued, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.account(id, now)
	for _, t := range found {
		acc.learn(id, appID, t, now)
	}
	acc.surveyed = true
}

// forcedSince reports whether the account's token was forced after found, the
// one in the Secret of a WeChatToken, was obtained. An earlier process has died
// then before it wrote that Secret: a refresh that was asked for there is
// answered by the newer token.
func (acc *account) forcedSince(found *issued) bool {
	t := acc.token
	return t != nil && found != nil && found.account == t.account && t.obtained.After(found.obtained) &&
		slices.ContainsFunc(t.forced, func(at time.Time) bool { return at.Unix() == t.obtained.Unix() })
}

// learn notes what a token found in a Secret tells of the account, and reports
// whether it, or a ticket beside it, is newer than those of the account that were
// known.
func (acc *account) learn(id accountID, appID string, found *issued, now time.Time) bool {
	if found.appID == appID { // the budget is the appid's
		acc.forced = union(acc.forced, found.forced)
		acc.classic = acc.classic.later(found.classic)
	}
	news := false
	for kind, t := range found.tickets {
		if found.account == id && t.appID == appID && acc.polls[kind].learn(t, now) {
			news = true
		}
	}
	if found.account != id || found.ahead(now) || (acc.token != nil && !found.obtained.After(acc.token.obtained)) {
		return news
	}
	acc.token = found
	return true
}

// forget drops the WeChatToken at key.
func (a *accounts) forget(key types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave(key)
}

// leave takes key from its account, and drops an account without users. One
// with a call under way is left to end, so that it has no second one meanwhile.
func (a *accounts) leave(key types.NamespacedName) {
	id := a.of[key]
	delete(a.of, key)
	if acc := a.byID[id]; acc != nil {
		acc.users = slices.DeleteFunc(acc.users, func(u *user) bool { return u.key == key })
		if len(acc.users) == 0 && !acc.calling {
			delete(a.byID, id)
		}
	}
}
