package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// kind is what happens in an event.
type kind string

const (
	killManager      kind = "kill"             // SIGKILL, and a new one a while later
	pauseManager     kind = "pause"            // SIGSTOP, and SIGCONT a while later
	endManager       kind = "end"              // SIGTERM, and a new one a while later
	restartAPIServer kind = "restart-api"      // SIGKILL, and the same again a while later
	pauseAPIServer   kind = "pause-api"        // SIGSTOP, and SIGCONT a while later
	breakWeChat      kind = "fault"            // WeChat fails for a while
	deleteSecret     kind = "delete-secret"    //
	editToken        kind = "edit-token"       // the Secret gets a token that never was one
	editMemory       kind = "edit-memory"      // the Secret's annotations say that the token is valid for ever
	removeOwner      kind = "remove-owner"     // the Secret is nobody's, until somebody deletes it a while later
	forceRefresh     kind = "force"            // the annotation refresh-requested-at
	endToken         kind = "end-token"        // somebody outside ends the token; reported a while later
	fetchOutside     kind = "fetch-outside"    // somebody outside fetches a classic token; reported when the old one has died
	lie              kind = "lie"              // a live token is reported dead
	rotateAppSecret  kind = "rotate-appsecret" // at WeChat, and a while later in the cluster
)

// event is one thing that happens.
type event struct {
	At   time.Duration `json:"at"` // since the begin
	Kind kind          `json:"kind"`
	// For is how long it lasts, or how much later its second part comes.
	For time.Duration `json:"for,omitempty"`

	Leader  bool `json:"leader,omitempty"`  // of the managers the one that leads
	MidCall bool `json:"midCall,omitempty"` // in the middle of a call to WeChat

	Target  int               `json:"target"`            // of what is about one
	Writers int               `json:"writers,omitempty"` // how many ask at once
	Fault   *wechattest.Fault `json:"fault,omitempty"`   // an empty AppID: all of them
}

func (e event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%6.1f s  %s", e.At.Seconds(), e.Kind)
	switch e.Kind {
	case killManager, pauseManager, endManager:
		who := " stand-by"
		if e.Leader {
			who = " leader"
		}
		b.WriteString(who)
		if e.MidCall {
			b.WriteString(" in the middle of a call")
		}
	case restartAPIServer, pauseAPIServer:
	case breakWeChat:
		fmt.Fprintf(&b, " %s", describe(*e.Fault))
	default:
		fmt.Fprintf(&b, " wt-%03d", e.Target)
	}
	if e.For > 0 {
		fmt.Fprintf(&b, ", %.1f s", e.For.Seconds())
	}
	if e.Writers > 0 {
		fmt.Fprintf(&b, ", %d writers", e.Writers)
	}
	return b.String()
}

// describe says what a fault does.
func describe(f wechattest.Fault) string {
	what := string(f.Kind)
	switch f.Kind {
	case wechattest.FaultErrcode:
		what += fmt.Sprintf(" %d", f.Code)
	case wechattest.FaultStatus:
		what += fmt.Sprintf(" %d", f.Status)
	case wechattest.FaultBadTTL:
		what += fmt.Sprintf(" %d", f.ExpiresIn)
	case wechattest.FaultSlow, wechattest.FaultHang:
		what += fmt.Sprintf(" %s", f.Delay)
	default:
	}
	whose, which := f.AppID, string(f.Endpoint)
	if whose == "" {
		whose = "all"
	}
	if which == "" {
		which = "any"
	}
	what += fmt.Sprintf(" for %s at %s", whose, which)
	if f.Count > 0 {
		what += fmt.Sprintf(", %d times", f.Count)
	}
	return what
}

// faults are all ways in which WeChat fails, as often as each should come up. The
// errcodes are one of each class.
var faults = []wechattest.Fault{
	{Kind: wechattest.FaultErrcode, Code: -1},
	{Kind: wechattest.FaultErrcode, Code: 45011},
	{Kind: wechattest.FaultErrcode, Code: 45009},
	{Kind: wechattest.FaultErrcode, Code: 40013},
	{Kind: wechattest.FaultErrcode, Code: 40164},
	{Kind: wechattest.FaultErrcode, Code: 89503},
	{Kind: wechattest.FaultErrcode, Code: 12345},
	{Kind: wechattest.FaultStatus, Status: 502},
	{Kind: wechattest.FaultStatus, Status: 412},
	{Kind: wechattest.FaultHang},
	{Kind: wechattest.FaultHang, Delay: 3 * time.Second},
	{Kind: wechattest.FaultReset},
	{Kind: wechattest.FaultGarbage},
	{Kind: wechattest.FaultNull},
	{Kind: wechattest.FaultEmpty},
	{Kind: wechattest.FaultHuge},
	{Kind: wechattest.FaultEcho},
	{Kind: wechattest.FaultTruncated},
	{Kind: wechattest.FaultBadTTL, ExpiresIn: 0},
	{Kind: wechattest.FaultBadTTL, ExpiresIn: 99_999_999},
	{Kind: wechattest.FaultLost},
	{Kind: wechattest.FaultLost},
	{Kind: wechattest.FaultSlow, Delay: 2 * time.Second},
	{Kind: wechattest.FaultSlow, Delay: 6 * time.Second},
	{Kind: wechattest.FaultSlow, Delay: 12 * time.Second}, // longer than the manager's --request-timeout
	{Kind: wechattest.FaultTextPlain},
}

