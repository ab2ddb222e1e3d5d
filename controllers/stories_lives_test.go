//go:build integration

package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Stories of several callers for one token, of restarts, and of a token's end.

// Somebody else fetches tokens of the appid all the time. The mode that a spec
// gets without asking does not even notice; in Classic mode a report brings the
// next token at once, and the status says where to look.
func TestStory01AnotherProcessFetches(t *testing.T) {
	t.Parallel()
	t.Run("Default", func(t *testing.T) {
		cfg := shortLives()
		cfg.Overlap = -1
		s := tell(t, cfg)
		s.operate(s.url, inShortLives)
		s.create(appSecret(testAppSecret), weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = "" }))
		c := s.consume("shop", false)
		c.uses(1)
		other, creds := s.outsider()
		fetched := 0
		testcluster.Eventually(t, "four tokens were used", func() error {
			time.Sleep(200 * time.Millisecond)
			for _, fetch := range []func() (wechat.Token, error){
				func() (wechat.Token, error) { return other.ClassicToken(t.Context(), creds) },
				func() (wechat.Token, error) { return other.StableToken(t.Context(), creds, false) },
			} {
				if _, err := fetch(); err != nil {
					t.Fatal(err)
				}
				fetched++
			}
			return c.usedSoFar(4)
		})
		c.sawNoInvalid()
		if fetched < 10 {
			t.Errorf("somebody else fetched %d tokens only", fetched)
		}
	})
	t.Run("Classic", func(t *testing.T) {
		s := tell(t, wechattest.Config{Overlap: -1})
		s.operate(s.url)
		s.create(appSecret(testAppSecret), weChatToken(classic))
		c := s.consume("shop", true)
		c.uses(1)
		other, creds := s.outsider()
		if _, err := other.ClassicToken(t.Context(), creds); err != nil {
			t.Fatal(err)
		}
		c.uses(2)
		c.isFine()
		s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenRevoked)
		if got := s.ready("shop").Message; !strings.Contains(got, "find them, or use mode Stable") {
			t.Errorf("message %q", got)
		}
		if got := s.calls(); got != 3 {
			t.Errorf("%d calls for tokens, want ours, the other's, and ours once more", got)
		}
	})
}

// Eight objects of one account are due in the same moment, with a worker each.
// One of them calls.
func TestStory02ManyWorkersAtOnce(t *testing.T) {
	const objects = 8
	cfg := shortLives()
	cfg.Latency = 300 * time.Millisecond
	s := tell(t, cfg)
	stop := s.operate(s.url, inShortLives)
	s.create(appSecret(testAppSecret))
	var consumers []*consumer
	for i := range objects {
		name := fmt.Sprint("shop-", i)
		s.create(weChatToken(named(name), classic))
		consumers = append(consumers, s.consume(name, false))
	}
	for _, c := range consumers {
		c.uses(3)
	}
	stop()
	tokens := map[string]bool{}
	for i, c := range consumers {
		testcluster.Eventually(t, "the consumer is up to date", func() error {
			c.mu.Lock()
			defer c.mu.Unlock()
			if last := c.tokens[len(c.tokens)-1]; last != s.inSecret(fmt.Sprint("shop-", i)) {
				return errors.New("it is not")
			}
			return nil
		})
		c.sawNoInvalid()
		for _, token := range c.tokens {
			tokens[token] = true
		}
	}
	if got := s.rotations(); got != len(tokens) {
		t.Errorf("%d tokens were fetched and %d of them used: the others were ended by a second fetch", got, len(tokens))
	}
}

