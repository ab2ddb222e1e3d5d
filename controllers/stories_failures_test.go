//go:build integration

package controllers

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The API server takes no Secret for a while. The token that was fetched is kept,
// and the write is tried again, not the fetch.
func TestStory06StorageOutage(t *testing.T) {
	// Due after 12 s: no outage here is as long, whatever else the machine does.
	s := tell(t, wechattest.Config{Life: 24 * time.Second, Window: 4 * time.Second, ClassicPerDay: -1})
	gate, through := s.gate()
	s.operate(s.url, through)
	outage := func() {
		t.Helper()
		gate.breakWrites()
		before, _ := gate.counts()
		testcluster.Eventually(t, "writes fail", func() error {
			if now, _ := gate.counts(); now-before < 5 {
				return fmt.Errorf("%d did", now-before)
			}
			return nil
		})
	}
	s.create(appSecret(testAppSecret))
	gate.breakWrites()
	s.create(weChatToken(classic))
	outage()
	time.Sleep(2 * time.Second) // there must be a second between two plain calls
	if got := s.calls(); got != 1 {
		t.Errorf("%d calls while nothing can be stored, want 1", got)
	}
	gate.open()
	c := s.consume("shop", false)
	c.uses(1)
	outage() // the next refresh falls into it
	gate.open()
	c.uses(3)
	c.sawNoInvalid()
	if got := s.rotations(); got != len(c.tokens) {
		t.Errorf("%d tokens were fetched for %d that could be stored", got, len(c.tokens))
	}
}

// WeChat, a gateway, the network and the API server fail, and quote what they
// were sent. Neither AppSecret nor token is in the log, an event or an object.
func TestStory08SecretsLeak(t *testing.T) {
	s := tell(t, wechattest.Config{OpenAccounts: true})
	var log syncBuffer
	var tokens sync.Map
	issuedToken := regexp.MustCompile(`"access_token":"([^"]+)`)
	wire := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.weChat.ServeHTTP(tee{w, func(body []byte) {
			for _, m := range issuedToken.FindAllSubmatch(body, -1) {
				tokens.Store(string(m[1]), nil)
			}
		}}, r)
	}))
	t.Cleanup(wire.Close)
	s.quoteWhatIsRefused()
	s.operate(wire.URL, func(o *operation) {
		o.options.Logger = logr.FromSlogHandler(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s.create(appSecret(testAppSecret))
	faults := map[string]wechattest.Fault{
		"fine":      {Kind: wechattest.FaultTextPlain, Count: 1},
		"echo":      {Kind: wechattest.FaultEcho},
		"quoted":    {Kind: wechattest.FaultErrcode, Code: 40125, Message: "invalid appsecret " + testAppSecret},
		"reset":     {Kind: wechattest.FaultReset},
		"lost":      {Kind: wechattest.FaultLost},
		"truncated": {Kind: wechattest.FaultTruncated},
		"garbage":   {Kind: wechattest.FaultGarbage},
		"null":      {Kind: wechattest.FaultNull},
		"hang":      {Kind: wechattest.FaultHang},
		"redirect":  {Kind: wechattest.FaultStatus, Status: http.StatusFound},
	}
	number := 0
	for name, fault := range faults {
		for _, mode := range []v1alpha1.Mode{v1alpha1.ModeStable, v1alpha1.ModeClassic} {
			number++
			fault.AppID = appIDOf(number)
			s.weChat.SetFault(fault)
			s.create(weChatToken(named(name+"-"+strings.ToLower(string(mode))), ofAppID(fault.AppID), func(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = mode }))
		}
	}
	s.create(weChatToken(named("refused-by-policy"), ofAppID(appIDOf(0))))
	s.isReady("refused-by-policy", metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
	if got := s.ready("refused-by-policy").Message; !strings.Contains(got, "quotes") {
		t.Errorf("the test is wrong: the policy quotes nothing in %q", got)
	}
	for name := range faults {
		for _, mode := range []string{"stable", "classic"} {
			testcluster.Eventually(t, name+" was tried", func() error {
				if c := s.ready(name + "-" + mode); c.Reason == "" {
					return errors.New("it was not")
				}
				return nil
			})
		}
	}

	told := map[string]string{"log": log.String()}
	var objects v1alpha1.WeChatTokenList
	testcluster.Eventually(t, "events are told", func() error {
		var events eventsv1.EventList
		if err := errors.Join(s.List(t.Context(), &objects), s.List(t.Context(), &events)); err != nil {
			return err
		}
		if len(events.Items) < len(objects.Items) {
			return fmt.Errorf("%d events", len(events.Items))
		}
		for what, list := range map[string]any{"WeChatTokens": objects.Items, "events": events.Items} {
			raw, err := json.Marshal(list)
			if err != nil {
				return err
			}
			told[what] = string(raw)
		}
		return nil
	})
	secrets := []string{testAppSecret}
	tokens.Range(func(token, _ any) bool {
		secrets = append(secrets, token.(string))
		return true
	})
	if len(secrets) < 5 {
		t.Errorf("the test is wrong: it knows of %d secrets", len(secrets))
	}
	for where, text := range told {
		if len(text) < 1000 {
			t.Errorf("the test is wrong: there is nothing in %s: %s", where, text)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Errorf("%s: an AppSecret or a token is there", where)
			}
		}
	}
}

// quoteWhatIsRefused makes the API server refuse the Secret refused-by-policy,
// with a message that quotes the token.
func (s *story) quoteWhatIsRefused() {
	s.T.Helper()
	cluster, err := client.New(s.Config, client.Options{Scheme: s.Scheme()})
	if err != nil {
		s.T.Fatal(err)
	}
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{
				Expression:        "object.metadata.name != 'refused-by-policy'",
				MessageExpression: "'quotes ' + string(object.data['access_token'])",
			}},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        s.Name,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources:    &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.Name}}},
		},
	}
	for _, obj := range []client.Object{policy, binding} {
		if err := cluster.Create(s.T.Context(), obj); err != nil {
			s.T.Fatal(err)
		}
	}
	testcluster.Eventually(s.T, "the policy is in force", func() error {
		check := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "refused-by-policy"}, Data: map[string][]byte{"access_token": []byte("x")}}
		if err := s.Create(s.T.Context(), check, client.DryRunAll); !apierrors.IsInvalid(err) {
			return fmt.Errorf("it is not: %w", err)
		}
		return nil
	})
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// tee shows each piece of an answer to seen.
type tee struct {
	http.ResponseWriter

	seen func([]byte)
}

