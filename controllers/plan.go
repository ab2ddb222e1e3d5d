package controllers

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// observed is what a reconcile found: in the cluster, and in what WeChat has
// answered this process so far.
type observed struct {
	wt *v1alpha1.WeChatToken

	creds   *wechat.Credentials // nil while the AppSecret cannot be read
	missing string              // why it cannot be read
	account accountID           // empty while creds is nil
	known
	user

	secret   *corev1.Secret // the target; nil if there is none
	holder   string         // who else holds the target, or has an older claim to it
	inSecret *issued        // the token in the target; nil if there is none to trust
	inOld    *issued        // the token in a Secret of ours that the spec no longer names
	old      []*corev1.Secret
}

// plan is what a reconcile does and says.
type plan struct {
	call   *call            // ask WeChat for this
	write  *issued          // make the target carry this; nil leaves it alone
	repair bool             // the same was written before: somebody has changed it back
	remove []*corev1.Secret // Secrets of ours to delete once the target carries a token
	wake   time.Time        // look again then; zero waits for an event

	token   *issued // what the target carries in the end, if it serves the spec
	due     time.Time
	verdict verdict
	report  string                 // what has become of the report of a dead token; empty if there is no news
	wrote   bool                   // the target was made to carry write
	polls   [len(ticketKinds)]poll // what the last calls for tickets have brought

	following *following // of the workloads that use the target; nil says nothing new
}

// decide says what to do with what was observed. It is the whole policy:
//
//   - Nothing is touched while the object is suspended, or the target is
//     somebody else's.
//   - The target is made to carry the newest token that is known, in the shape
//     the spec wants, as long as that token lives.
//   - WeChat is asked for a token when there is no live one of this account,
//     when a forced refresh is pending, or when the token is due; never while a
//     call is under way, and after a failure not before its time is up, unless a
//     person has changed the object since.
//   - WeChat is asked whether the token lives when a consumer has reported it
//     dead, or when the probe is due (check.go).
//   - WeChat is asked for the tickets that the spec wants in their time, when
//     nothing else is wanted of it (ticket_polls.go).
//   - The object is looked at again when any of this may change by time alone.
func decide(o observed, window time.Duration, now time.Time) plan {
	best := newest(o, now)
	p := plan{polls: o.polls}
	if t := o.inSecret; t.serves(o.wt) && !t.ahead(now) {
		p.token, p.due = t, due(o.wt, t, window)
	}
	switch {
	case o.holder != "":
		p.token = nil
		p.verdict = conflict(o.wt, o.holder)
		return p
	case o.wt.Spec.Suspend:
		p.verdict = suspended()
		p.wakeAtExpiry(o.wt, now)
		return p
	case o.creds == nil:
		p.verdict = appSecretMissing(o.missing)
		p.wakeAtExpiry(o.wt, now)
		return p
	}

	p.planWrite(o, best, window, now)
	p.planCall(o, best, window, now)
	if p.token != nil {
		p.remove, p.report = o.old, o.verdictOnReport(p.token)
		if !p.token.diedEarly.IsZero() && p.verdict.reason == v1alpha1.ReasonTokenLive {
			p.verdict.reason, p.verdict.message = v1alpha1.ReasonTokenDiedEarly, anotherDiedEarly(o.wt.Spec.ModeOrDefault(), p.token.diedEarly)
		}
	}
	p.wakeAtExpiry(o.wt, now)
	return p
}

// newest is the token to serve: of those that are known and are of the appid
// and mode of the spec, the one obtained last. What this process was given wins
// a tie, because it may correct what stands in the Secret.
func newest(o observed, now time.Time) *issued {
	var best *issued
	for _, t := range []*issued{o.inOld, o.inSecret, o.token} {
		if t.serves(o.wt) && !t.ahead(now) && (best == nil || !t.obtained.Before(best.obtained)) {
			best = t
		}
	}
	return best
}

// repairPause is the least time between two repairs of one Secret, so that a
// fight with somebody who changes it back costs 6 writes a minute.
const repairPause = 10 * time.Second