// The write of an operator hangs. Meanwhile another one is in charge, and has
// written a newer token when the older one arrives at last.
func TestStory03OlderOverwritesNewer(t *testing.T) {
	s := tell(t, wechattest.Config{Overlap: -1})
	gate, through := s.gate()
	versions := s.versions()
	s.operate(s.url, through)
	s.create(appSecret(testAppSecret), weChatToken(classic))
	s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	first := s.inSecret("shop")

	nextSecond := func() { time.Sleep(1100 * time.Millisecond) } // obtained_at has whole seconds
	nextSecond()
	gate.hold()
	update(s.namespace, s.token("shop"), requesting("now"))
	testcluster.Eventually(t, "a write hangs", func() error {
		if halted, _ := gate.counts(); halted == 0 {
			return errors.New("none does")
		}
		return nil
	})
	nextSecond()
	s.operate(s.url)
	testcluster.Eventually(t, "the other operator has written a token", func() error {
		if s.inSecret("shop") == first {
			return errors.New("it has not")
		}
		return nil
	})
	newer := s.inSecret("shop")
	c := s.consume("shop", false)
	c.uses(1)
	gate.open()
	testcluster.Eventually(t, "the write that hung is answered", func() error {
		if _, passed := gate.counts(); passed == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	time.Sleep(time.Second) // for what it may bring about
	c.sawNoInvalid()
	if s.inSecret("shop") != newer || s.rotations() != 3 {
		t.Errorf("the newer token kept %t after %d calls, want it kept after 3", s.inSecret("shop") == newer, s.rotations())
	}
	last := ""
	for _, v := range versions("shop") {
		obtained := string(v.Data["obtained_at"])
		if obtained < last {
			t.Errorf("a token of %s was written over one of %s", obtained, last)
		}
		last = obtained
	}
}

// An operator that begins anew, again and again, goes on where the last one was: no
// refresh is forgotten, and none comes early.
func TestStory19RestartRefetches(t *testing.T) {
	s := tell(t, shortLives())
	versions := s.versions()
	stop := s.operate(s.url, inShortLives)
	s.create(appSecret(testAppSecret), weChatToken(), weChatToken(named("classic"), classic))
	stable, classic := s.consume("shop", false), s.consume("classic", false)
	stable.uses(1)
	classic.uses(1)
	testcluster.Eventually(t, "four tokens of each were used", func() error {
		time.Sleep(1500 * time.Millisecond)
		stop()
		stop = s.operate(s.url, inShortLives)
		return errors.Join(stable.usedSoFar(4), classic.usedSoFar(4))
	})
	stable.sawNoInvalid()
	classic.sawNoInvalid()
	for _, name := range []string{"shop", "classic"} {
		end := "9999"
		for _, v := range versions(name) {
			if obtained := string(v.Data["obtained_at"]); obtained >= end {
				t.Errorf("%s: a token was fetched at %s, not before the end of the one before at %s", name, obtained, end)
			}
			end = string(v.Data["expires_at"])
		}
	}
}

// Two operators at work. The lease keeps it from happening; where it happens
// all the same, Stable mode does not notice, and Classic mode ends well.
func TestStory25LockBreaks(t *testing.T) {
	t.Parallel()
	t.Run("Lease", func(t *testing.T) {
		s := tell(t, shortLives())
		leased := func(o *operation) {
			o.options.LeaderElection, o.options.LeaderElectionID, o.options.LeaderElectionNamespace = true, record.ManagedBy, s.Name
			o.options.LeaderElectionReleaseOnCancel = true
		}
		firstURL, first := s.entrance()
		secondURL, second := s.entrance()
		stop := s.operate(firstURL, inShortLives, leased)
		s.create(appSecret(testAppSecret), weChatToken(), weChatToken(named("classic"), classic))
		stable, classic := s.consume("shop", false), s.consume("classic", false)
		stable.uses(1)
		classic.uses(1)
		s.operate(secondURL, inShortLives, leased)
		stable.uses(3)
		classic.uses(2)
		if first.Load() == 0 || second.Load() > 0 {
			t.Errorf("%d calls by the leader, %d by the other, want none", first.Load(), second.Load())
		}
		stop()
		led := first.Load()
		stable.uses(5)
		classic.uses(3)
		stable.sawNoInvalid()
		classic.sawNoInvalid()
		if second.Load() == 0 || first.Load() != led {
			t.Errorf("%d calls by the new leader, and %d by the old one after its end", second.Load(), first.Load()-led)
		}
	})
	t.Run("StableWithoutLease", func(t *testing.T) {
		cfg := shortLives()
		cfg.Overlap = -1 // of forced calls, which there must not be
		s := tell(t, cfg)
		for range 2 {
			s.operate(s.url, inShortLives)
		}
		s.create(appSecret(testAppSecret), weChatToken())
		c := s.consume("shop", false)
		c.uses(4)
		c.sawNoInvalid()
		if got := s.weChat.Counts("").Forced; got > 0 {
			t.Errorf("%d forced calls", got)
		}
	})
	t.Run("ClassicWithoutLease", func(t *testing.T) {
		s := tell(t, wechattest.Config{Overlap: -1})
		both := s.meetingPoint(2)
		stop := s.operate(both)
		s.operate(both)
		s.create(appSecret(testAppSecret), weChatToken(classic))
		c := s.consume("shop", true)
		c.uses(1)
		if got := s.rotations(); got < 2 {
			t.Errorf("the test is wrong: %d calls, the operators did not meet", got)
		}
		stop() // it finds that the lease is lost
		c.isFine()
		time.Sleep(2 * time.Second) // for a write of the one that was stopped
		c.isFine()
		if got := s.calls(); got > 5 || !s.weChat.Valid(s.inSecret("shop")) {
			t.Errorf("%d calls, token valid %t; want it valid after a few", got, s.weChat.Valid(s.inSecret("shop")))
		}
	})
}

// meetingPoint is an address of WeChat at which calls for a token wait until so
// many are there. After that it is open.
func (s *story) meetingPoint(calls int64) (url string) {
	s.T.Helper()
	var waiting atomic.Int64
	met := make(chan struct{})
	open := sync.OnceFunc(func() { close(met) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer waiting.Add(-1)
		if waiting.Add(1) >= calls {
			open()
		}
		select {
		case <-met:
			s.weChat.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	s.T.Cleanup(server.Close)
	return server.URL
}

// entrance is another address of WeChat, which counts who comes in.
func (s *story) entrance() (url string, calls *atomic.Int64) {
	s.T.Helper()
	calls = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		s.weChat.ServeHTTP(w, r)
	}))
	s.T.Cleanup(server.Close)
	return server.URL, calls
}

// ready is the condition Ready.
func (n *namespace) ready(name string) metav1.Condition {
	n.T.Helper()
	for _, c := range n.token(name).Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			return c
		}
	}
	return metav1.Condition{}
}
