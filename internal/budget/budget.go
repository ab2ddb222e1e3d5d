// Package budget counts the calls that WeChat limits, so that the operator stops
// before WeChat does. Everything here is pure: what was spent is an argument, and
// so is the time.
package budget

import (
	"cmp"
	"slices"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
)

const (
	// ForcedPerDay is how many forced refreshes WeChat allows an account in mode
	// Stable ("getStableAccessToken"). No page says when its day begins, so any 24
	// hours count.
	ForcedPerDay = 20
	// ForcedSpacing is the shortest time between two forced refreshes. Mode Classic
	// keeps it too: each of its calls ends a token that consumers may just have read.
	ForcedSpacing = 30 * time.Second

	// ClassicPerDay is WeChat's limit of /cgi-bin/token for a new account ("API Call
	// Limits").
	ClassicPerDay = 2000
	// VerifyPerDay is how many calls of get_api_domain_ip an account makes in a day at
	// most. Users report that WeChat refuses more than 1,000 to 5,000; no page has a
	// number.
	VerifyPerDay = 500
	// VerifyReserve is how many of them are kept for doubts from those that the
	// interval makes.
	VerifyReserve = 100

	// forcedSlack is added to the spacing. A Secret stores whole seconds, so a call
	// counts as up to 1 s earlier than it was, and it may have travelled longer than
	// the next one. WeChat refuses a forced call that comes too soon, and counts it.
	forcedSlack = 2 * time.Second

	// clockSlack is how far the clocks of two replicas may be apart.
	clockSlack = time.Minute

	day = 24 * time.Hour

	// mostPerDay bounds what can be counted of a day: a stored count may have been
	// edited.
	mostPerDay = 1_000_000
)

// Terms are what WeChat allows an account.
type Terms struct {
	Mode v1alpha1.Mode
	// ClassicPerDay is how many calls of /cgi-bin/token it allows in a day; zero for
	// the constant of that name. A test account (测试号) has 200.
	ClassicPerDay int
}

// TermsOf are those of the account of wt.
func TermsOf(wt *v1alpha1.WeChatToken) Terms {
	return Terms{wt.Spec.ModeOrDefault(), int(wt.Spec.ClassicCallsPerDay)}
}

// PerDay is how many calls of /cgi-bin/token the account has in a day.
func (t Terms) PerDay() int { return cmp.Or(t.ClassicPerDay, ClassicPerDay) }

// Reserve is how many calls of a day are kept from forced refreshes, so that no flood of
// them stops the refreshes that are due: a tenth.
func (t Terms) Reserve() int { return t.PerDay() / 10 }

// beijing is the time zone of WeChat's days. That they begin at midnight there is
// an assumption: no page says so.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// Spent is what an appid has spent. The zero value is nothing.
type Spent struct {
	Forced  []time.Time // when forced calls were made, oldest first, whole seconds
	Classic Calls       // calls of /cgi-bin/token
	Verify  Calls       // calls of get_api_domain_ip
	// Elsewhere are the times at which a call has found that somebody else had
	// replaced the token, oldest first, whole seconds. It limits nothing.
	Elsewhere []time.Time
}

// Calls are the calls of one of WeChat's days.
type Calls struct {
	Day   string `json:"day"` // as 2006-01-02
	Calls int    `json:"calls"`
}

// Force adds a forced call, and drops those that no longer count. In mode Classic
// only the spacing counts, and so only the last one.
func (s Spent) Force(mode v1alpha1.Mode, now time.Time) Spent {
	if mode == v1alpha1.ModeClassic {
		s.Forced = []time.Time{now}
		return s
	}
	s.Forced = newest(append(s.forcedOn(now), now))
	return s
}

// CallClassic adds a call of /cgi-bin/token.
func (s Spent) CallClassic(now time.Time) Spent {
	s.Classic = Calls{Day: dayOf(now), Calls: s.Classic.on(now, mostPerDay) + 1}
	return s
}

// CallVerify adds a call of get_api_domain_ip.
func (s Spent) CallVerify(now time.Time) Spent {
	s.Verify = Calls{Day: dayOf(now), Calls: s.Verify.on(now, VerifyPerDay) + 1}
	return s
}

// SeenElsewhere adds the time at which a call has found that somebody else had
// replaced the token.
func (s Spent) SeenElsewhere(now time.Time) Spent {
	s.Elsewhere = newest(append(lately(s.Elsewhere, now), now.UTC().Truncate(time.Second)))
	return s
}

