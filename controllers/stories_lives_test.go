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

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
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
		eventually(t, "four tokens were used", func() error {
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
		c.sawNoDead()
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
		s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenDiedEarly)
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
		eventually(t, "the consumer is up to date", func() error {
			c.mu.Lock()
			defer c.mu.Unlock()
			if last := c.tokens[len(c.tokens)-1]; last != s.inSecret(fmt.Sprint("shop-", i)) {
				return errors.New("it is not")
			}
			return nil
		})
		c.sawNoDead()
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
	s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	first := s.inSecret("shop")

	nextSecond := func() { time.Sleep(1100 * time.Millisecond) } // obtained_at has whole seconds
	nextSecond()
	gate.hold()
	s.bump("shop")
	eventually(t, "a write hangs", func() error {
		if halted, _ := gate.counts(); halted == 0 {
			return errors.New("none does")
		}
		return nil
	})
	nextSecond()
	s.operate(s.url)
	eventually(t, "the other operator has written a token", func() error {
		if s.inSecret("shop") == first {
			return errors.New("it has not")
		}
		return nil
	})
	newer := s.inSecret("shop")
	c := s.consume("shop", false)
	c.uses(1)
	gate.open()
	eventually(t, "the write that hung is answered", func() error {
		if _, passed := gate.counts(); passed == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	time.Sleep(time.Second) // for what it may bring about
	c.sawNoDead()
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

// The token dies though everything says that it lives. A consumer reports it,
// or the probe finds it.
func TestStory10TokenDiesEarly(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		mode    func(*v1alpha1.WeChatToken)
		reports bool
		probe   int32
	}{
		"Reported": {"A consumer that is refused says so.", classic, true, 0},
		"Probed":   {"Nobody says anything; the shortest probe takes 30 s.", stableMode, false, 30},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := tell(t, wechattest.Config{})
			s.operate(s.url)
			s.create(appSecret(testAppSecret), weChatToken(tc.mode, probing(tc.probe)))
			c := s.consume("shop", tc.reports)
			c.uses(1)
			s.weChat.Revoke(s.inSecret("shop"))
			c.uses(2)
			c.isFine()
			s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenDiedEarly)
			if !s.weChat.Valid(s.inSecret("shop")) {
				t.Errorf("%s\nthe token is dead", tc.reason)
			}
		})
	}
}

// WeChat gives the dead token to everybody who asks. One forced refresh brings
// another; many reports cost no second one, and false reports none at all.
func TestStory11SameDeadTokenAgain(t *testing.T) {
	s := tell(t, wechattest.Config{})
	s.operate(s.url)
	s.create(appSecret(testAppSecret), weChatToken())
	s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	report := func(token, suffix string) {
		update(s.namespace, s.token("shop"), reporting(fingerprint(token)+"@"+suffix))
	}
	handled := func(value string) {
		t.Helper()
		eventually(t, "the report is handled", func() error {
			if got := s.token("shop").Status.LastHandledDeadToken; !strings.HasSuffix(got, value) {
				return fmt.Errorf("echo %q", got)
			}
			return nil
		})
	}

	token := s.inSecret("shop")
	s.weChat.Revoke(token)
	for i := range 20 {
		report(token, fmt.Sprint(i))
	}
	handled("@19")
	got := s.weChat.Counts(testAppID)
	if s.inSecret("shop") == token || !s.weChat.Valid(s.inSecret("shop")) {
		t.Error("the token is dead")
	}
	if plain := got.Stable.Calls - got.Forced; got.Forced != 1 || plain != 2 {
		t.Errorf("%d plain and %d forced calls, want the first and for 20 reports one of each", plain, got.Forced)
	}

	token, calls, questions := s.inSecret("shop"), s.calls(), got.Business.Calls
	report(token, "wrong")
	handled("@wrong")
	if asked := s.weChat.Counts(testAppID).Business.Calls - questions; s.calls() != calls || asked != 1 || s.inSecret("shop") != token {
		t.Errorf("a false report: %d calls and %d questions, want none and one", s.calls()-calls, asked)
	}
}

