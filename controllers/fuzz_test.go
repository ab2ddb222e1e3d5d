package controllers

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// Whatever stands in the annotations of a Secret: what is read back is what was
// written, and an edited Secret is not trusted.
func FuzzTokenIn(f *testing.F) {
	f.Add("token", "acc", testAppID, "Stable", int64(1_900_000_000), int64(7200), "1", "", int64(0), "1900000000,1900000060", "2026-11-22 37", "", "")
	f.Add("", "", "", "", int64(-1), int64(0), "\x00", "x@y", int64(1), ",,,-5,1e9", "2026-11-22 -1", "wechattoken.io/expires-at", "9999-12-31T23:59:59Z")
	f.Add("t", "a", "b", "Classic", int64(1<<40), int64(1<<40), "é", "0123456789abcdef@x", int64(1<<33), "99999999999999999999", "x 99999999999999999999", "wechattoken.io/forced-calls", "")
	f.Add("t", "a", "b", "Classic", int64(1_900_000_000), int64(40), "", "", int64(1_900_000_000), "", "", annotationDiedEarly, "2026-11-22T10:00:00Z")
	f.Fuzz(func(t *testing.T, value, account, appID, mode string, obtained, life int64, handled, dead string, diedEarly int64, forced, classic, edited, to string) {
		in := &issued{
			value: value, fingerprint: fingerprint(value), account: accountID(account), appID: appID, mode: v1alpha1.Mode(mode),
			obtained: time.Unix(obtained, 0).UTC(), expires: time.Unix(obtained, 0).Add(time.Duration(life) * time.Second).UTC(),
			handled: handled, handledDead: dead, forced: readTimes(forced), classic: readDayCount(classic),
		}
		if diedEarly != 0 {
			in.diedEarly = time.Unix(diedEarly, 0).UTC()
		}
		want := render(weChatToken(), in)
		s := &corev1.Secret{Data: want.Data}
		s.Annotations = want.Annotations
		out := tokenIn(s)
		if out == nil {
			// A year beyond 9999 or before 0 cannot be written as RFC 3339.
			if _, err := time.Parse(time.RFC3339, stamp(in.obtained)); err != nil {
				return
			}
			if _, err := time.Parse(time.RFC3339, stamp(in.expires)); err != nil {
				return
			}
			if _, err := time.Parse(time.RFC3339, stamp(in.diedEarly)); !in.diedEarly.IsZero() && err != nil {
				return
			}
			t.Fatal("what was written cannot be read")
		}
		if diff := cmp.Diff(in, out, cmp.AllowUnexported(issued{}, dayCount{}, ticket{}), cmp.Transformer("times", writeTimes)); diff != "" {
			t.Errorf("read back (-written +read):\n%s", diff)
		}
		if n := out.classic.n; n < 0 {
			t.Errorf("%d calls were made", n)
		}

		before, there := s.Annotations[edited]
		if !there || before == to || edited == annotationLayout {
			return
		}
		s.Annotations[edited] = to
		if tokenIn(s) != nil {
			t.Errorf("%s was edited from %q to %q, and is believed", edited, before, to)
		}
	})
}

// Whatever people write into the annotations of a WeChatToken: what is taken from
// there fits into the status and the Secret, and a report is nothing but one.
func FuzzAnnotations(f *testing.F) {
	for _, value := range []string{"", "1", "0123456789abcdef", "0123456789abcdef@2026-11-22T10:00:00Z", "0123456789ABCDEF", "0123456789abcdef@", "0123456789abcdef\n", "98_token", strings.Repeat("é", 200)} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		value = strings.ToValidUTF8(value, "") // as the API server has it
		wt := weChatToken(bumped(value), reporting(value))
		if got := requested(wt); len(got) > 256 || !utf8.ValidString(got) || !strings.HasPrefix(value, got) || (got == "") != (value == "") {
			t.Errorf("the request %q is taken for %q", value, got)
		}
		report, named := reported(wt)
		if report == "" && named == "" {
			return
		}
		if report != value || len(report) > 64 || len(named) != 16 || !strings.HasPrefix(report, named) || strings.Trim(named, "0123456789abcdef") != "" {
			t.Errorf("%q is taken for the report %q of %q", value, report, named)
		}
		if rest := report[16:]; rest != "" && (rest[0] != '@' || strings.ContainsFunc(rest[1:], func(r rune) bool { return r <= ' ' || r > '~' })) {
			t.Errorf("%q is taken for a report", value)
		}
	})
}

