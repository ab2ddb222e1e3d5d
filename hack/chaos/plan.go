package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// kind is what happens in an event.
type kind string

const (
	killManager    kind = "kill"            // SIGKILL
	killMidCall    kind = "kill-mid-call"   // SIGKILL when WeChat has carried out a call and not answered it
	pauseManager   kind = "pause"           // SIGSTOP, and SIGCONT a while later
	endManager     kind = "end"             // SIGTERM
	restartAPI     kind = "restart-api"     // SIGKILL, and the same again a while later
	pauseAPI       kind = "pause-api"       // SIGSTOP, and SIGCONT a while later
	breakWeChat    kind = "fault"           // WeChat fails for a while
	deleteSecret   kind = "delete-secret"   // somebody deletes the Secret
	editToken      kind = "edit-token"      // the Secret gets a token that never was one
	editMemory     kind = "edit-memory"     // the Secret's annotation says that the token is valid for ever
	removeOwner    kind = "remove-owner"    // the Secret loses its owner, and somebody deletes it a while later
	forceRefresh   kind = "force"           // the annotation refresh-requested-at
	endToken       kind = "end-token"       // somebody outside ends the token, and it is reported a while later
	fetchOutside   kind = "fetch-outside"   // somebody outside fetches a classic token; the old one is reported when it is invalid
	lie            kind = "lie"             // a valid token is reported
	resetAppSecret kind = "reset-appsecret" // at WeChat, and a while later in the cluster
)

// event is one thing that happens.
type event struct {
	At      time.Duration // since the begin
	Kind    kind
	For     time.Duration // how long it lasts, or how much later its second part comes
	Cluster int           // of what is about processes
	Leader  bool          // of the managers the one that leads
	AppID   string        // that it is about; empty: all
	Target  int           // of what is about one
	Writers int           // how many ask at once
	Fault   wechattest.Fault
}

func (e event) String() string {
	what := strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Kind, e.Fault.Kind, e.Fault.Endpoint))
	return fmt.Sprintf("%s, errcode %d, %s, cluster %d, leader %t, wt-%03d, %d writers", what, e.Fault.Code, e.For, e.Cluster, e.Leader, e.Target, e.Writers)
}

// window is the part of a token's life in which WeChat has the next stable one, and in
// which a classic one stays valid beside the next. It is a quarter, not a 24th as at
// WeChat: that would be too short for a machine that has more to do.
func window(life time.Duration) time.Duration { return life / 4 }

// planner makes a schedule out of chance.
type planner struct {
	*rand.Rand

	length  time.Duration
	targets []target
	events  []event
}

// plan is all that happens within length. It follows from its arguments. Short runs
// have everything in them, too.
func plan(seed uint64, length time.Duration, targets []target) []event {
	p := &planner{Rand: rand.New(rand.NewPCG(seed, seed)), length: length, targets: targets}
	const second = time.Second
	repeat(p, 20*second, 40*second, processes, func(e event) event {
		e.Cluster = p.IntN(clusters)
		if e.For > 0 { // the longest it may be
			e.For = p.between(e.For/10, e.For)
		}
		return e
	})
	repeat(p, second, 3*second, faults, p.fault)
	repeat(p, second/2, 2*second, objects, p.object)
	// A program that asks for a refresh all the time.
	repeat(p, second, 10*second, []event{{Kind: forceRefresh, Writers: 3, AppID: targets[0].account.appID}}, func(e event) event { return e })
	slices.SortStableFunc(p.events, func(a, b event) int { return int(a.At - b.At) })
	return p.events
}

// between is a time from a up to b.
func (p *planner) between(a, b time.Duration) time.Duration {
	return (a + time.Duration(p.Int64N(int64(b-a)))).Round(10 * time.Millisecond)
}

// repeat plans events of a set in an order of chance, and then again: the next one a
// time between least and most later, or closer, so that each comes up once.
func repeat[T any](p *planner, least, most time.Duration, set []T, with func(T) event) {
	if fit := p.length / time.Duration(len(set)+1); fit < most {
		least, most = fit*9/10, fit
	}
	var order []int
	for at := p.between(least, most); at < p.length; at += p.between(least, most) {
		if len(order) == 0 {
			order = p.Perm(len(set))
		}
		e := with(set[order[0]])
		e.At, e.For, order = at, min(e.For, p.length/4, p.length-at), order[1:]
		p.events = append(p.events, e)
	}
}