// needsPerson reports whether the operator, after this errcode, waits until a
// person has acted.
func needsPerson(code int) bool {
	return slices.Contains([]int{45009, 40013, 40164, 89503}, code)
}

// pace is how fast time passes at WeChat.
type pace struct {
	life    time.Duration // of a token
	window  time.Duration // of a stable token's life, in which there is the next one
	overlap time.Duration // for which a classic token stays valid when there is the next one
}

// paceOf is that of tokens of the given life. Window and overlap are a quarter of
// it, not a 24th as at WeChat: they would be too short for a machine that has more
// to do.
func paceOf(life time.Duration) pace {
	return pace{life: life, window: life / 4, overlap: life / 4}
}

// everybodys reports whether a fault may be that of all accounts at once: one of
// WeChat or of the network, and none that keeps this machine busy.
func everybodys(f wechattest.Fault) bool {
	return f.Kind != wechattest.FaultHuge && (f.Kind != wechattest.FaultErrcode || f.Code == -1)
}

// planner makes a schedule out of chance.
type planner struct {
	chance  *rand.Rand
	pace    pace
	length  time.Duration
	targets []target
	events  []event

	damaged map[int]time.Duration     // when a target's Secret was last damaged
	asked   map[account]time.Duration // when a new token of the account was last asked for
}

// plan is all that happens within length. It follows from its arguments alone.
func plan(seed uint64, speed pace, length time.Duration, targets []target) []event {
	p := &planner{
		chance: rand.New(rand.NewPCG(seed, seed)), pace: speed, length: length, targets: targets,
		damaged: map[int]time.Duration{}, asked: map[account]time.Duration{},
	}
	p.processes()
	p.weChat()
	p.objects()
	p.hot()
	for i := range p.events {
		p.events[i].For = min(p.events[i].For, length-p.events[i].At)
	}
	slices.SortStableFunc(p.events, func(a, b event) int { return int(a.At - b.At) })
	return p.events
}

// between is a time from a up to b.
func (p *planner) between(a, b time.Duration) time.Duration {
	return (a + time.Duration(p.chance.Int64N(int64(b-a)))).Round(10 * time.Millisecond)
}

// repeat calls next again and again, first after begin, and then as much later as
// usual lies between least and most, or closer so that next comes up at least
// often times.
func (p *planner) repeat(begin, least, most time.Duration, often int, next func(at time.Duration)) {
	if fit := (p.length - 2*begin) / time.Duration(often+1); fit < most {
		least, most = fit*9/10, fit
	}
	for at := begin; at < p.length; at += p.between(least, most) {
		next(at)
	}
}

// deck deals all of a set in an order of chance, and then again.
func deck[T any](p *planner, all []T) func() T {
	var left []T
	return func() T {
		if len(left) == 0 {
			left = slices.Clone(all)
			p.chance.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		}
		next := left[0]
		left = left[1:]
		return next
	}
}

// processes plans what happens to the managers and the API server: first one of
// each kind, then more of those that hurt.
func (p *planner) processes() {
	// Longer than the lease of 15 s, so that there are two leaders afterwards.
	pauses := deck(p, []time.Duration{time.Second, 3 * time.Second, 8 * time.Second, 12 * time.Second, 18 * time.Second, 22 * time.Second})
	first := deck(p, []event{
		{Kind: killManager, Leader: true, MidCall: true},
		{Kind: pauseManager, Leader: true},
		{Kind: endManager, Leader: true},
		{Kind: restartAPIServer},
		{Kind: pauseAPIServer},
	})
	then := deck(p, []event{
		{Kind: killManager, Leader: true},
		{Kind: killManager, Leader: true, MidCall: true},
		{Kind: killManager},
		{Kind: pauseManager, Leader: true},
		{Kind: pauseManager, Leader: true},
		{Kind: pauseManager},
		{Kind: endManager, Leader: true},
		{Kind: endManager},
		{Kind: restartAPIServer},
		{Kind: pauseAPIServer},
	})
	n := 0
	p.repeat(4*time.Second, 20*time.Second, 40*time.Second, 5, func(at time.Duration) {
		next := first
		if n++; n > 5 {
			next = then
		}
		e := next()
		e.At = at
		switch e.Kind {
		case pauseManager:
			e.For = min(pauses()+p.between(0, time.Second), p.length/4)
		case pauseAPIServer:
			e.For = p.between(time.Second, 10*time.Second)
		default:
			e.For = p.between(100*time.Millisecond, 4*time.Second)
		}
		p.events = append(p.events, e)
	})
}