func (p *plan) planWrite(o observed, best *issued, window time.Duration, now time.Time) {
	if !best.alive(now) {
		return
	}
	want := *best
	want.handled, want.handledDead = o.user.handled, o.handledDead(best)
	want.tickets = o.wantTickets(now)
	before := o.carried
	if t := o.inSecret; t != nil {
		before = carried{fingerprint: t.fingerprint, replaced: t.replaced}
	}
	want.replaced = best.replacedAt(before, now)
	if o.secret != nil && carries(o.secret, render(o.wt, &want)) {
		return
	}
	p.repair = o.wrote == written(o.wt, &want)
	if next := o.repairedAt.Add(repairPause); p.repair && now.Before(next) {
		p.wakeAt(next)
		return
	}
	p.write, p.token, p.due = &want, &want, due(o.wt, &want, window)
}

// wish is a call that is wanted, and what to say until it has worked.
type wish struct {
	at      time.Time           // not before
	check   bool                // see call
	ticket  v1alpha1.TicketType // see call
	force   bool
	verdict verdict
}

// wishes are the calls that are wanted of WeChat: a plain one, which brings the
// next token in its time; a forced one for a token that died before its time, or
// for a pending refresh; and the question whether the token lives. Of their
// verdicts the first counts that is not well. serves is the token that the
// target carries; need says that there is no live token of the account.
func (o observed) wishes(serves, best *issued, need bool, window time.Duration, now time.Time) []wish {
	plain := o.plainWish(best, need, window, now)
	wishes := []wish{plain}
	if o.foundDead(best, now) {
		wishes = append(wishes, o.deadWish(best, plain, now))
	}
	// A forced refresh that is handled may have its echo in a write to come.
	if request := pending(o.wt, serves); request != "" && request != o.handled && !need {
		wishes = append(wishes, o.forcedWish(request, best, now))
	}
	if check, wanted := o.checkWish(best, now); wanted {
		wishes = append(wishes, check)
	}
	return wishes
}

// planCall decides whether and when to ask WeChat: the earliest wish is granted,
// and none holds up another. That for a ticket is granted only while no other is
// due, and says nothing of the token.
func (p *plan) planCall(o observed, best *issued, window time.Duration, now time.Time) {
	need := !best.alive(now) || best.account != o.account
	wishes := o.wishes(p.token, best, need, window, now)
	next := wishes[0]
	p.verdict = next.verdict
	for _, w := range wishes[1:] {
		if w.at.Before(next.at) {
			next = w
		}
		if p.verdict.ends == well {
			p.verdict = w.verdict
		}
	}
	if w, wanted := o.ticketWish(best, need, now); wanted && now.Before(next.at) && w.at.Before(next.at) {
		next = w
	}
	// Without a token in the Secret and without bad news, the news is to come.
	p.verdict.pending = (need || p.token == nil) && p.verdict.ends == well
	switch {
	case o.calling: // its end wakes the object
	case now.Before(next.at):
		p.wakeAt(next.at)
	default:
		p.call = &call{creds: *o.creds, mode: o.wt.Spec.ModeOrDefault(), check: next.check, force: next.force, previous: best, after: o.ended}
		if next.ticket != "" {
			p.call.ticket, p.call.had = next.ticket, o.ticketOf(kindOf(next.ticket), now)
		}
	}
}

// plainWish is the plain call that is wanted next. need says that there is no
// live token of the account.
func (o observed) plainWish(best *issued, need bool, window time.Duration, now time.Time) wish {
	if o.foundDead(best, now) && best.mode == v1alpha1.ModeClassic {
		need = false // see deadWish
	}
	w := wish{at: o.plainAt(best, need, window, now), verdict: live()}
	if !need && !o.lost && now.Before(due(o.wt, best, window)) {
		return w // in its time
	}
	if o.failure != nil {
		w.verdict = failed(o.failure, best.alive(now))
		if !o.failure.forced {
			w.at = o.afterFailure(w.at, best)
		}
	}
	if o.wt.Spec.ModeOrDefault() == v1alpha1.ModeClassic && o.classic.on(now) >= classicPerDay {
		w.at, w.verdict = nextDay(now), dayBudget()
	}
	return w
}