// Merge is what two sources know together.
func (s Spent) Merge(other Spent) Spent {
	s.Forced = newest(slices.Concat(s.Forced, other.Forced))
	s.Elsewhere = newest(slices.Concat(s.Elsewhere, other.Elsewhere))
	s.Classic, s.Verify = s.Classic.more(other.Classic), s.Verify.more(other.Verify)
	return s
}

// more is the later of two counts, or the larger of the same day.
func (c Calls) more(other Calls) Calls {
	if other.Day > c.Day || (other.Day == c.Day && other.Calls > c.Calls) {
		return other
	}
	return c
}

// Bounded is s without what cannot be: at most the last ForcedPerDay forced calls
// of the last 24 hours, and at most as many calls as there can be, of the day of now.
// It is what counts of a budget that somebody may have edited.
func (s Spent) Bounded(now time.Time) Spent {
	s.Forced, s.Elsewhere = s.forcedOn(now), lately(s.Elsewhere, now)
	s.Classic, s.Verify = s.Classic.bounded(now, mostPerDay), s.Verify.bounded(now, VerifyPerDay)
	return s
}

func (c Calls) bounded(now time.Time, limit int) Calls {
	if c.Calls = c.on(now, limit); c.Calls == 0 {
		return Calls{}
	}
	return c
}

// NextForced is the earliest time of the next forced call, and whether a daily
// limit sets it.
func (s Spent) NextForced(t Terms, now time.Time) (at time.Time, exhausted bool) {
	at = now
	spent := s.forcedOn(now)
	if len(spent) > 0 {
		at = spent[len(spent)-1].Add(ForcedSpacing + forcedSlack)
	}
	limit := at
	switch {
	case t.Mode == v1alpha1.ModeClassic && s.ClassicLeft(t, now) <= t.Reserve():
		limit = NextDay(now)
	case t.Mode == v1alpha1.ModeStable && len(spent) == ForcedPerDay:
		limit = spent[0].Add(day)
	}
	if limit.After(at) {
		return limit, true
	}
	return at, false
}

// forcedOn are the forced calls that count now.
func (s Spent) forcedOn(now time.Time) []time.Time { return lately(s.Forced, now) }

// lately are those of the last 24 hours. One in the future was stored by a clock that
// was wrong.
func lately(all []time.Time, now time.Time) []time.Time {
	return newest(slices.DeleteFunc(slices.Clone(all), func(t time.Time) bool {
		return now.Sub(t) >= day || t.After(now.Add(clockSlack))
	}))
}

// newest are the last ForcedPerDay of all, oldest first: earlier ones set no limit,
// so no list needs them. Stored times have whole seconds, and calls keep 30 s
// between them, so two within one second are one call. It changes all.
func newest(all []time.Time) []time.Time {
	slices.SortFunc(all, time.Time.Compare)
	all = slices.CompactFunc(all, func(a, b time.Time) bool { return a.Unix() == b.Unix() })
	return all[max(len(all)-ForcedPerDay, 0):]
}

// ForcedLeft is how many forced calls are left: in mode Classic, of the day.
func (s Spent) ForcedLeft(t Terms, now time.Time) int {
	if t.Mode == v1alpha1.ModeClassic {
		return max(s.ClassicLeft(t, now)-t.Reserve(), 0)
	}
	return max(ForcedPerDay-len(s.forcedOn(now)), 0)
}

// VerifyLeft is how many calls of get_api_domain_ip are left on the day of now.
func (s Spent) VerifyLeft(now time.Time) int {
	return max(VerifyPerDay-s.Verify.on(now, VerifyPerDay), 0)
}

// ClassicLeft is how many calls of /cgi-bin/token are left on the day of now.
func (s Spent) ClassicLeft(t Terms, now time.Time) int {
	return max(t.PerDay()-s.Classic.on(now, mostPerDay), 0)
}

// NextDay is when WeChat's day ends.
func NextDay(now time.Time) time.Time {
	y, m, d := now.In(beijing).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, beijing)
}

func dayOf(t time.Time) string { return t.In(beijing).Format(time.DateOnly) }

// on is how many calls of the day of now are counted. A stored count may have been
// edited.
func (c Calls) on(now time.Time, limit int) int {
	if c.Day != dayOf(now) {
		return 0
	}
	return min(max(c.Calls, 0), limit)
}
