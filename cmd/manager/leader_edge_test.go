//go:build integration

package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/leaderelection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// longestPoll is the longest time between two looks of a stand-by at the lease.
var longestPoll = time.Duration((1 + leaderelection.JitterFactor) * retryPeriod.Seconds() * float64(time.Second))

// replica is a manager that takes part in the election, and its road to WeChat.
type replica struct {
	*testcluster.Program
	*effects
	*road
}

func (n *namespace) startReplica(fake *wechattest.Server) replica {
	n.T.Helper()
	r := &road{weChat: fake}
	e := newEffects(n, r, "")
	return replica{e.start("--leader-elect=true", "--leader-election-namespace="+n.Name, "--request-timeout=1m"), e, r}
}

// road is the way of one replica's calls to WeChat.
type road struct {
	weChat http.Handler

	mu          sync.Mutex
	there, back *barrier // what holds up the next call, on its way and on its way back
	calls       []time.Time
}

// barrier holds up one call.
type barrier struct {
	reached, open chan struct{}
}

func newBarrier() *barrier {
	return &barrier{reached: make(chan struct{}), open: make(chan struct{})}
}

func (b *barrier) hold() {
	if b != nil {
		close(b.reached)
		<-b.open
	}
}

// await waits until a call stands before the barrier.
func (b *barrier) await(t *testing.T) {
	t.Helper()
	select {
	case <-b.reached:
	case <-time.After(testcluster.Patience):
		t.Fatalf("no call within %s", testcluster.Patience)
	}
}

func (r *road) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	there, back := r.there, r.back
	r.there, r.back = nil, nil
	r.calls = append(r.calls, time.Now())
	r.mu.Unlock()
	there.hold()
	r.weChat.ServeHTTP(w, req)
	back.hold()
}

// block puts up barriers for the next call; nil is none.
func (r *road) block(there, back *barrier) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.there, r.back = there, back
}

// callsMade are the times of all calls.
func (r *road) callsMade() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// awaitCall waits for the first call.
func (r *road) awaitCall(t *testing.T) {
	t.Helper()
	testcluster.Eventually(t, "a call to WeChat", func() error {
		if len(r.callsMade()) == 0 {
			return errors.New("none")
		}
		return nil
	})
}

// leaseRunsOut is when the lease of a leader that does not renew it any more
// runs out.
func (n *namespace) leaseRunsOut() time.Time {
	n.T.Helper()
	lease := n.lease("")
	return lease.RenewTime.Add(time.Duration(*lease.LeaseDurationSeconds) * time.Second)
}

// checkTookOver says whether the stand-by has made its first call after the
// lease of the leader has run out. How soon depends on the machine.
func (r replica) checkTookOver(t *testing.T, runsOut time.Time) {
	t.Helper()
	r.awaitCall(t)
	late := r.callsMade()[0].Sub(runsOut)
	t.Logf("the stand-by acts %s after the lease has run out", late)
	if late < 0 {
		t.Errorf("the stand-by acts %s before the lease has run out", -late)
	}
}

func TestLeaderEdges(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*testing.T){
		"KilledLeader":  killedLeader,
		"AnswerLate":    answerLate,
		"SuccessorSlow": successorSlow,
		"ProcessedLate": processedLate,
		"WorkAfterWake": workAfterWake,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
}

// A stand-by takes over from a leader that is gone, once its lease has run out.
func killedLeader(t *testing.T) {
	t.Helper()
	ns := newNamespace(t)
	fake := wechattest.New(wechattest.Config{OpenAccounts: true})
	leader := ns.startReplica(fake)
	ns.lease("")
	standby := ns.startReplica(fake)
	standby.AwaitReady()
	hang := newBarrier()
	defer close(hang.open)
	leader.block(hang, nil)
	ns.create(newApp(v1alpha1.ModeClassic, 1))
	hang.await(t)
	leader.Kill()
	standby.checkTookOver(t, ns.leaseRunsOut())
	ns.awaitReady()
}

// frozen is a leader that was frozen in the middle of a call of Classic mode,
// and a stand-by that takes over.
type frozen struct {
	ns              *namespace
	fake            *wechattest.Server
	leader, standby replica
	before          string // the token that the Secret held
	runsOut         time.Time
	watch           *consumer
}