// weChat plans the faults. Most are one account's, and some everybody's.
func (p *planner) weChat() {
	next := deck(p, faults)
	p.repeat(2*time.Second, 1500*time.Millisecond, 3*time.Second, len(faults), func(at time.Duration) {
		fault := next()
		t := p.targets[p.chance.IntN(len(p.targets))]
		e := event{At: at, Kind: breakWeChat, Target: t.index, For: p.between(time.Second, 15*time.Second), Fault: &fault}
		fault.AppID, fault.Endpoint = t.account.appID, t.account.endpoint()
		switch p.chance.IntN(10) {
		case 0: // the business call too, by which the operator asks whether a token is valid
			fault.Endpoint = ""
		case 1:
			fault.Endpoint = wechattest.Business
		case 2:
			if everybodys(fault) {
				fault.AppID, fault.Endpoint = "", ""
				e.For = min(e.For, 6*time.Second)
			}
		case 3, 4, 5: // whenever the next call comes
			fault.Count, e.For = 1+p.chance.IntN(3), 30*time.Second
		default:
		}
		e.For = min(e.For, p.length/3)
		p.events = append(p.events, e)
	})
}

// objects plans what people, programs and consumers do.
func (p *planner) objects() {
	next := deck(p, []kind{
		deleteSecret, deleteSecret, editToken, editToken, editMemory, editMemory, removeOwner,
		forceRefresh, forceRefresh, endToken, fetchOutside, lie, lie, rotateAppSecret,
	})
	p.repeat(3*time.Second, 500*time.Millisecond, 2*time.Second, 28, func(at time.Duration) {
		e := event{At: at, Kind: next()}
		switch e.Kind {
		case deleteSecret, editToken, editMemory:
			e.Target = p.whole(at)
		case removeOwner:
			e.Target, e.For = p.whole(at), p.between(time.Second, 8*time.Second)
		case forceRefresh, lie:
			e.Target, e.Writers = p.calm(at, ""), 1+p.chance.IntN(16)
		case endToken:
			e.Target, e.Writers, e.For = p.calm(at, ""), 1+p.chance.IntN(16), p.between(500*time.Millisecond, 4*time.Second)
		case fetchOutside:
			e.Target, e.Writers, e.For = p.calm(at, v1alpha1.ModeClassic), 1+p.chance.IntN(16), p.pace.overlap+p.between(500*time.Millisecond, 2*time.Second)
		case rotateAppSecret:
			e.Target, e.For = p.calm(at, ""), p.between(100*time.Millisecond, 3*time.Second)
		default:
		}
		p.events = append(p.events, e)
	})
}

// hot plans a program that asks for a refresh all the time.
func (p *planner) hot() {
	for at := 5 * time.Second; at < p.length; at += p.between(time.Second, 10*time.Second) {
		p.events = append(p.events, event{At: at, Kind: forceRefresh, Target: 0, Writers: 3})
	}
}

// whole is a target whose Secret has not been damaged for long: of eight by
// chance the one with the longest peace. Target 0 has its own trouble, see hot.
func (p *planner) whole(at time.Duration) int {
	best := p.of("", func(t target) (time.Duration, bool) { since, ever := p.damaged[t.index]; return since, ever })
	p.damaged[best.index] = at
	return best.index
}

// calm is a target of an account of which no new token was asked for lately.
func (p *planner) calm(at time.Duration, mode v1alpha1.Mode) int {
	best := p.of(mode, func(t target) (time.Duration, bool) { since, ever := p.asked[t.account]; return since, ever })
	p.asked[best.account] = at
	return best.index
}

func (p *planner) of(mode v1alpha1.Mode, last func(target) (time.Duration, bool)) target {
	var best target
	var longest time.Duration
	for found := 0; found < 8; {
		t := p.targets[1+p.chance.IntN(len(p.targets)-1)]
		if mode != "" && t.account.mode != mode {
			continue
		}
		since, ever := last(t)
		if !ever {
			return t
		}
		if found == 0 || since < longest {
			best, longest = t, since
		}
		found++
	}
	return best
}