// dice takes small numbers from what the fuzzer throws.
type dice struct{ bytes []byte }

// n is a number from 0 to below-1.
func (d *dice) n(below int) int {
	var v int
	for range 2 {
		if len(d.bytes) > 0 {
			v, d.bytes = v<<8|int(d.bytes[0]), d.bytes[1:]
		}
	}
	return v % below
}

func (d *dice) bool() bool { return d.n(2) == 1 }

// ago is a time up to limit before now.
func (d *dice) ago(now time.Time, limit time.Duration) time.Time {
	return now.Add(-time.Duration(d.n(int(limit/time.Second))) * time.Second)
}

// token is a token that may be of another account, appid or mode, expired, or
// of the future.
func (d *dice) token(now time.Time, wt *v1alpha1.WeChatToken, id accountID) *issued {
	if d.n(4) == 0 {
		return nil
	}
	t := &issued{account: id, appID: wt.Spec.AppID, mode: wt.Spec.ModeOrDefault(), fingerprint: fmt.Sprintf("%016x", d.n(3))}
	switch d.n(8) {
	case 0:
		t.account = "another"
	case 1:
		t.appID = "wxfedcba9876543210"
	case 2:
		t.mode = v1alpha1.ModeClassic
	}
	t.obtained = d.ago(now.Add(2*time.Minute), 3*time.Hour)
	t.expires = t.obtained.Add(time.Duration(1+d.n(7200)) * time.Second)
	t.handled = fmt.Sprint(d.n(3))
	return t
}

var fuzzedCodes = []int64{0, -1, 45009, 45011, 40001, 40013, 40164, 89506, 89507, 424242}

func (d *dice) failure(now time.Time) *failure {
	f := &failure{at: d.ago(now, 2*time.Hour), count: 1 + d.n(40), forced: d.bool()}
	if !f.forced || d.bool() {
		f.err = &wechat.Error{Code: fuzzedCodes[d.n(len(fuzzedCodes))]}
	}
	return f
}

// observed is what a reconcile may find.
func (d *dice) observed(now time.Time, window time.Duration) observed {
	wt := weChatToken()
	wt.UID, wt.Generation = "uid", int64(1+d.n(2))
	if d.bool() {
		classic(wt)
	}
	wt.Spec.Suspend = d.n(10) == 0
	if d.bool() {
		bumped(fmt.Sprint(d.n(3)))(wt)
	}
	if d.bool() {
		reporting(fmt.Sprintf("%016x@%d", d.n(3), d.n(3)))(wt)
	}
	if d.bool() {
		wt.Spec.Probe.IntervalSeconds = int32(30 + d.n(600))
	}
	o := observed{wt: wt, account: "id"}
	if d.n(10) > 0 {
		o.creds = &wechat.Credentials{}
	}
	if d.n(10) == 0 {
		o.holder = "is somebody else's"
	}
	o.inSecret, o.inOld, o.token = d.token(now, wt, "id"), d.token(now, wt, "id"), d.token(now, wt, "id")
	if o.inSecret != nil {
		o.secret = &corev1.Secret{}
	}
	o.calling, o.lost, o.settled, o.since = d.n(6) == 0, d.n(6) == 0, d.bool(), d.ago(now, time.Hour)
	if o.token != nil {
		o.askedAt = o.token.obtained
		if d.bool() && now.After(o.token.obtained) {
			o.askedAt = d.ago(now, now.Sub(o.token.obtained)+time.Second)
		}
	}
	if d.bool() {
		o.failure = d.failure(now)
	}
	for at, n := d.ago(now, []time.Duration{time.Minute, 26 * time.Hour}[d.n(2)]), d.n(25); n > 0; n-- {
		o.forced = append([]time.Time{at}, o.forced...)
		at = at.Add(-time.Duration(30+d.n(4000)) * time.Second)
	}
	if d.bool() {
		o.classic = dayCount{day: dayOf(now), n: d.n(2100)}
	}
	if d.bool() {
		o.checked = checked{fingerprint: fmt.Sprintf("%016x", d.n(3)), at: d.ago(now, time.Hour), dead: d.bool(), givenBack: d.bool()}
		if !o.checked.dead && d.bool() {
			o.checked.failure = d.failure(now)
			o.checked.failure.err = &wechat.Error{Code: fuzzedCodes[d.n(len(fuzzedCodes))]}
		}
	}
	o.user = user{
		seen: attemptOf(wt), handled: fmt.Sprint(d.n(3)), keptFor: fmt.Sprint(d.n(3)),
		reportedAt: d.ago(now, time.Hour), tried: attempt{generation: int64(1 + d.n(2)), request: fmt.Sprint(d.n(3))},
		questioned: attempt{generation: int64(1 + d.n(2)), report: fmt.Sprint(d.n(3))},
		repairedAt: d.ago(now, time.Minute),
	}
	d.polls(&o, now)
	return o.judged(window)
}

