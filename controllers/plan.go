package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/contest"
	"wechattoken.io/operator/internal/record"
)

// plan is what a reconcile does. When to call WeChat is not in it: the account
// decides that.
type plan struct {
	write  *record.Record   // make the target hold this; nil leaves it alone
	repair bool             // the same was written before: somebody has changed it back
	remove []*corev1.Secret // to delete once the target holds a token
	wake   time.Time        // look again then; zero waits for an event
}

// Pauses between two repairs of one Secret. Pods read its data, so that the pause for it
// does not grow as long as that for its labels, annotations and owner.
var (
	repairData     = contest.Pause{First: 10 * time.Second, Longest: 20 * time.Second}
	repairMetadata = contest.Pause{First: 10 * time.Second, Longest: 5 * time.Minute}
)

// repairPause is the one for what the target is to hold.
func (o *observation) repairPause(want *record.Record) contest.Pause {
	if o.target == nil || !record.HasData(o.target, record.Render(o.wt, *want, o.key)) {
		return repairData
	}
	return repairMetadata
}

// decide says what to do with what was observed:
//
//   - Nothing is touched while the WeChatToken is suspended, while its AppSecret
//     cannot be read, or while the target is somebody else's. One that nobody has, and
//     is provably of the account, is taken over once WeChat has told of its token.
//   - The target is made to hold the newest token and tickets that are known, in
//     the shape that the spec wants, as long as that token is valid.
//   - Secrets under names that the spec no longer uses go after that.
func decide(o *observation, now time.Time) plan {
	if o.conflict != "" || o.wt.Spec.Suspend || o.account == nil || (o.adopting && !o.account.Told()) {
		return plan{}
	}
	p := plan{remove: o.old}
	want := o.account.Want(now)
	if want == nil {
		return p
	}
	want.ReplacedAt = o.replacedAt(&want.Token, now)
	if o.onTarget != nil && o.onTarget.Verified {
		// The budget alone is not worth a write. It goes with the next one.
		same := *want
		same.Spent = o.onTarget.Spent
		if record.Matches(o.target, record.Render(o.wt, same, o.key)) {
			return p
		}
	}
	p.repair = o.last.what == contentsOf(o, want)
	if next := o.last.repairs.Next(o.repairPause(want)); p.repair && now.Before(next) {
		p.wake = next
		return p
	}
	p.write = want
	return p
}

// contentsOf tells one write of a Secret from another, but for the budget.
func contentsOf(o *observation, want *record.Record) string {
	same := *want
	same.Spent = budget.Spent{}
	return record.Fingerprint(record.Render(o.wt, same, o.key).Annotations[record.Annotation])
}

// replacedAt is when t, which the target is to hold now, has replaced another token
// there; zero if it is the first.
func (o *observation) replacedAt(t *record.Token, now time.Time) time.Time {
	before, replacedAt := o.last.token, o.last.replacedAt
	if o.onTarget != nil {
		before, replacedAt = o.onTarget.Token.Fingerprint(), o.onTarget.ReplacedAt
	}
	switch before {
	case "":
		return time.Time{}
	case t.Fingerprint():
		return replacedAt
	default:
		return now.UTC().Truncate(time.Second)
	}
}

// lookAgain is when time alone changes what there is to do or to report: the token
// in the target ends, or the trust in a ticket.
func lookAgain(o *observation, p plan, out outcome, now time.Time) time.Time {
	at := p.wake
	earlier := func(t time.Time) {
		if now.Before(t) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if out.refused != "" {
		earlier(now.Add(refusedWait(o, out, now)))
	}
	if end := o.wt.Status.ExpirationTime; out.unread && end != nil {
		earlier(end.Time)
	}
	if out.holds == nil {
		return at
	}
	earlier(o.endOf(&out.holds.Token))
	earlier(o.last.repairs.Over(repairMetadata))
	earlier(lastElsewhere(out.holds).Add(shownElsewhere))
	for _, place := range record.Wanted(o.wt) {
		earlier(out.holds.Tickets[place].ExpiresAt)
	}
	return at
}

// refusedWait is how long to wait after the API server has refused the Secret: half
// a minute, and less when the token in it is about to end. Nothing in the cluster
// tells when a policy or a quota has changed.
func refusedWait(o *observation, out outcome, now time.Time) time.Duration {
	if out.holds == nil {
		return 30 * time.Second
	}
	left := o.endOf(&out.holds.Token).Sub(now)
	if left <= 0 {
		return 30 * time.Second
	}
	return min(30*time.Second, max(left/4, time.Second))
}
