package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// ledger is the account of a run: what was done, and what was seen. It is
// written while the run goes on and judged when it is over.
type ledger struct {
	pace    pace
	targets []target
	begun   time.Time

	mu        sync.Mutex
	notes     []note
	calls     map[account][]*call // for a token, in the order of their answers until close
	checks    []*call             // business calls of managers
	tokens    map[string]minted   // by fingerprint
	processes []*incarnation      // of the managers; number 1 is the first
	outages   []span              // of the API server
	slow      []span              // of this machine
	faults    []fault
	secrets   map[int][]sighting // by target, what its Secret held
	requests  []request
	endings   []ending
	resets    []reset
	damages   []damage
	visits    []visit
	uses      int // calls of consumers
	failed    int // of these by a fault of WeChat
	dead      []deadCall
}

// minted is a token.
type minted struct {
	account account
	value   string
	seen    time.Time // when an answer first held it
	begun   time.Time // when the operator says that it asked for it; zero until a Secret holds it
}

// span is a time in which something was so.
type span struct {
	from, to time.Time // an end of zero: until the end of the run
	why      string
}

// covers reports whether t lies in s.
func (s span) covers(t time.Time) bool {
	return !t.Before(s.from) && (s.to.IsZero() || t.Before(s.to))
}

// note is a line of the time line.
type note struct {
	at   time.Time
	of   string // an appid; empty: of all
	text string
}

// incarnation is a process of a manager.
type incarnation struct {
	number   int
	name     string
	started  time.Time
	acquired time.Time // the lease; zero: never
	ended    time.Time // told to end, or gone; zero: not yet
	paused   []span
}

// fault is a time in which WeChat fails.
type fault struct {
	span

	wechattest.Fault
}

// sighting is what a Secret held from a time on.
type sighting struct {
	at      time.Time
	token   string // fingerprint; empty if the Secret is away
	whole   bool   // as the operator made it
	handled string // the forced refresh that it answers

	obtained time.Time // by its annotation
}

// request is a new value of the refresh annotation.
type request struct {
	account account
	target  int
	value   string
	order   uint64 // the resource version that its write made: of two requests the later has the greater
	asked   span   // from the first try to write it until it was there
}

// ending is a token that somebody outside has ended.
type ending struct {
	account  account
	token    string // fingerprint
	at       time.Time
	reported time.Time // zero: not yet
}

// reset is a new AppSecret: at WeChat from its beginning, and in the cluster from
// its end.
type reset struct {
	span

	appID string
}

// damage is something done to the Secret of a target.
type damage struct {
	span // until it could be repaired

	target int
	kind   kind
}

// visit is a person who touches the WeChatTokens of an account.
type visit struct {
	at      time.Time
	account account
}

// deadCall is a call of a consumer with a token that WeChat calls dead.
type deadCall struct {
	target  target
	token   string    // fingerprint
	read    time.Time // when the consumer last found it in the Secret
	at      time.Time
	errcode int
}

func newLedger(p pace, targets []target) *ledger {
	return &ledger{
		pace:    p,
		targets: targets,
		begun:   time.Now(),
		calls:   map[account][]*call{},
		tokens:  map[string]minted{},
		secrets: map[int][]sighting{},
	}
}

// locked runs f while nobody else writes.
func (l *ledger) locked(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// notef adds a line to the time line. It is about an appid, or about all.
func (l *ledger) notef(appID, format string, args ...any) {
	now := time.Now()
	l.locked(func() { l.notes = append(l.notes, note{now, appID, fmt.Sprintf(format, args...)}) })
}

// made notes a token that an answer held.
func (l *ledger) made(c *call, value string) {
	l.locked(func() {
		if _, known := l.tokens[fingerprint(value)]; !known {
			l.tokens[fingerprint(value)] = minted{account: c.account, value: value, seen: c.At}
		}
	})
}

// called notes a call that has ended.
func (l *ledger) called(c call) {
	l.locked(func() {
		switch c.Endpoint {
		case wechattest.Business:
			l.checks = append(l.checks, &c)
		case wechattest.Stable, wechattest.Classic:
			l.calls[c.account] = append(l.calls[c.account], &c)
		}
	})
}

// saw notes what a Secret holds now, if it is something else than before.
func (l *ledger) saw(target int, s sighting) {
	l.locked(func() {
		if m, known := l.tokens[s.token]; known && s.whole && m.begun.IsZero() {
			m.begun = s.obtained
			l.tokens[s.token] = m
		}
		seen := l.secrets[target]
		if len(seen) > 0 {
			last := seen[len(seen)-1]
			if last.token == s.token && last.whole == s.whole && last.handled == s.handled {
				return
			}
		}
		l.secrets[target] = append(seen, s)
	})
}

// holds is what the Secret of a target held last.
func (l *ledger) holds(target int) (sighting, minted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.secrets[target]
	if len(seen) == 0 {
		return sighting{}, minted{}
	}
	last := seen[len(seen)-1]
	return last, l.tokens[last.token]
}

// close puts what was noted in the order of time, for the judgement.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, calls := range l.calls {
		slices.SortFunc(calls, func(a, b *call) int { return a.At.Compare(b.At) })
	}
	slices.SortFunc(l.checks, func(a, b *call) int { return a.At.Compare(b.At) })
	slices.SortStableFunc(l.notes, func(a, b note) int { return a.at.Compare(b.at) })
	slices.SortFunc(l.dead, func(a, b deadCall) int { return a.at.Compare(b.at) })
}