// ticket is a ticket that may be none, of another appid, past its end, or of the
// future.
func (d *dice) ticket(now time.Time) ticket {
	if d.n(3) == 0 {
		return ticket{}
	}
	t := ticket{value: fmt.Sprint(d.n(3)), appID: testAppID, seen: d.ago(now.Add(2*time.Minute), 5*time.Hour), life: time.Duration(1+d.n(7200)) * time.Second}
	if d.n(8) == 0 {
		t.appID = "wxfedcba9876543210"
	}
	t.end = t.seen.Add(time.Duration(d.n(10000)) * time.Second)
	return t
}

// polls adds what is known of tickets.
func (d *dice) polls(o *observed, now time.Time) {
	for kind := range ticketKinds {
		if d.bool() {
			o.wt.Spec.Tickets = append(o.wt.Spec.Tickets, ticketKinds[kind].name)
		}
		p := poll{ticket: d.ticket(now)}
		if p.ticket.appID != testAppID {
			p.ticket = ticket{} // an account has one appid
		}
		if p.ticket.value != "" && !p.ticket.ahead(now) {
			p.at = d.ago(now, max(now.Sub(p.ticket.seen), 0)+time.Second)
		}
		if d.bool() {
			p.failure = &failure{err: &wechat.Error{Code: ticketCodes[d.n(len(ticketCodes))]}, at: d.ago(now, 2*time.Hour), count: 1 + d.n(40)}
			p.with = fmt.Sprintf("%016x", d.n(3))
		}
		o.polls[kind], o.polled[kind] = p, int64(1+d.n(2))
		for _, t := range []*issued{o.inSecret, o.inOld} {
			if t != nil {
				t.tickets[kind] = d.ticket(now)
			}
		}
	}
	if d.bool() {
		o.doubted, o.doubtedAt = fmt.Sprintf("%016x", d.n(3)), d.ago(now, time.Hour)
	}
}

var ticketCodes = []int64{0, -1, 40001, 42001, 45009, 45011, 48001, 40164}