// processes are what happens to the managers and the API server. The longest pause may be
// longer than the lease of 15 s, so that there are two leaders afterwards.
var processes = []event{
	{Kind: killManager},
	{Kind: killManager, Leader: true},
	{Kind: killMidCall, Leader: true},
	{Kind: endManager},
	{Kind: endManager, Leader: true},
	{Kind: pauseManager, For: 12 * time.Second},
	{Kind: pauseManager, Leader: true, For: 12 * time.Second},
	{Kind: pauseManager, Leader: true, For: 25 * time.Second},
	{Kind: restartAPI, For: 4 * time.Second},
	{Kind: pauseAPI, For: 10 * time.Second},
}

// faults are all ways in which WeChat fails, as often as each should come up. The
// errcodes are one of each class.
var faults = []wechattest.Fault{
	{Kind: wechattest.FaultErrcode, Code: -1}, {Kind: wechattest.FaultErrcode, Code: 12345},
	{Kind: wechattest.FaultErrcode, Code: 45011}, {Kind: wechattest.FaultErrcode, Code: 45009},
	{Kind: wechattest.FaultErrcode, Code: 40013}, {Kind: wechattest.FaultErrcode, Code: 40164}, {Kind: wechattest.FaultErrcode, Code: 89503},
	{Kind: wechattest.FaultStatus, Status: 502}, {Kind: wechattest.FaultStatus, Status: 412},
	{Kind: wechattest.FaultHang}, {Kind: wechattest.FaultHang, Delay: 3 * time.Second},
	{Kind: wechattest.FaultReset}, {Kind: wechattest.FaultLost}, {Kind: wechattest.FaultLost}, {Kind: wechattest.FaultTruncated},
	{Kind: wechattest.FaultGarbage}, {Kind: wechattest.FaultNull}, {Kind: wechattest.FaultEmpty}, {Kind: wechattest.FaultHuge},
	{Kind: wechattest.FaultEcho}, {Kind: wechattest.FaultTextPlain},
	{Kind: wechattest.FaultBadTTL, ExpiresIn: 0}, {Kind: wechattest.FaultBadTTL, ExpiresIn: 99_999_999},
	{Kind: wechattest.FaultSlow, Delay: 2 * time.Second}, {Kind: wechattest.FaultSlow, Delay: 6 * time.Second},
	{Kind: wechattest.FaultSlow, Delay: 12 * time.Second}, // longer than the manager's --request-timeout
}

// fault is one of an account, or of everybody: then it is none that keeps this machine
// busy, and of errcodes the one by which WeChat says that it is busy.
func (p *planner) fault(f wechattest.Fault) event {
	e := event{Kind: breakWeChat, Target: p.IntN(len(p.targets)), For: p.between(time.Second, 15*time.Second)}
	a := p.targets[e.Target].account
	f.AppID, f.Endpoint = a.appID, a.endpoint
	switch p.IntN(10) {
	case 0: // the business call too, by which the operator asks whether a token is valid
		f.Endpoint = ""
	case 1:
		f.Endpoint = wechattest.Business
	case 2:
		if f.Kind != wechattest.FaultHuge && (f.Kind != wechattest.FaultErrcode || f.Code == -1) {
			f.AppID, f.Endpoint = "", ""
			e.For = min(e.For, 6*time.Second)
		}
	case 3, 4, 5: // whenever the next call comes
		f.Count, e.For = 1+p.IntN(3), 30*time.Second
	default:
	}
	e.AppID, e.Fault = f.AppID, f
	return e
}

// objects are what people, programs and consumers do.
var objects = []kind{
	deleteSecret, deleteSecret, editToken, editToken, editMemory, editMemory, removeOwner,
	forceRefresh, forceRefresh, endToken, fetchOutside, lie, lie, resetAppSecret,
}

// object is an event of any target but the first, which has a program of its own.
func (p *planner) object(k kind) event {
	e := event{Kind: k, Target: 1 + p.IntN(len(p.targets)-1), Writers: 1 + p.IntN(16), For: p.between(time.Second/2, 4*time.Second)}
	for k == fetchOutside && p.targets[e.Target].account.endpoint != wechattest.Classic {
		e.Target = 1 + p.IntN(len(p.targets)-1)
	}
	e.AppID = p.targets[e.Target].account.appID
	return e
}