// forcedWish is the call that a pending forced refresh wants. It is a plain one
// where that may do.
func (o observed) forcedWish(request string, best *issued, now time.Time) wish {
	mode := o.wt.Spec.ModeOrDefault()
	next, exhausted := nextForced(mode, o.forced, o.classic, now)
	w := wish{at: next, force: true, verdict: live()}
	switch {
	case !o.settled && mode == v1alpha1.ModeStable: // see known.settled
		w.at, w.force = now, false
	case !next.After(now):
		w.at = now
	case !exhausted:
		w.verdict = deferred(next)
	default:
		w.verdict = forceBudget(mode, next)
		if mode == v1alpha1.ModeStable && o.keptFor != request { // it is free, and may bring a new token
			w.at, w.force = now, false
		}
	}
	if o.failure != nil {
		w.verdict = failed(o.failure, best.alive(now))
		if w.force || !o.failure.forced {
			w.at = o.afterFailure(w.at, best)
		}
	}
	return w
}

// shortestPause is the least time between two plain calls for one account,
// however short-lived the tokens are that it gets.
const shortestPause = time.Second

// plainAt is when a plain call is wanted.
func (o observed) plainAt(best *issued, need bool, window time.Duration, now time.Time) time.Time {
	switch {
	case need && o.foundDead(best, now) && o.triedPlainly(best):
		return o.askedAt.Add(longestWait) // WeChat gives the dead token back
	case need && o.token != nil:
		return o.askedAt.Add(shortestPause) // what was given is dead already
	case need, o.lost:
		return now
	}
	at := due(o.wt, best, window)
	if !o.askedAt.Before(at) { // and the old token came back
		return o.askedAt.Add(askAgain(o.wt, best, window, now))
	}
	return at
}

// afterFailure is at, or the end of the wait after the last failed call for a
// token if that is later. A bump shortens that wait.
func (o observed) afterFailure(at time.Time, best *issued) time.Time {
	return o.afterWait(at, o.failure, best, o.tried, func(a attempt) string { return a.request })
}

// afterWait is at, or the end of the wait after f if that is later. A person's
// change of the spec since then ends the wait; what was asked for anew shortens
// it to what must lie between two calls.
func (o observed) afterWait(at time.Time, f *failure, t *issued, then attempt, asked func(attempt) string) time.Time {
	now, again := attemptOf(o.wt), retryAt(o.wt.UID, f, t)
	if now.generation != then.generation {
		return at
	}
	if soon := f.at.Add(forcedSpacing); asked(now) != asked(then) && soon.Before(again) {
		again = soon
	}
	if again.After(at) {
		return again
	}
	return at
}

// pending is the forced refresh that t does not answer yet; empty if there is
// none.
func pending(wt *v1alpha1.WeChatToken, t *issued) string {
	request := requested(wt)
	if t != nil && t.handled == request {
		return ""
	}
	return request
}

// maxRequest bounds the value of the refresh annotation that counts, in bytes,
// so that no value makes the Secret or the status too large to be written.
const maxRequest = 256

// requested is the value of the refresh annotation.
func requested(wt *v1alpha1.WeChatToken) string {
	value := wt.Annotations[v1alpha1.AnnotationRefreshRequestedAt]
	if len(value) > maxRequest {
		value = strings.ToValidUTF8(value[:maxRequest], "")
	}
	return value
}

// wakeAt makes the object be looked at again at t, or earlier.
func (p *plan) wakeAt(t time.Time) {
	if p.wake.IsZero() || t.Before(p.wake) {
		p.wake = t
	}
}

// wakeAtExpiry makes the object be looked at when its token dies, or the trust in
// a ticket ends: a condition must turn False then.
func (p *plan) wakeAtExpiry(wt *v1alpha1.WeChatToken, now time.Time) {
	p.wakeAtTicketEnd(wt, now)
	if p.token.alive(now) {
		p.wakeAt(p.token.end())
	}
}