func (t tee) Write(p []byte) (int, error) {
	t.seen(p)
	return t.ResponseWriter.Write(p)
}

func (t tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// Whatever a refresh brings instead of a token, the Secret stays as it is, and
// so does its token.
func TestStory09FailureDiscardsToken(t *testing.T) {
	s := tell(t, wechattest.Config{OpenAccounts: true})
	stop := s.operate(s.url)
	s.create(appSecret(testAppSecret))
	code := func(n int) wechattest.Fault { return wechattest.Fault{Kind: wechattest.FaultErrcode, Code: n} }
	faults := map[string]wechattest.Fault{
		"busy": code(-1), "wrong-secret": code(40001), "wrong-appid": code(40013), "address": code(40164), "frozen": code(40243),
		"day-quota": code(45009), "minute-quota": code(45011), "unknown": code(99999),
		"null": {Kind: wechattest.FaultNull}, "empty": {Kind: wechattest.FaultEmpty}, "garbage": {Kind: wechattest.FaultGarbage},
		"huge": {Kind: wechattest.FaultHuge}, "reset": {Kind: wechattest.FaultReset}, "hang": {Kind: wechattest.FaultHang},
		"gateway": {Kind: wechattest.FaultStatus}, "truncated": {Kind: wechattest.FaultTruncated},
		"no-life": {Kind: wechattest.FaultBadTTL}, "long-life": {Kind: wechattest.FaultBadTTL, ExpiresIn: 31 * 24 * 60 * 60},
	}
	number := 0
	for name, fault := range faults {
		number++
		fault.AppID = appIDOf(number)
		faults[name] = fault
		s.create(weChatToken(named(name), ofAppID(fault.AppID)))
	}
	before := map[string]map[string][]byte{}
	for name := range faults {
		s.isReady(name, metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
		before[name] = s.secret(name).Data
	}
	for name, fault := range faults {
		s.weChat.SetFault(fault)
		s.requestRefresh(name)
	}
	same := func() {
		t.Helper()
		for name := range faults {
			testcluster.Eventually(t, name+" has failed, or changed the Secret", func() error {
				if c := s.ready(name); c.Reason == v1alpha1.ReasonTokenValid && cmp.Equal(before[name], s.secret(name).Data) {
					return errors.New(c.Message)
				}
				return nil
			})
			secret := s.secret(name)
			if diff := cmp.Diff(before[name], secret.Data); diff != "" {
				t.Errorf("%s has changed the Secret (-before +after):\n%s", name, diff)
			}
			if c := s.ready(name); c.Status != metav1.ConditionTrue || !s.weChat.Valid(string(secret.Data["access_token"])) {
				t.Errorf("%s: Ready=%s, token valid %t", name, c.Status, s.weChat.Valid(string(secret.Data["access_token"])))
			}
		}
	}
	same()
	stop()
	s.operate(s.url)
	s.poke()
	same()
}

// What goes over the wire is a body of known length, and JSON: WeChat's web
// server answers others with 412, or finds no appid. A proxy on the way that
// makes a stream of it is told of, and its end noticed.
func TestStory16ChunkedOrFormBody(t *testing.T) {
	s := tell(t, wechattest.Config{})
	resp, err := http.Post(s.url+"/cgi-bin/stable_token", "application/json", io.MultiReader(strings.NewReader("{}"))) // of unknown length
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("the test is wrong: a chunked body is answered with %s", resp.Status)
	}
	before := s.calls()

	var chunks atomic.Bool
	wire := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/json" || r.ContentLength <= 0 || len(r.TransferEncoding) > 0 {
			t.Errorf("a request of type %q, length %d, encoding %q", r.Header.Get("Content-Type"), r.ContentLength, r.TransferEncoding)
		}
		if chunks.Load() {
			r.ContentLength = -1
		}
		s.weChat.ServeHTTP(w, r)
	}))
	t.Cleanup(wire.Close)
	s.operate(wire.URL)
	s.create(appSecret(testAppSecret), weChatToken())
	s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	if got := s.weChat.Counts(testAppID).Stable; got.OK != 1 || s.calls()-before != 1 {
		t.Errorf("%d calls, of which %d were good, want 1", s.calls()-before, got.OK)
	}

	chunks.Store(true)
	s.requestRefresh("shop")
	s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonWeChatUnavailable)
	if got := s.ready("shop").Message; !strings.Contains(got, "HTTP status 412") {
		t.Errorf("message %q", got)
	}
	chunks.Store(false)
	s.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
}

// More accounts hang than there are workers. An account that is well does not
// notice, and those that hang are well as soon as WeChat answers.
func TestStory17HangBlocksEverybody(t *testing.T) {
	const hanging = 20
	cfg := shortLives()
	cfg.OpenAccounts = true
	s := tell(t, cfg)
	s.operate(s.url, inShortLives)
	s.create(appSecret(testAppSecret))
	for i := range hanging {
		s.weChat.SetFault(wechattest.Fault{AppID: appIDOf(i), Endpoint: wechattest.Stable, Kind: wechattest.FaultHang})
		s.create(weChatToken(named(fmt.Sprint("hanging-", i)), ofAppID(appIDOf(i))))
	}
	s.create(weChatToken())
	c := s.consume("shop", false)
	c.uses(4)
	c.sawNoInvalid()
	if got := s.weChat.Counts("").Stable.Faults[wechattest.FaultHang]; got < hanging {
		t.Errorf("the test is wrong: %d calls hung", got)
	}
	s.weChat.ClearFaults()
	for i := range hanging {
		s.isReady(fmt.Sprint("hanging-", i), metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	}
}