// What belongs to another appid, AppSecret or mode is another token, and a
// change of one of them is noticed.
func TestStory12TokensMixed(t *testing.T) {
	s := tell(t, wechattest.Config{OpenAccounts: true})
	s.operate(s.url)
	other := appIDOf(1)
	s.create(appSecret(testAppSecret),
		weChatToken(), weChatToken(named("other"), ofAppID(other)),
		weChatToken(named("classic"), classic), weChatToken(named("other-classic"), classic, ofAppID(other)))
	owners := map[string]string{"shop": testAppID, "other": other, "classic": testAppID, "other-classic": other}
	tokens := map[string]bool{}
	for name, appID := range owners {
		s.isReady(name, metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
		s.holdsTokenOf(name, appID)
		tokens[s.inSecret(name)] = true
	}
	if len(tokens) != len(owners) || s.rotations() != len(owners) {
		t.Errorf("%d tokens of %d calls in %d Secrets, want one each", len(tokens), s.rotations(), len(owners))
	}

	update(s.namespace, s.token("shop"), ofAppID(other))
	eventually(t, "the Secret follows the appid", func() error {
		if s.inSecret("shop") != s.inSecret("other") {
			return errors.New("it does not")
		}
		return nil
	})
	s.holdsTokenOf("shop", other)

	// Another AppSecret is asked for at once; what it gives counts.
	s.weChat.SetSecret(other, "another0secret0another0secret0an")
	s.weChat.SetSecret(testAppID, "another0secret0another0secret0an")
	calls := s.calls()
	update(s.namespace, s.secret("shop-app"), setAppSecret("another0secret0another0secret0an"))
	eventually(t, "a call with the new AppSecret for each account", func() error {
		if got := s.calls() - calls; got < 3 {
			return fmt.Errorf("%d calls", got)
		}
		return nil
	})
	for name := range owners {
		s.isReady(name, metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	}
}

// holdsTokenOf asks WeChat whose token a Secret holds.
func (s *story) holdsTokenOf(name, appID string) {
	s.t.Helper()
	secret := s.secret(name)
	if err := s.business(s.t.Context(), string(secret.Data["access_token"])); err != nil {
		s.t.Errorf("%s: %v", name, err)
	}
	calls := s.weChat.Calls()
	if got := calls[len(calls)-1].AppID; got != appID || string(secret.Data["appid"]) != appID {
		s.t.Errorf("%s says appid %s and holds a token of %s, want %s", name, secret.Data["appid"], got, appID)
	}
}

// WeChat calls a ticket new that is nearly dead. Who keeps it for as long as
// WeChat says signs with a dead one; who signs with what stands in the Secret
// never does, nor does who keeps it until the end that stands beside it.
func TestStory14TicketExpiresInLies(t *testing.T) {
	// A poll each second, and trust for 3 s beyond.
	const life, overlap = 12 * time.Second, 8 * time.Second
	s := tell(t, wechattest.Config{TicketLife: life, TicketOverlap: overlap, TicketsPerDay: -1})
	other, creds := s.outsider()
	token, err := other.StableToken(t.Context(), creds, false)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(life - time.Duration(time.Now().UnixNano())%life - 2*time.Second) // 2 s before the next ticket
	lie, err := other.Ticket(t.Context(), token.Value, "jsapi")
	if err != nil {
		t.Fatal(err)
	}
	if works := time.Until(s.weChat.TicketEnd(lie.Value)); lie.Life != life || works > life-time.Second {
		t.Fatalf("WeChat says %s, and the ticket works for %s", lie.Life, works)
	}
	s.operate(s.url)
	s.create(appSecret(testAppSecret), weChatToken(wanting(v1alpha1.TicketJSAPI)))

	used := map[string]bool{}
	eventually(t, "three tickets were used", func() error {
		var secret corev1.Secret
		if err := s.Get(t.Context(), client.ObjectKey{Name: "shop"}, &secret); err != nil || secret.Data["jsapi_ticket"] == nil {
			return err
		}
		ticket, until := string(secret.Data["jsapi_ticket"]), string(secret.Data["jsapi_ticket_expires_at"])
		if !s.weChat.TicketValid(ticket) {
			t.Errorf("the ticket in the Secret does not work")
		}
		if end, err := time.Parse(time.RFC3339, until); err != nil || end.After(s.weChat.TicketEnd(ticket)) {
			t.Errorf("trusted until %s, works until %s (%v)", until, s.weChat.TicketEnd(ticket), err)
		}
		if used[ticket] = true; len(used) < 3 {
			return fmt.Errorf("%d were", len(used))
		}
		return nil
	})
	if !used[lie.Value] {
		t.Log("the operator was too late for the old ticket")
	}
	if got := s.weChat.Counts(testAppID).Stable.Rotations; got != 1 {
		t.Errorf("%d tokens for it", got)
	}
}

// Clocks that are wrong, answers that take long, lives that are over at once.
func TestStory15ClockSkewAndLatency(t *testing.T) {
	t.Parallel()
	t.Run("Latency", func(t *testing.T) {
		s := tell(t, wechattest.Config{Latency: 1200 * time.Millisecond})
		s.operate(s.url)
		s.create(appSecret(testAppSecret), weChatToken())
		s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
		said := string(s.secret("shop").Data["expires_at"])
		expires, err := time.Parse(time.RFC3339, said)
		if err != nil || !strings.HasSuffix(said, "Z") {
			t.Fatalf("expires_at is %q (%v), want UTC", said, err)
		}
		var end time.Time
		for _, call := range s.weChat.Calls() {
			if call.Rotated {
				end = call.At.Add(wechattest.Defaults().Life)
			}
		}
		if expires.After(end) {
			t.Errorf("the Secret says that the token lives until %s, and it dies at %s", said, end)
		}
	})
	t.Run("WrongClock", func(t *testing.T) {
		s := tell(t, wechattest.Config{})
		s.create(appSecret(testAppSecret), weChatToken())
		ahead := time.Now().Add(5 * time.Hour).Truncate(time.Second)
		s.writeToken("shop", issued{obtained: ahead, expires: ahead.Add(2 * time.Hour)})
		stop := s.operate(s.url)
		s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
		if got := tokenIn(s.secret("shop")); got.ahead(time.Now()) || !s.weChat.Valid(got.value) {
			t.Errorf("a token obtained at %s, in the future, is believed", got.obtained)
		}
		stop()
		s.operate(s.url)
		s.poke()
		if got := s.calls(); got != 1 {
			t.Errorf("%d calls, want 1", got)
		}
	})
	t.Run("OverAtOnce", func(t *testing.T) {
		s := tell(t, wechattest.Config{})
		s.weChat.SetFault(wechattest.Fault{Endpoint: wechattest.Classic, Kind: wechattest.FaultBadTTL, ExpiresIn: 1})
		start := time.Now()
		s.operate(s.url)
		s.create(appSecret(testAppSecret), weChatToken(classic))
		s.poke()
		// One at once, and one in each second that has begun since.
		if got, most := s.calls(), int(time.Since(start)/time.Second)+2; got < 2 || got > most {
			t.Errorf("%d calls for tokens that live 1 s, want one a second: %d at most", got, most)
		}
	})
}

// writeToken puts a token into the Secret of a WeChatToken, as an earlier
// operator left it there. All but the times and budgets of it is filled in.
func (s *story) writeToken(name string, t issued) {
	s.t.Helper()
	wt := s.token(name)
	if t.value == "" {
		t.value = "98_made-up-for-" + name
	}
	t.fingerprint, t.appID, t.mode = fingerprint(t.value), wt.Spec.AppID, wt.Spec.Mode
	t.account = accountOf(wechat.Credentials{AppID: wt.Spec.AppID, AppSecret: testAppSecret}, wt.Spec.Mode)
	if err := s.Apply(s.t.Context(), render(wt, &t), client.FieldOwner(managedBy)); err != nil {
		s.t.Fatal(err)
	}
}

// An operator that begins anew goes on where the last one was: no token is
// fetched or written, and no refresh is forgotten.
func TestStory19RestartRefetches(t *testing.T) {
	t.Parallel()
	t.Run("CostsNothing", func(t *testing.T) {
		s := tell(t, wechattest.Config{Overlap: -1})
		stop := s.operate(s.url)
		s.create(appSecret(testAppSecret), weChatToken(), weChatToken(named("classic"), classic))
		s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
		s.isReady("classic", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
		state := func() map[string]string {
			versions := map[string]string{"calls": fmt.Sprint(s.calls())}
			for _, name := range []string{"shop", "classic"} {
				versions["Secret "+name], versions["WeChatToken "+name] = s.secret(name).ResourceVersion, s.token(name).ResourceVersion
			}
			return versions
		}
		before := state()
		for range 5 {
			stop()
			stop = s.operate(s.url)
			time.Sleep(time.Second)
		}
		if diff := cmp.Diff(before, state()); diff != "" {
			t.Errorf("five restarts (-before +after):\n%s", diff)
		}
	})
	t.Run("ForgetsNothing", func(t *testing.T) {
		s := tell(t, shortLives())
		versions := s.versions()
		stop := s.operate(s.url, inShortLives)
		s.create(appSecret(testAppSecret), weChatToken(), weChatToken(named("classic"), classic))
		stable, classic := s.consume("shop", false), s.consume("classic", false)
		stable.uses(1)
		classic.uses(1)
		eventually(t, "four tokens of each were used", func() error {
			time.Sleep(1500 * time.Millisecond)
			stop()
			stop = s.operate(s.url, inShortLives)
			return errors.Join(stable.usedSoFar(4), classic.usedSoFar(4))
		})
		stable.sawNoDead()
		classic.sawNoDead()
		for _, name := range []string{"shop", "classic"} {
			end := "9999"
			for _, v := range versions(name) {
				if obtained := string(v.Data["obtained_at"]); obtained >= end {
					t.Errorf("%s: a token was fetched at %s, not before the end of the one before at %s", name, obtained, end)
				}
				end = string(v.Data["expires_at"])
			}
		}
	})
}

// The AppSecret is reset at WeChat, and then replaced in the cluster while
// everything runs. That is noticed at once, not when the token ends in 2 hours.
func TestStory20AppSecretReplacedAtRunTime(t *testing.T) {
	s := tell(t, wechattest.Config{})
	s.operate(s.url)
	s.create(appSecret(testAppSecret), weChatToken())
	c := s.consume("shop", false)
	c.uses(1)
	s.weChat.SetSecret(testAppID, "another0secret0another0secret0an")
	s.bump("shop")
	s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonAppSecretInvalid)
	update(s.namespace, s.secret("shop-app"), setAppSecret("another0secret0another0secret0an"))
	c.uses(2)
	s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	c.sawNoDead()
}

// The Secret says when its token dies and since when it is there, in data that a
// pod can mount; never later than the truth.
func TestStory24ConsumersKnowTheEnd(t *testing.T) {
	s := tell(t, shortLives())
	versions := s.versions()
	s.operate(s.url, inShortLives)
	s.create(appSecret(testAppSecret), weChatToken())
	c := s.consume("shop", false)
	c.uses(3)
	c.sawNoDead()

	var made []time.Time
	for _, call := range s.weChat.Calls() {
		if call.Rotated {
			made = append(made, call.At)
		}
	}
	all := versions("shop")
	for i, v := range all {
		obtained, err1 := time.Parse(time.RFC3339, string(v.Data["obtained_at"]))
		expires, err2 := time.Parse(time.RFC3339, string(v.Data["expires_at"]))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if life := expires.Sub(obtained); life != shortLife || len(made) < len(all) || expires.After(made[i].Add(shortLife)) {
			t.Errorf("token %d of %d: from %s for %s, and WeChat made %d tokens, the same at %s for %s", i, len(all), obtained, life, len(made), made[i], shortLife)
		}
		if i > 0 && string(v.Data["expires_at"]) <= string(all[i-1].Data["expires_at"]) {
			t.Errorf("the new token says %s, the old one said %s", v.Data["expires_at"], all[i-1].Data["expires_at"])
		}
	}
	if got := s.token("shop").Status.ExpirationTime; got == nil || got.IsZero() {
		t.Error("status has no expirationTime")
	}
}

// Two operators at work. The lease keeps it from happening; where it happens
// all the same, Stable mode does not notice, and Classic mode ends well.
func TestStory25LockBreaks(t *testing.T) {
	t.Parallel()
	t.Run("Lease", func(t *testing.T) {
		s := tell(t, shortLives())
		leased := func(o *operation) {
			o.options.LeaderElection, o.options.LeaderElectionID, o.options.LeaderElectionNamespace = true, managedBy, s.name
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
		stable.sawNoDead()
		classic.sawNoDead()
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
		c.sawNoDead()
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
			t.Errorf("%d calls, token alive %t; want it alive after a few", got, s.weChat.Valid(s.inSecret("shop")))
		}
	})
}

// meetingPoint is an address of WeChat at which calls for a token wait until so
// many are there. After that it is open.
func (s *story) meetingPoint(calls int64) (url string) {
	s.t.Helper()
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
	s.t.Cleanup(server.Close)
	return server.URL
}

// entrance is another address of WeChat, which counts who comes in.
func (s *story) entrance() (url string, calls *atomic.Int64) {
	s.t.Helper()
	calls = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		s.weChat.ServeHTTP(w, r)
	}))
	s.t.Cleanup(server.Close)
	return server.URL, calls
}

// ready is the condition Ready.
func (n *namespace) ready(name string) metav1.Condition {
	n.t.Helper()
	for _, c := range n.token(name).Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			return c
		}
	}
	return metav1.Condition{}
}
