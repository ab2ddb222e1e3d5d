package controllers

import (
	"regexp"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
)

// A token may die before its time: somebody else has fetched one (Classic), or
// forced one (Stable). The operator learns it from a report of a consumer, from
// its own probe, or from a call for a ticket, and believes none: it asks WeChat
// whether the token lives before it does anything about it. A false report so
// costs one question.

const (
	// checkSpacing is the least time between two questions about one token, so
	// that a reporter who is wrong all the time costs two a minute at most.
	checkSpacing = 30 * time.Second

	// longestProbe is how long a probe waits at most while WeChat gives no
	// answer to it.
	longestProbe = time.Hour
)

// reportForm is the form of a report. Another one may be a token by mistake,
// and is not copied anywhere.
var reportForm = regexp.MustCompile(`^([0-9a-f]{16})(@[0-9A-Za-z:.+_-]{1,40})?$`)

// reported is the report of a dead token on wt, and the fingerprint that it
// names; both are empty if there is none.
func reported(wt *v1alpha1.WeChatToken) (report, fingerprint string) {
	m := reportForm.FindStringSubmatch(wt.Annotations[v1alpha1.AnnotationDeadToken])
	if m == nil {
		return "", ""
	}
	return m[0], m[1]
}

// handles reports whether with t in the Secret a report has been dealt with:
// it names another token, or WeChat has called it wrong.
func (t *issued) handles(wt *v1alpha1.WeChatToken) bool {
	report, named := reported(wt)
	return t != nil && report != "" && (named != t.fingerprint || t.handledDead == report)
}

// judged is o with all that is known of the end of its tokens, beside what
// WeChat said when it gave them.
//
//   - WeChat has called the token dead since.
//   - There is a newer one of the account. The older then works for the length
//     of a window at most: 5 minutes (getAccessToken, getStableAccessToken).
func (o observed) judged(window time.Duration) observed {
	newest := o.token
	for _, t := range []**issued{&o.inSecret, &o.inOld, &o.token} {
		if *t == nil {
			continue
		}
		judged := **t
		judged.ended = time.Time{}
		if o.checked.dead && o.checked.fingerprint == judged.fingerprint && o.checked.at.Before(judged.expires) {
			judged.ended = o.checked.at
		}
		if newest != nil && newest.account == judged.account && newest.fingerprint != judged.fingerprint && newest.obtained.After(judged.obtained) {
			if end := newest.obtained.Add(window); end.Before(judged.end()) {
				judged.ended = end
			}
		}
		*t = &judged
	}
	return o
}

// What became of a report of a dead token.
const (
	reportDead       = "dead"       // WeChat agrees, and there is another token
	reportAlive      = "alive"      // WeChat does not agree
	reportOutdated   = "outdated"   // the token had been replaced before
	reportUnanswered = "unanswered" // WeChat was asked, and did not tell yet
)

// verdictOnReport is what has become of the report on the object now that its
// Secret carries t; empty if that is not known yet.
func (o observed) verdictOnReport(t *issued) string {
	report, named := reported(o.wt)
	switch {
	case report == "" || t == nil:
		return ""
	case t.handles(o.wt) && named == t.fingerprint:
		return reportAlive
	case t.handles(o.wt) && o.checked.dead && o.checked.fingerprint == named && !o.reportedAt.After(o.askedAt):
		return reportDead
	case t.handles(o.wt):
		return reportOutdated
	case o.checked.failure != nil && o.checked.fingerprint == named:
		return reportUnanswered
	default:
		return ""
	}
}

// foundDead reports whether WeChat has called t, of the present account, dead
// before its time.
func (o observed) foundDead(t *issued, now time.Time) bool {
	return t != nil && t.account == o.account && o.checked.dead && o.checked.fingerprint == t.fingerprint && now.Before(t.expires)
}

// triedPlainly reports whether a plain call has given the dead t back, so that
// only a forced one brings another: also since a forced one has lost its answer.
// In Classic mode there are no plain ones.
func (o observed) triedPlainly(t *issued) bool {
	return t.mode == v1alpha1.ModeClassic || (o.checked.givenBack && o.settled)
}

// handledDead is the report of t, which lives, that WeChat has called wrong: the
// present one, or the one that the Secret remembers.
func (o observed) handledDead(t *issued) string {
	if report, named := reported(o.wt); named == t.fingerprint && o.asked(t) && !o.checked.at.Before(o.reportedAt) {
		return report
	}
	if o.inSecret != nil && o.inSecret.fingerprint == t.fingerprint {
		return o.inSecret.handledDead
	}
	return ""
}

// asked reports whether the last question was about t, and WeChat answered it.
func (o observed) asked(t *issued) bool {
	return o.checked.fingerprint == t.fingerprint && o.checked.failure == nil
}

// checkWish is the question whether t lives that is wanted next, if any.
func (o observed) checkWish(t *issued, now time.Time) (wish, bool) {
	if !t.alive(now) {
		return wish{}, false
	}
	w := wish{check: true, verdict: live()}
	report, named := reported(o.wt)
	open := report != "" && named == t.fingerprint && o.handledDead(t) != report
	switch {
	case open:
		w.at = o.reportedAt
		if o.checked.fingerprint == t.fingerprint && o.checked.failure == nil {
			w.at = o.checked.at.Add(checkSpacing)
		}
	case o.doubts(t):
		w.at = o.doubtedAt
		if o.asked(t) {
			w.at = o.checked.at.Add(checkSpacing)
		}
	case o.wt.Spec.Probe.IntervalSeconds > 0:
		w.at = o.probeAt()
	default:
		return wish{}, false
	}
	if f := o.checked.failure; f != nil {
		w.at = o.afterWait(w.at, f, t, o.questioned, func(a attempt) string { return a.report })
		if o.checked.fingerprint == t.fingerprint {
			w.verdict = checkFailed(f, open)
		}
	}
	return w, true
}

// probeAt is when the probe is due. Whatever told of the token since the last
// one counts as a probe, and a start of the operator is no reason for one.
func (o observed) probeAt() time.Time {
	last := o.since
	for _, at := range []time.Time{o.askedAt, o.checked.at} {
		if at.After(last) {
			last = at
		}
	}
	interval := time.Duration(o.wt.Spec.Probe.IntervalSeconds) * time.Second
	wait := interval
	if f := o.checked.failure; f != nil {
		wait = double(interval, f.count, max(interval, longestProbe))
	}
	return last.Add(wait + offset(o.wt.UID, interval/10))
}

// deadWish is the call that is to replace t, which WeChat has called dead before
// its time. It is counted as a forced refresh, so that somebody who ends tokens
// all the time does not cost those that are due.
//
// In Stable mode the plain call comes first: it is free, and brings the token
// that somebody else has forced.
func (o observed) deadWish(t *issued, plain wish, now time.Time) wish {
	mode := o.wt.Spec.ModeOrDefault()
	next, exhausted := nextForced(mode, o.forced, o.classic, now)
	w := wish{at: next, force: true, verdict: diedEarly(mode)}
	if exhausted {
		w.verdict = forceBudget(mode, next)
	}
	if o.failure != nil {
		w.verdict = failed(o.failure, false)
		w.at = o.afterFailure(w.at, t)
	}
	if !o.triedPlainly(t) {
		w.at, w.force = plain.at, false
	}
	return w
}
