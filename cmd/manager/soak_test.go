package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// TestSoak lets 100 tokens of 40 s live under a manager that is killed again and
// again, half of the times in the middle of a call to WeChat, whose answer is
// lost then. Meanwhile a consumer of each Secret calls WeChat once a second.
//
// No consumer ever sees a dead token, and no token is fetched more often than
// time and the kills explain.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes " + soak.String())
	}
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -soak-seed=%d", seed)
	chance := rand.New(rand.NewPCG(seed, seed))

	ns := newNamespace(t)
	history := &history{}
	cfg := wechattest.Config{Life: soakLife, Window: soakWindow, Overlap: soakOverlap, ClassicPerDay: -1, OpenAccounts: true, Observe: history.add}
	fake := wechattest.New(cfg)
	server := httptest.NewServer(fake)
	defer server.Close()

	apps := fleet(50)
	ns.create(apps...)
	run := func() *manager {
		return startManager(t, ns.Kubeconfig, server.URL, "--health-probe-bind-address=127.0.0.1:0", "--stable-window="+soakWindow.String())
	}
	m := run()
	readers := startReaders(ns, server.URL)

	begun := time.Now()
	end := time.After(*soak)
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	nextKill := func() (after time.Duration, duringCall bool) {
		return 20*time.Second + time.Duration(chance.Int64N(int64(40*time.Second))), chance.IntN(2) == 0
	}
	after, duringCall := nextKill()
	kill := time.NewTimer(after)
	for running := true; running; {
		select {
		case <-tick.C:
			c := fake.Counts("")
			t.Logf("%3.0f s: %d kills, %d stable and %d classic calls, %d tokens used %d times, %d dead",
				time.Since(begun).Seconds(), len(history.kills), c.Stable.Calls, c.Classic.Calls,
				readers.seen.Load(), c.Business.Calls, c.DeadTokens)
		case <-kill.C:
			if duringCall {
				history.strike(m.cmd.Process, 15*time.Second)
			}
			m.kill()
			history.kills = append(history.kills, time.Now())
			m = run()
			after, duringCall = nextKill()
			kill.Reset(after)
		case <-end:
			running = false
		}
	}
	m.kill()
	stopped := time.Now()
	readers.stop()

	readers.check(len(apps))
	if n := fake.Counts("").DeadTokens; n > 0 {
		t.Errorf("%d calls were made with a dead token", n)
	}
	for _, app := range apps {
		history.of(app).check(t, app, history.kills, stopped)
	}
	c := fake.Counts("")
	t.Logf("%d kills, %d of them in the middle of a call; stable: %d calls, %d tokens; classic: %d calls, %d tokens",
		len(history.kills), history.struck, c.Stable.Calls, c.Stable.Rotations, c.Classic.Calls, c.Classic.Rotations)
}

const (
	soakLife    = 40 * time.Second
	soakWindow  = 10 * time.Second
	soakOverlap = 10 * time.Second
)

// history is the calls for tokens, and the kills.
type history struct {
	kills  []time.Time
	struck int // how many of them were in the middle of a call

	mu     sync.Mutex
	calls  []wechattest.Call
	onCall func() // what to do at the next call, once
}

// strike kills the process in the moment of its next call: WeChat has carried
// it out, and nobody will hear the answer. It gives up after a while.
func (h *history) strike(p *os.Process, wait time.Duration) {
	struck := make(chan struct{})
	h.mu.Lock()
	h.onCall = func() {
		_ = p.Kill() // the test kills it once more, and waits for its end
		close(struck)
	}
	h.mu.Unlock()
	select {
	case <-struck:
		h.struck++
	case <-time.After(wait):
		h.mu.Lock()
		h.onCall = nil
		h.mu.Unlock()
	}
}

func (h *history) add(c wechattest.Call) {
	if c.Endpoint == wechattest.Business {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, c)
	if h.onCall != nil {
		h.onCall()
		h.onCall = nil
	}
}

type fetches []wechattest.Call

func (h *history) of(a app) fetches {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.calls), func(c wechattest.Call) bool { return c.AppID != a.appID })
}

