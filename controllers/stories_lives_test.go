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
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Stories of several callers for one token, of restarts, and of a token's end.

// Somebody else fetches tokens of the appid all the time. The mode that a spec
// gets without asking does not even notice; in Classic mode a report brings the
// next token at once, and the status says where to look.
func TestStory01AnotherProcessFetches(t *testing.T) {
	t.Parallel()
	t.Run("Default", func(t *testing.T) {
		s := tell(t, wechattest.Config{Overlap: -1})
		s.operate(s.url)
		s.create(appSecret(testAppSecret), weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = "" }))
		c := s.consume("shop", false)
		c.uses(1)
		other, creds := s.outsider()
		for range 10 {
			if _, err := other.ClassicToken(t.Context(), creds); err != nil {
				t.Fatal(err)
			}
			if _, err := other.StableToken(t.Context(), creds, false); err != nil {
				t.Fatal(err)
			}
		}
		c.callsAgain()
		c.sawNoInvalid()
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
		if got := s.ready("shop").Message; !strings.Contains(got, "find it, or use mode Stable") {
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
	s := tell(t, wechattest.Config{Latency: 300 * time.Millisecond})
	s.create(appSecret(testAppSecret))
	var consumers []*consumer
	for i := range 8 {
		name := fmt.Sprint("shop-", i)
		s.create(weChatToken(named(name), classic))
		consumers = append(consumers, s.consume(name, false))
	}
	s.operate(s.url)
	for _, c := range consumers {
		c.uses(1)
		c.sawNoInvalid()
	}
	if got := s.calls(); got != 1 {
		t.Errorf("%d calls for one account, want 1", got)
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
	first := s.inSecret()

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
		if s.inSecret() == first {
			return errors.New("it has not")
		}
		return nil
	})
	newer := s.inSecret()
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
	if s.inSecret() != newer || s.rotations() != 3 {
		t.Errorf("the newer token kept %t after %d calls, want it kept after 3", s.inSecret() == newer, s.rotations())
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

// Two operators at work, which a lease keeps from happening. Stable mode does not
// notice, and Classic mode ends well.
func TestStory25LockBreaks(t *testing.T) {
	t.Parallel()
	t.Run("Stable", func(t *testing.T) {
		s := tell(t, wechattest.Config{Overlap: -1}) // of forced calls, which there must not be
		both := s.meetingPoint(2)
		s.operate(both)
		s.operate(both)
		s.create(appSecret(testAppSecret), weChatToken())
		c := s.consume("shop", false)
		c.uses(1)
		c.callsAgain()
		c.sawNoInvalid()
		if calls, tokens := s.calls(), s.rotations(); calls < 2 || tokens != 1 {
			t.Errorf("%d tokens by %d calls, want one by both", tokens, calls)
		}
	})
	t.Run("Classic", func(t *testing.T) {
		s := tell(t, wechattest.Config{Overlap: -1})
		both := s.meetingPoint(2)
		stop := s.operate(both)
		s.operate(both)
		s.create(appSecret(testAppSecret), weChatToken(classic))
		c := s.consume("shop", true)
		c.uses(1)
		testcluster.Eventually(t, "the operators have met", func() error {
			if got := s.calls(); got < 2 {
				return fmt.Errorf("%d calls", got)
			}
			return nil
		})
		stop() // it finds that the lease is lost
		testcluster.Eventually(t, "the Secret holds a valid token", func() error {
			if !s.weChat.Valid(s.inSecret()) {
				return errors.New("it does not")
			}
			return nil
		})
		c.callsAgain()
		c.isFine()
		if got := s.calls(); got > 5 {
			t.Errorf("%d calls, want a few", got)
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
