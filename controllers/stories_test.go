//go:build integration

package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// TestStoryNN is the row NN of docs/failures.md: how a token was lost somewhere
// else, told again with this operator, on a real API server and with a WeChat on
// loopback. They run side by side, each in a namespace of its own.

// story is where one of them is told.
type story struct {
	*namespace

	weChat *wechattest.Server
	url    string // of weChat
}

func tell(t *testing.T, cfg wechattest.Config) *story {
	t.Helper()
	t.Parallel()
	n := newNamespace(t)
	cfg.BusinessPerDay = -1 // consumers call five times a second
	weChat, url := testcluster.FakeWeChat(t, cfg)
	weChat.AddAccount(testAppID, testAppSecret)
	return &story{namespace: n, weChat: weChat, url: url}
}

// outsider is somebody else who has the AppSecret.
func (s *story) outsider() (*wechat.Client, wechat.Credentials) {
	return wechat.NewClient(s.url, 10*time.Second), wechat.Credentials{AppID: testAppID, AppSecret: testAppSecret}
}

// calls counts the calls for a token.
func (s *story) calls() int {
	c := s.weChat.Counts("")
	return c.Stable.Calls + c.Classic.Calls
}

// rotations counts the tokens that calls have made.
func (s *story) rotations() int {
	c := s.weChat.Counts("")
	return c.Stable.Rotations + c.Classic.Rotations
}

// inSecret is the token in the Secret "shop"; empty if there is none.
func (s *story) inSecret() string {
	s.T.Helper()
	var secret corev1.Secret
	if err := s.Get(s.T.Context(), client.ObjectKey{Name: "shop"}, &secret); client.IgnoreNotFound(err) != nil {
		s.T.Fatal(err)
	}
	return string(secret.Data["access_token"])
}

// consumer is a pod: it reads a Secret again and again, and calls WeChat with
// the token that it finds.
type consumer struct {
	t      testing.TB
	secret string
	end    func()

	mu      sync.Mutex
	tokens  []string // that it has used, each once
	calls   int
	refused []string // calls that WeChat refused, and reads without a token
	fine    bool     // the last call was
}

// consume starts a consumer. One that reports tells the operator of an invalid token,
// as the README asks for.
func (s *story) consume(secret string, reports bool) *consumer {
	s.T.Helper()
	ctx, cancel := context.WithCancel(s.T.Context())
	done := make(chan struct{})
	c := &consumer{t: s.T, secret: secret}
	c.end = sync.OnceFunc(func() { cancel(); <-done })
	s.T.Cleanup(c.end)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			token, err := s.read(ctx, secret)
			if err == nil && token != "" {
				err = s.business(ctx, token)
			}
			if ctx.Err() == nil {
				c.note(token, err)
			}
			if _, refused := errors.AsType[*wechat.Error](err); refused && reports {
				patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationInvalidToken, record.Fingerprint(token))
				if err := s.Patch(ctx, weChatToken(named(secret)), client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil && ctx.Err() == nil {
					s.T.Error(err)
				}
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	return c
}

func (s *story) read(ctx context.Context, secret string) (string, error) {
	var got corev1.Secret
	err := s.Get(ctx, client.ObjectKey{Name: secret}, &got)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	return string(got.Data["access_token"]), err
}

// business calls WeChat with a token. The error is a *wechat.Error if WeChat
// refused the token.
func (s *story) business(ctx context.Context, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/cgi-bin/get_api_domain_ip?access_token="+neturl.QueryEscape(token), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		ErrCode int64 `json:"errcode"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.ErrCode != 0 {
		return &wechat.Error{Code: answer.ErrCode, Message: "the token is invalid"}
	}
	return nil
}

func (c *consumer) note(token string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token == "" && err == nil {
		if len(c.tokens) == 0 {
			return // the first is to come
		}
		err = errors.New("there is no token any more")
	}
	c.calls++
	c.fine = err == nil
	if err != nil {
		c.refused = append(c.refused, fmt.Sprintf("%s %s: %v", time.Now().Format(time.StampMilli), record.Fingerprint(token), err))
	}
	if token != "" && (len(c.tokens) == 0 || c.tokens[len(c.tokens)-1] != token) {
		c.tokens = append(c.tokens, token)
	}
}

