package account

import (
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// Others may replace the token of an account: other clusters and environments that
// use its appid, or a person at the console.
//
// Mode Stable does what WeChat advises (getStableAccessToken: call at least every 5
// minutes, and overwrite what you have): a plain call by interval, the Check. It ends
// no token, and brings the new one while the old one is still valid. A doubt about
// the token, as a consumer may report, is answered by a Check, too. Only when that
// has brought the same token, WeChat is asked whether it is valid: the Verify.
//
// Mode Classic has no call that brings the present token. There the Verify is all
// that can be done, within a budget.
const (
	// verifySpacing is the shortest time between two Verifies of one token, so that a
	// reporter who is always wrong costs two a minute.
	verifySpacing = 30 * time.Second

	// justNow is how long before a Verify a plain call still tells that WeChat has no
	// other token than the one it has called invalid.
	justNow = 5 * time.Second

	// checkBeat is the beat of all checks by interval: those of many accounts come
	// together, 17 of 10,000 by the minute. To wake up for each would cost three times as
	// much CPU as the calls do.
	checkBeat = 100 * time.Millisecond

	// longestVerifyWait is how long a Verify by interval waits at most while WeChat
	// does not answer it.
	longestVerifyWait = time.Hour

	// noteworthy is how many Checks or Verifies by interval have to fail in a row
	// before somebody is told, where the failure may pass by itself.
	noteworthy = 5
)

// checks are the calls that make sure of t: those of the interval, and those that
// end a doubt.
func (s *State) checks(w *Wants, t *record.Token, now time.Time) []candidate {
	if !s.Valid(t, now) {
		return nil
	}
	byInterval := Check
	if s.Mode == v1alpha1.ModeClassic {
		byInterval = Verify
	}
	var all []candidate
	if w.CheckInterval > 0 {
		all = append(all, s.afterCheckFailure(candidate{kind: byInterval, at: s.nextCheckAt(w, byInterval, now)}, w, t))
	}
	if c, wanted := s.clearDoubt(w, t, now); wanted {
		all = append(all, c)
	}
	return all
}

// clearDoubt is the call that ends a doubt about t, if there is one.
func (s *State) clearDoubt(w *Wants, t *record.Token, now time.Time) (c candidate, wanted bool) {
	since, reported, doubted := s.doubt(w, t)
	if !doubted {
		return candidate{}, false
	}
	c = candidate{kind: Verify, at: since}
	if s.verified(t) {
		c.at = s.last[Verify].at.Add(verifySpacing)
	}
	if s.Mode == v1alpha1.ModeStable && s.tokenAt().Before(since) && !s.refusedSince(since) {
		c.at, c.kind = later(c.at, s.last[Check].at.Add(shortestPause)), Check // who reports all the time spends a sixth of a day's calls
	} else if left := s.Known.Spent.VerifyLeft(now); left == 0 || (w.AppSecretIn != "" && left <= budget.VerifyReserve) {
		c.at = budget.NextDay(now)
		c.cause = Cause{Kind: VerifyBudgetExhausted, Next: c.at, Reported: reported}
	}
	if c = s.afterCheckFailure(c, w, t); c.cause.Kind == CheckFailed {
		c.cause.Reported = reported
	}
	return c, true
}

// doubt is the moment since which there is a doubt about t, and whether a consumer
// has it.
func (s *State) doubt(w *Wants, t *record.Token) (since time.Time, reported, doubted bool) {
	switch {
	case s.openReport(w, t):
		return w.reportSince, true, true
	case s.suspects(t):
		return s.suspectAt, false, true
	case w.Unchecked && !s.told():
		return s.Since, false, true
	default:
		return time.Time{}, false, false
	}
}

// told reports whether WeChat has told this process anything of the token.
func (s *State) told() bool { return !s.tokenAt().IsZero() || !s.last[Verify].succeededAt.IsZero() }

// openReport reports whether a consumer has called t invalid, and waits for an answer.
func (s *State) openReport(w *Wants, t *record.Token) bool {
	return w.Report != "" && w.Reported == t.Fingerprint() && s.handledReport(w, t) != w.Report
}

// refusedSince reports whether a Check since then has failed for a reason that does
// not pass by itself: the AppSecret was reset, for instance. The token may tell more.
func (s *State) refusedSince(since time.Time) bool {
	f := s.last[Check].failure
	return f != nil && f.Err.Class() != wechat.Transient && !s.last[Check].at.Before(since)
}

// afterCheckFailure is c after the wait that the last failure of its kind wants.
func (s *State) afterCheckFailure(c candidate, w *Wants, t *record.Token) candidate {
	f := s.last[c.kind].failure
	if f == nil {
		return c
	}
	c.at = s.afterFailure(c.at, w, c.kind, f, t, w.reportSince)
	waited := w.Unchecked || s.openReport(w, t) || f.Err.Class() != wechat.Transient || f.Count >= noteworthy
	if c.cause.Kind == NoCause && waited && s.last[c.kind].token == t.Fingerprint() {
		c.cause = Cause{Kind: CheckFailed, Err: f.Err}
	}
	return c
}

// suspects reports whether a call for a ticket found t invalid, and WeChat was not
// asked about it since. It is asked once for each token: an answer that is wrong
// again and again is no reason to ask again and again.
func (s *State) suspects(t *record.Token) bool {
	return s.suspect != "" && s.suspect == t.Fingerprint() && (!s.verified(t) || s.last[Verify].at.Before(s.suspectAt))
}

// nextCheckAt is when the interval is over: the account's next moment in the rhythm
// of the interval, which no call and no restart moves. Whatever has told something of
// the token in the half of an interval before takes the place of a call; and a start
// of the operator is no reason for one.
func (s *State) nextCheckAt(w *Wants, kind Kind, now time.Time) time.Time {
	every := w.CheckInterval
	if f := s.last[kind].failure; f != nil && kind == Verify { // its quota is small
		every = double(every, f.Count, max(every, longestVerifyWait))
	}
	told := later(s.tokenAt(), s.last[kind].at)
	earliest := later(s.Since.Add(w.CheckInterval), told.Add(every-w.CheckInterval/2))
	phase := offset(s.Spread, w.CheckInterval).Truncate(checkBeat)
	at := earliest.Add(-phase).Truncate(w.CheckInterval).Add(phase)
	if at.Before(earliest) {
		at = at.Add(w.CheckInterval)
	}
	if kind == Verify && s.Known.Spent.VerifyLeft(now) <= budget.VerifyReserve {
		return later(at, budget.NextDay(now))
	}
	return at
}

// handledReport is the report of t that WeChat has contradicted: the present one,
// or the one that the Secret remembers.
func (s *State) handledReport(w *Wants, t *record.Token) string {
	if w.Report != "" && w.Reported == t.Fingerprint() && s.verified(t) && !s.last[Verify].at.Before(w.reportSince) {
		return w.Report
	}
	if w.holds(t) {
		return w.Secret.HandledReport
	}
	return ""
}
