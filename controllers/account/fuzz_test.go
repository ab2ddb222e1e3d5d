package account

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
)

// dice make choices of the bytes of the fuzzer; when these are used up, the first
// choice.
type dice struct{ bytes []byte }

func (d *dice) n(below int) int {
	if len(d.bytes) == 0 {
		return 0
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return int(b) % below
}

func (d *dice) ago() time.Duration {
	return []time.Duration{0, time.Second, 5 * time.Second, 29 * time.Second, 31 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 3 * time.Hour, 25 * time.Hour, -time.Second}[d.n(11)]
}

// situation is any that the mods can make.
func (d *dice) situation() *situation {
	codes := []int64{-1, 0, 40001, 40125, 40164, 45009, 45011, 48001, 89506}
	var mods []mod
	maybe := func(m mod) {
		if d.n(3) == 0 {
			mods = append(mods, m)
		}
	}
	maybe(classic)
	maybe(ends([]time.Duration{-time.Hour, 0, time.Second, 4 * time.Minute, time.Hour, 2 * time.Hour}[d.n(6)]))
	maybe(obtained(d.ago()))
	maybe(started(d.ago()))
	if d.n(6) == 0 {
		mods = append(mods, noToken)
	}
	maybe(found(d.n(2) == 0)(d.ago()))
	if d.n(2) == 0 { // Refresh and Force share one failure
		kind, code := Kind(d.n(2)), codes[d.n(len(codes))]
		if kind == Force && d.n(3) == 0 {
			code = sameTokenCode
		}
		mods = append(mods, failed(kind, code, d.ago(), 1+d.n(200)))
	}
	for _, kind := range []Kind{Check, Verify, Ticket, Ticket + wxCard} {
		maybe(failed(kind, codes[d.n(len(codes))], d.ago(), 1+d.n(200)))
	}
	maybe(withAnotherToken(Kind(d.n(kinds))))
	maybe(specChanged(d.ago()))
	maybe(requested(d.ago()))
	maybe(handled)
	maybe(reported(d.ago()))
	maybe(reportHandled)
	maybe(suspected(d.ago()))
	maybe(interval([]time.Duration{time.Second, time.Minute, 10 * time.Minute}[d.n(3)]))
	for range d.n(25) {
		mods = append(mods, forced(d.ago()))
	}
	maybe(calledToday([]int{1, 1799, 1800, 1999, 2000}[d.n(5)]))
	maybe(verifiedToday([]int{1, 399, 400, 499, 500}[d.n(5)]))
	maybe(neverForce)
	maybe(forcedUncounted)
	maybe(answerLost)
	maybe(sameTokenReturned)
	maybe(wanting([][]int{{jsapi}, {wxCard}, {jsapi, wxCard}}[d.n(3)]...))
	for place := range record.TicketTypes {
		maybe(ticket(place, d.ago(), d.ago()))
	}
	if d.n(5) == 0 {
		mods = append(mods, secretBehind)
	}
	if d.n(20) == 0 {
		mods = append(mods, suspended)
	}
	s := at(mods...)
	slices.SortFunc(s.Known.Spent.Forced, time.Time.Compare)
	return s
}

// The rules hold in 2,000 situations that are the same each time: the fuzzer
// replays its seeds before it tries anything, so it has few of them.
func TestNextKeepsItsRules(t *testing.T) {
	t.Parallel()
	chance := rand.NewChaCha8([32]byte{})
	for range 2000 {
		thrown := make([]byte, 120)
		_, _ = chance.Read(thrown) // never fails
		wantRulesKept(t, thrown)
	}
}

func FuzzNext(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("a byte is one choice of the dice, and what is missing is the first"))
	f.Fuzz(wantRulesKept)
}