// uses waits until the consumer has used so many tokens.
func (c *consumer) uses(tokens int) {
	c.t.Helper()
	testcluster.Eventually(c.t, fmt.Sprintf("the consumer of %s uses token %d", c.secret, tokens), func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.tokens) < tokens {
			return fmt.Errorf("it has used %d; refused calls: %q", len(c.tokens), c.refused)
		}
		return nil
	})
}

// callsAgain waits until the consumer has made a call that began after this one.
func (c *consumer) callsAgain() {
	c.t.Helper()
	count := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.calls
	}
	before := count()
	testcluster.Eventually(c.t, "the consumer calls again", func() error {
		if count() < before+2 {
			return errors.New("it has not")
		}
		return nil
	})
}

// isFine waits until a call of the consumer was good.
func (c *consumer) isFine() {
	c.t.Helper()
	testcluster.Eventually(c.t, "the consumer has a valid token", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.fine {
			return fmt.Errorf("refused calls: %q", c.refused)
		}
		return nil
	})
}

// sawNoInvalid ends the consumer, of which no call may have been refused.
func (c *consumer) sawNoInvalid() {
	c.t.Helper()
	c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.refused) > 0 || c.calls == 0 {
		c.t.Errorf("%d of %d calls with the token in %s were refused: %q", len(c.refused), c.calls, c.secret, c.refused)
	}
}

// versions notes every version of the Secrets that the operator writes. What it
// returns waits for the present ones, and returns all.
func (s *story) versions() func(secret string) []*corev1.Secret {
	s.T.Helper()
	c, err := client.NewWithWatch(s.Config, client.Options{Scheme: s.Scheme()})
	if err != nil {
		s.T.Fatal(err)
	}
	w, err := c.Watch(s.T.Context(), &corev1.SecretList{}, client.InNamespace(s.Name), client.MatchingLabels{record.LabelManagedBy: record.ManagedBy})
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(w.Stop)
	var mu sync.Mutex
	seen := map[string][]*corev1.Secret{}
	go func() {
		for e := range w.ResultChan() {
			if secret, ok := e.Object.(*corev1.Secret); ok {
				mu.Lock()
				seen[secret.Name] = append(seen[secret.Name], secret)
				mu.Unlock()
			}
		}
	}()
	return func(secret string) []*corev1.Secret {
		s.T.Helper()
		var all []*corev1.Secret
		testcluster.Eventually(s.T, "the watch has seen the present "+secret, func() error {
			now := s.secret(secret).ResourceVersion
			mu.Lock()
			defer mu.Unlock()
			all = seen[secret]
			if len(all) == 0 || all[len(all)-1].ResourceVersion != now {
				return errors.New("it has not")
			}
			return nil
		})
		return all
	}
}

// gate stands between an operator and the API server, and may hold the writes of
// Secrets.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // closed when held writes go on; nil when none are held
	halted int           // writes that were held
	passed int           // writes that were held and have had their answer
}

// gate makes a gate; through puts the operator behind it.
func (s *story) gate() (g *gate, through func(*operation)) {
	s.T.Helper()
	g = &gate{}
	target, err := neturl.Parse(s.Config.Host)
	if err != nil {
		s.T.Fatal(err)
	}
	transport, err := rest.TransportFor(s.Config)
	if err != nil {
		s.T.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/secrets/") {
			proxy.ServeHTTP(w, r)
			return
		}
		g.mu.Lock()
		opened := g.opened
		if opened != nil {
			g.halted++
		}
		g.mu.Unlock()
		if opened != nil {
			<-opened
		}
		proxy.ServeHTTP(w, r)
		if opened != nil {
			g.mu.Lock()
			g.passed++
			g.mu.Unlock()
		}
	}))
	s.T.Cleanup(server.Close)
	s.T.Cleanup(g.open)
	return g, func(o *operation) { o.cluster = &rest.Config{Host: server.URL, QPS: -1} }
}

func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
	}
	g.opened = nil
}

// counts are the writes that were held, and those of them that were held and
// answered since.
func (g *gate) counts() (halted, passed int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.halted, g.passed
}