// Whatever was observed, the plan keeps the promises that can be told from one
// look.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{})
	chance := rand.NewChaCha8([32]byte{}) // the same each time
	for range 2000 {
		seed := make([]byte, 400)
		_, _ = chance.Read(seed) // never fails
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, thrown []byte) {
		now := noon
		d := &dice{bytes: thrown}
		window := []time.Duration{5 * time.Minute, 10 * time.Second, time.Hour}[d.n(3)]
		o := d.observed(now, window)
		p := decide(o, window, now)
		best := newest(o, now)
		lives := best.alive(now) && best.account == o.account

		fail := func(rule string) {
			t.Helper()
			t.Errorf("%s\ntoken %+v\nplan %+v\ncall %+v", rule, best, p, p.call)
		}

		handsOff := o.holder != "" || o.wt.Spec.Suspend || o.creds == nil
		if handsOff && (p.call != nil || p.write != nil || p.remove != nil) {
			fail("what is not ours, or suspended, is not touched")
		}
		if o.calling && p.call != nil {
			fail("one call at a time")
		}
		if p.token.alive(now) && (p.wake.IsZero() || p.wake.After(p.token.end())) {
			fail("never wait past the end of the token: Ready must turn False")
		}
		if !handsOff && !o.calling && p.call == nil && p.wake.IsZero() {
			fail("without a call under way there is a time for the next look")
		}
		for _, kind := range wantedKinds(o.wt) {
			if p.token == nil {
				break
			}
			t := p.token.tickets[kind]
			if t.trusted(now) && (p.wake.IsZero() || p.wake.After(t.end)) {
				fail("never wait past the trust in a ticket: TicketsReady must turn False")
			}
			if p.write != nil && t.value == "" && o.inSecret != nil && o.inSecret.tickets[kind].appID == o.wt.Spec.AppID {
				fail("a ticket is never blanked")
			}
		}
		if p.call == nil && p.write == nil && !p.wake.IsZero() && !p.wake.After(now) {
			fail("no look without end")
		}
		if p.write != nil && !p.write.alive(now) {
			fail("only a live token is written")
		}
		if p.write != nil && o.inSecret.serves(o.wt) && !o.inSecret.ahead(now) && p.write.obtained.Before(o.inSecret.obtained) {
			fail("never an older token over a newer one")
		}
		without := o
		without.wt = o.wt.DeepCopy()
		without.wt.Spec.Tickets = nil
		if c := decide(without, window, now).call; c != nil && (p.call == nil || p.call.ticket != "" || p.call.check != c.check || p.call.force != c.force) {
			fail("a wish for a ticket takes the place of no other call")
		}
		if p.call == nil {
			return
		}
		c := *p.call
		if c.ticket != "" {
			kind := kindOf(c.ticket)
			switch known := o.ticketOf(kind, now); {
			case !lives || c.previous.fingerprint != best.fingerprint:
				fail("never ask for a ticket without a live token")
			case !slices.Contains(o.wt.Spec.Tickets, c.ticket):
				fail("never ask for a ticket that nobody wants")
			case known.trusted(now) && now.Sub(known.seen) < known.every():
				fail("never ask twice in one slot")
			case o.polls[kind].failure != nil && o.polls[kind].failure.err.Code == 48001 && now.Sub(o.polls[kind].failure.at) < time.Hour && o.polled[kind] == o.wt.Generation:
				fail("never ask within the hour for a ticket that WeChat does not give")
			}
			return
		}
		wanted := pending(o.wt, p.token) != "" || o.lost
		if lives && !c.check && !wanted && now.Before(due(o.wt, best, window)) {
			fail("never fetch while a live token is not due")
		}
		if lives && c.check && o.wt.Spec.Probe.IntervalSeconds == 0 {
			if _, named := reported(o.wt); named != best.fingerprint && o.doubted != best.fingerprint {
				fail("never ask about a token that nobody reported")
			}
		}
		if c.check && !best.alive(now) {
			fail("never ask about a dead token")
		}
		if c.force {
			today := 0
			for _, at := range o.forced {
				if since := now.Sub(at); since < 30*time.Second {
					fail("never two forced calls within 30 s")
				} else if since < 24*time.Hour {
					today++
				}
			}
			if c.mode == v1alpha1.ModeStable && today >= 20 || c.mode == v1alpha1.ModeClassic && o.classic.on(now) >= 1800 {
				fail("never beyond the budget of forced calls")
			}
		}
		if !c.check && c.mode == v1alpha1.ModeClassic && o.classic.on(now) >= 2000 {
			fail("never beyond the quota of a day")
		}
	})
}