// freeze freezes the leader in the middle of a forced refresh of shop in Classic
// mode, when its call stands before one of the barriers.
// A token that was replaced stays valid for overlap.
func freeze(t *testing.T, overlap time.Duration, there, back *barrier) frozen {
	t.Helper()
	f := frozen{ns: newNamespace(t)}
	f.fake = wechattest.New(wechattest.Config{OpenAccounts: true, Overlap: overlap})
	f.leader = f.ns.startReplica(f.fake)
	shop := newApp(v1alpha1.ModeClassic, 1)
	shop.name = "shop"
	f.ns.create(shop)
	f.ns.awaitReady()
	f.before = f.token(t)
	f.watch = f.consume(t)
	time.Sleep(time.Second) // tokens of one second cannot be told apart by their age
	f.standby = f.ns.startReplica(f.fake)
	f.standby.AwaitReady()

	f.leader.block(there, back)
	f.ns.annotateShop(v1alpha1.AnnotationRefreshRequestedAt, "now")
	if there != nil {
		there.await(t)
	} else {
		back.await(t)
	}
	f.leader.Signal(syscall.SIGSTOP)
	f.runsOut = f.ns.leaseRunsOut()
	return f
}

// wake lets the leader go on, and waits for its end.
func (f frozen) wake(t *testing.T) {
	t.Helper()
	woken := time.Now()
	f.leader.Signal(syscall.SIGCONT)
	if code := f.leader.AwaitEnd(); code != 1 {
		t.Errorf("exit code of the leader that has lost its lease: %d, want 1", code)
	}
	t.Logf("the leader has ended %s after it was woken", time.Since(woken))
}

func (f frozen) token(t *testing.T) string {
	t.Helper()
	tokens, err := f.ns.tokens()
	if err != nil {
		t.Fatal(err)
	}
	return tokens["shop"]
}

func (f frozen) awaitNewToken(t *testing.T) string {
	t.Helper()
	var token string
	testcluster.Eventually(t, "a new token", func() error {
		token = f.token(t)
		if token == f.before {
			return errors.New("the old one")
		}
		return nil
	})
	testcluster.Eventually(t, "the refresh is echoed", func() error {
		if got := f.ns.weChatTokens()["shop"].Status.LastHandledRefreshAt; got != "now" {
			return fmt.Errorf("%q is echoed", got)
		}
		return nil
	})
	return token
}

// checkCalls says how many calls WeChat has had beside the first, and whether
// the Secret counts them all. The one of the old leader it may not count.
func (f frozen) checkCalls(t *testing.T, calls int) {
	t.Helper()
	had := f.fake.Counts("").Classic.Calls
	if had != 1+calls {
		t.Errorf("%d calls beside the first, want %d", had-1, calls)
	}
	var s corev1.Secret
	if err := f.ns.Get(t.Context(), client.ObjectKey{Name: "shop"}, &s); err != nil {
		t.Fatal(err)
	}
	r := record.Read(&s, nil)
	if r == nil {
		t.Fatal("the Secret has no record")
	}
	counted := r.Spent.Classic
	t.Logf("WeChat has had %d calls, the Secret counts %d", had, counted.Calls)
	if (counted.Calls != had && counted.Calls != had-1) && counted.Day == today() {
		t.Errorf("the Secret counts %d calls, want %d or 1 less", counted.Calls, had)
	}
}

// consumer reads the Secret all the time.
type consumer struct {
	stop    chan struct{}
	done    sync.WaitGroup
	invalid []string // when it read an invalid token
	seen    []string // the tokens it has read
}