// check holds what one account was asked for against what explains it.
//
// When a call is to be expected follows from the life L and the window W:
//
//   - A stable token is replaced by the first call in its last W: each token
//     lives alone for L-W = 30 s. That call is due 1 s and W/30 at most after
//     the window's begin.
//   - A classic token is replaced L/2 before its end (refreshBefore is capped
//     there), and by a 20th of that earlier for jitter: 19 to 20 s after it was
//     obtained. The Secret keeps whole seconds, so that it may be 18 s.
//
// Two things explain a call beyond these:
//
//   - A kill between the call and the write of its token. The next process knows
//     only the old one, which is due, and asks again: once for each kill, and
//     only if the call was not long before it.
//   - A stable call that is early. WeChat gives the life in whole seconds, so
//     that the begin of the window is known to a second only. The same token
//     comes back; the next call is W/30 to W/20 later.
func (f fetches) check(t *testing.T, a app, kills []time.Time, stopped time.Time) {
	t.Helper()
	const (
		// unwritten is how long a token that a call has brought may be on its
		// way into the Secret. It takes milliseconds; on a busy machine, with
		// 50 tokens at once, more.
		unwritten = 5 * time.Second
		early     = time.Second
	)
	aliveAlone := soakLife - soakWindow
	if a.mode == v1alpha1.ModeClassic {
		aliveAlone = soakLife/2 - soakLife/40 - time.Second
	}
	if len(f) == 0 {
		t.Errorf("%s: no call", a.name)
		return
	}
	rotated := f[0].At // when the present token was made
	for i, call := range f[1:] {
		previous := f[i]
		gap := call.At.Sub(rotated)
		killed := slices.ContainsFunc(kills, func(kill time.Time) bool {
			return previous.At.Before(kill) && kill.Before(call.At) && kill.Sub(previous.At) < unwritten
		})
		tooEarly := a.mode == v1alpha1.ModeStable && gap < aliveAlone && gap > aliveAlone-early
		if gap < aliveAlone && !killed && !tooEarly {
			t.Errorf("%s: a call %.1f s after the token was made, want %.1f s or more; kills: %v", a.name, gap.Seconds(), aliveAlone.Seconds(), kills)
		}
		// Each token was replaced before its end, with time to spare for those
		// who read it, however often the manager was killed. In the time of the
		// test that makes time/L rotations or more.
		if limit := soakLife - soakWindow/4; gap > limit {
			t.Errorf("%s: a call %.1f s after the token was made, want %.1f s or less", a.name, gap.Seconds(), limit.Seconds())
		}
		if call.Errcode != 0 {
			t.Errorf("%s: WeChat answered %d", a.name, call.Errcode)
		}
		if call.Rotated {
			rotated = call.At
		}
	}
	if left := stopped.Sub(rotated); left > soakLife {
		t.Errorf("%s: no call in the last %.1f s, longer than a token lives", a.name, left.Seconds())
	}
}

// readers stand for the pods: each reads its Secret once a second, and calls
// WeChat with the token.
type readers struct {
	ns   *namespace
	url  string
	done chan struct{}
	all  sync.WaitGroup
	seen atomic.Int64 // Secrets with a token

	mu   sync.Mutex
	good map[string]int
	dead []string
}

func startReaders(ns *namespace, url string) *readers {
	r := &readers{ns: ns, url: url, done: make(chan struct{}), good: map[string]int{}}
	r.all.Go(func() {
		every := time.NewTicker(time.Second)
		defer every.Stop()
		for {
			select {
			case <-r.done:
				return
			case <-every.C:
				r.round()
			}
		}
	})
	return r
}

func (r *readers) stop() {
	close(r.done)
	r.all.Wait()
}

// round lets every reader read and call once.
func (r *readers) round() {
	tokens, err := r.ns.tokens()
	if err != nil {
		r.ns.t.Errorf("list the Secrets: %v", err)
		return
	}
	r.seen.Store(int64(len(tokens)))
	var calls sync.WaitGroup
	atOnce := make(chan struct{}, 8)
	for secret, token := range tokens {
		atOnce <- struct{}{}
		calls.Go(func() {
			defer func() { <-atOnce }()
			r.use(secret, token)
		})
	}
	calls.Wait()
}

func (r *readers) use(secret, token string) {
	var answer struct {
		Errcode int `json:"errcode"`
	}
	resp, err := http.Get(r.url + "/cgi-bin/get_api_domain_ip?access_token=" + token)
	if err == nil {
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && answer.Errcode == 0 {
		r.good[secret]++
		return
	}
	r.dead = append(r.dead, fmt.Sprintf("%s at %s: errcode %d, %v", secret, time.Now().Format("15:04:05.000"), answer.Errcode, err))
}

// check says whether all of them read a token that worked, and only such.
func (r *readers) check(count int) {
	r.ns.t.Helper()
	if len(r.good) != count {
		r.ns.t.Errorf("%d of %d readers had a token", len(r.good), count)
	}
	for secret, good := range r.good {
		if half := int(soak.Seconds() / 2); good < half {
			r.ns.t.Errorf("the reader of %s has used its token %d times only, want %d or more", secret, good, half)
		}
	}
	if len(r.dead) > 0 {
		r.ns.t.Errorf("%d calls did not work; the first:\n%s", len(r.dead), strings.Join(r.dead[:min(len(r.dead), 10)], "\n"))
	}
}