// wantRulesKept checks what holds in any situation.
func wantRulesKept(t *testing.T, thrown []byte) {
	t.Helper()
	s := (&dice{bytes: thrown}).situation()
	w, now := &s.Wants, noon
	n := s.Next(w, now)
	fail := func(rule string) {
		t.Helper()
		t.Errorf("%s\n%s\nstate %+v\nwants %+v", rule, say(n), s.State, s.Wants)
	}
	if s.Next(w, now) != n {
		fail("asked again, Next says the same")
	}
	if w.Suspended {
		if n != (Next{}) {
			fail("what is suspended calls nobody")
		}
		return
	}
	if n.At.IsZero() {
		fail("there is always a next call")
	}
	if n.At.After(now) {
		return
	}
	token := s.Token(now)
	valid := s.Valid(token, now)

	without := *w
	without.Tickets = nil
	if other := s.Next(&without, now); !other.At.After(now) && other != n {
		fail("a ticket delays no other call")
	}
	if last := s.last[n.Kind]; last.failure != nil && !w.specSince.After(last.at) {
		wait := s.waitAfter(last.failure, token)
		if n.Kind >= Ticket {
			wait = s.ticketWait(last.failure, s.Ticket(w, n.Kind.place(), now))
		}
		asked := w.requestSince
		if n.Kind == Check || n.Kind == Verify {
			asked = w.reportSince
		}
		if n.Kind < Ticket && asked.After(last.at) {
			wait = min(wait, budget.ForcedSpacing)
		}
		anotherToken := n.Kind >= Ticket && last.failure.Err.InvalidToken() && last.token != token.Fingerprint()
		if now.Before(last.failure.At.Add(wait)) && !anotherToken {
			fail("no call within the wait after its failure")
		}
	}

	switch n.Kind {
	case Refresh:
		wanted := w.pending() != "" || s.answerLost
		if valid && !wanted && now.Before(s.due(w, token)) {
			fail("no Refresh while a valid token is not due")
		}
	case Force:
		today := 0
		for _, at := range s.Known.Spent.Forced {
			if since := now.Sub(at); since < budget.ForcedSpacing {
				fail("30 s between two forced calls")
			} else if since < 24*time.Hour {
				today++
			}
		}
		if s.Mode == v1alpha1.ModeStable && today >= budget.ForcedPerDay {
			fail("20 forced calls in 24 hours")
		}
		if s.Mode == v1alpha1.ModeClassic && s.Known.Spent.ClassicLeft(s.terms(w), now) <= s.terms(w).Reserve() {
			fail("no Force takes of what is kept for the tokens that are due")
		}
		if w.pending() == "" && !s.revoked(token, now) {
			fail("no Force that nobody needs")
		}
		if w.NeverForce {
			fail("no Force where it is not allowed")
		}
	case Check, Verify:
		if !valid {
			fail("no check of a token that is not valid")
		}
		doubted := w.Reported == token.Fingerprint() || s.suspect == token.Fingerprint()
		if w.CheckInterval == 0 && !doubted {
			fail("no check that nobody needs")
		}
		if n.Kind == Check && s.Mode == v1alpha1.ModeClassic {
			fail("no plain call to make sure in mode Classic")
		}
		if n.Kind == Verify && s.Mode == v1alpha1.ModeStable && !doubted {
			fail("in mode Stable WeChat is asked about a token only in doubt")
		}
		if left := s.Known.Spent.VerifyLeft(now); n.Kind == Verify && (left == 0 || (left <= budget.VerifyReserve && !doubted)) {
			fail("500 Verifies a day, of which 100 are kept for doubts")
		}
	default:
		if !valid || !w.holds(token) {
			fail("no call for a ticket without a valid token in the Secret")
		}
		if !slices.Contains(w.Tickets, n.Kind.place()) {
			fail("no ticket that nobody wants")
		}
	}
	if n.Kind.ForToken() && s.Mode == v1alpha1.ModeClassic && s.Known.Spent.ClassicLeft(s.terms(w), now) == 0 {
		fail("2,000 calls a day in mode Classic")
	}
}