func (f frozen) consume(t *testing.T) *consumer {
	t.Helper()
	c := &consumer{stop: make(chan struct{})}
	c.done.Go(func() {
		for {
			select {
			case <-c.stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			tokens, err := f.ns.tokens()
			if err != nil {
				t.Error(err)
				return
			}
			token := tokens["shop"]
			if !f.fake.Valid(token) {
				c.invalid = append(c.invalid, time.Now().Format(time.TimeOnly))
			}
			if !slices.Contains(c.seen, token) {
				c.seen = append(c.seen, token)
			}
		}
	})
	return c
}

// end returns how many tokens it has read, and when it read an invalid one.
func (c *consumer) end() (tokens int, invalid []string) {
	close(c.stop)
	c.done.Wait()
	return len(c.seen), c.invalid
}

// A leader is frozen when WeChat has made its token, and before it has heard of
// it. Its successor makes the next one. Woken, the old leader hears of its own,
// which is dying, and must not put it in the place of the newer one: it was
// obtained earlier.
func answerLate(t *testing.T) {
	t.Helper()
	back := newBarrier()
	f := freeze(t, time.Minute, nil, back)
	f.standby.checkTookOver(t, f.runsOut)
	token := f.awaitNewToken(t)
	close(back.open)
	f.wake(t)
	if f.token(t) != token {
		t.Error("the old leader has replaced the newer token")
	}
	if _, invalid := f.watch.end(); len(invalid) > 0 {
		t.Errorf("a consumer has read an invalid token at %v", invalid)
	}
	f.checkCalls(t, 2) // only WeChat and the old leader know of its call
}

// The same, and the old leader is woken before its successor has its answer. It
// may write its own token then, and that is valid until the newer one replaces it.
func successorSlow(t *testing.T) {
	t.Helper()
	back, slow := newBarrier(), newBarrier()
	f := freeze(t, time.Minute, nil, back)
	f.standby.block(nil, slow)
	f.standby.checkTookOver(t, f.runsOut)
	slow.await(t)
	close(back.open)
	f.wake(t)
	between := f.token(t)
	close(slow.open)
	token := f.awaitNewToken(t)
	testcluster.Eventually(t, "the successor's token is in the Secret", func() error {
		if token = f.token(t); token == between {
			return errors.New("not yet")
		}
		return nil
	})
	tokens, invalid := f.watch.end()
	t.Logf("%d tokens were in the Secret", tokens)
	if len(invalid) > 0 {
		t.Errorf("a consumer has read an invalid token at %v", invalid)
	}
	f.checkCalls(t, 2)
}

// The worst that can happen: the old leader's call is on its way for longer than
// its lease, and comes to WeChat after that of its successor. Then it ends the
// token that the successor has put into the Secret, and nobody knows who could
// tell. A consumer's report heals it.
func processedLate(t *testing.T) {
	t.Helper()
	there, back := newBarrier(), newBarrier()
	f := freeze(t, 5*time.Second, there, back)
	f.standby.checkTookOver(t, f.runsOut)
	token := f.awaitNewToken(t)
	if _, invalid := f.watch.end(); len(invalid) > 0 {
		t.Errorf("a consumer has read an invalid token at %v", invalid)
	}
	close(there.open)
	back.await(t)
	close(back.open)
	f.wake(t)
	f.checkCalls(t, 2)

	testcluster.Eventually(t, "the token in the Secret expires", func() error {
		if f.token(t) != token {
			t.Fatal("the Secret holds another token")
		}
		if f.fake.Valid(token) {
			return errors.New("it is valid")
		}
		return nil
	})
	f.ns.annotateShop(v1alpha1.AnnotationInvalidToken, record.Fingerprint(token))
	testcluster.Eventually(t, "a valid token after the report", func() error {
		if !f.fake.Valid(f.token(t)) {
			return errors.New("an invalid one")
		}
		return nil
	})
	f.checkCalls(t, 3)
}

// A leader that was frozen learns that it leads no longer before it begins
// anything new: of what comes up then its successor alone takes care.
func workAfterWake(t *testing.T) {
	t.Helper()
	back := newBarrier()
	f := freeze(t, time.Minute, nil, back)
	f.standby.checkTookOver(t, f.runsOut)
	f.awaitNewToken(t)
	close(back.open)
	f.watch.end()
	before := len(f.leader.callsMade())
	looked := f.leader.looks(f.ns.Name, name)
	f.leader.Signal(syscall.SIGCONT)
	testcluster.Eventually(t, "the old leader has looked at the lease", func() error {
		if f.leader.looks(f.ns.Name, name) == looked {
			return errors.New("not yet")
		}
		return nil
	})
	f.ns.create(newApp(v1alpha1.ModeClassic, 2))
	f.ns.awaitReady()
	f.leader.AwaitEnd()
	if n := len(f.leader.callsMade()) - before; n > 0 {
		t.Errorf("the leader that has lost its lease has made %d calls", n)
	}
}