// leading are the times in which a process led and ran, for each in which one
// did. A leader that is paused too long is followed by another one.
func (l *ledger) leading() map[int][]span {
	leaders := slices.DeleteFunc(slices.Clone(l.processes), func(p *incarnation) bool { return p.acquired.IsZero() })
	slices.SortFunc(leaders, func(a, b *incarnation) int { return a.acquired.Compare(b.acquired) })
	all := map[int][]span{}
	for i, p := range leaders {
		end := p.ended
		if i+1 < len(leaders) && (end.IsZero() || leaders[i+1].acquired.Before(end)) {
			end = leaders[i+1].acquired
		}
		all[p.number] = minus(span{from: p.acquired, to: end}, p.paused)
	}
	return all
}

// deposed reports whether another process had taken the lease over from p at t.
func (l *ledger) deposed(number int, t time.Time) bool {
	if number == 0 || number > len(l.processes) {
		return false
	}
	p := l.processes[number-1]
	return slices.ContainsFunc(l.processes, func(q *incarnation) bool {
		return q != p && !q.acquired.IsZero() && q.acquired.After(p.acquired) && q.acquired.Before(t)
	})
}

// leaderless are the times between begin and end in which no manager led.
func (l *ledger) leaderless(begin, end time.Time) []span {
	var led []span
	for _, spans := range l.leading() {
		led = append(led, spans...)
	}
	without := minus(span{from: begin, to: end}, led)
	for i := range without {
		without[i].why = "no manager led"
	}
	return without
}

// minus is what is left of whole without parts.
func minus(whole span, parts []span) []span {
	parts = slices.Clone(parts)
	slices.SortFunc(parts, func(a, b span) int { return a.from.Compare(b.from) })
	var left []span
	at := whole.from
	for _, p := range parts {
		if !whole.to.IsZero() && !p.from.Before(whole.to) {
			break
		}
		if p.from.After(at) {
			left = append(left, span{from: at, to: p.from, why: whole.why})
		}
		if p.to.IsZero() {
			return left
		}
		if p.to.After(at) {
			at = p.to
		}
	}
	if whole.to.IsZero() || at.Before(whole.to) {
		left = append(left, span{from: at, to: whole.to, why: whole.why})
	}
	return left
}

// timeline is what happened between two times to an appid, and to all; without an
// appid it is everything.
func (l *ledger) timeline(appID string, from, to time.Time) []string {
	var lines []note
	for _, n := range l.allNotes() {
		if (n.of == "" || n.of == appID || appID == "") && !n.at.Before(from) && !n.at.After(to) {
			lines = append(lines, n)
		}
	}
	slices.SortStableFunc(lines, func(a, b note) int { return a.at.Compare(b.at) })
	out := make([]string, len(lines))
	for i, n := range lines {
		out[i] = l.stamp(n.at) + "  " + n.text
	}
	return out
}

// allNotes are the lines that were noted, and one for each call to WeChat, each
// change of a Secret and each dead call.
func (l *ledger) allNotes() []note {
	all := slices.Clone(l.notes)
	for a, calls := range l.calls {
		for _, c := range calls {
			all = append(all, note{c.At, a.appID, c.String()})
		}
	}
	for _, c := range l.checks {
		all = append(all, note{c.At, c.AppID, c.String()})
	}
	for i, seen := range l.secrets {
		for _, s := range seen {
			all = append(all, note{s.at, l.targets[i].account.appID, s.of(l.targets[i])})
		}
	}
	for _, d := range l.dead {
		text := fmt.Sprintf("consumer of %s: %s is dead, errcode %d", d.target.name, d.token, d.errcode)
		all = append(all, note{d.at, d.target.account.appID, text})
	}
	return all
}

// stamp is a time as the run writes it: seconds since its begin.
func (l *ledger) stamp(t time.Time) string { return fmt.Sprintf("%8.3f s", t.Sub(l.begun).Seconds()) }

// of says what the Secret of t held.
func (s sighting) of(t target) string {
	switch {
	case s.token == "":
		return fmt.Sprintf("Secret %s is away", t.name)
	case !s.whole:
		return fmt.Sprintf("Secret %s is damaged", t.name)
	default:
		return fmt.Sprintf("Secret %s holds %s, handled %q", t.name, s.token, s.handled)
	}
}

func (c *call) String() string {
	what := fmt.Sprintf("%s %s", c.Endpoint, c.AppID)
	if c.Forced {
		what += ", forced"
	}
	answer := "token " + cmp.Or(c.token, "unread")
	if c.Endpoint == wechattest.Business {
		answer = "asked about " + c.token
	}
	if c.Rotated {
		answer = "new " + answer
	}
	if c.Errcode != 0 {
		answer = fmt.Sprintf("%s, errcode %d", answer, c.Errcode)
	}
	if c.Fault != "" {
		answer = fmt.Sprintf("%s, fault %s", answer, c.Fault)
	}
	if !c.answered {
		answer += ", in vain"
	}
	return fmt.Sprintf("manager process %d calls %s: %s, took %s", c.process, what, answer, c.ended.Sub(c.begun).Round(time.Millisecond))
}
