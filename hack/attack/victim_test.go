//go:build integration

package attack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
)

// forged is in each token that an attacker has made up.
const forged = "FORGED"

func newAppID() string { return "wx" + newAppSecret()[:16] }

func newAppSecret() string {
	var random [16]byte
	rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// newWeChatToken reads its AppSecret from the Secret of its name and -app.
func newWeChatToken(namespace, name, appID string) *v1alpha1.WeChatToken {
	return &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.WeChatTokenSpec{AppID: appID, AppSecretRef: v1alpha1.AppSecretReference{Name: name + "-app"}},
	}
}

func newSecret(namespace, name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
}

// appSecretOf is the Secret that wt reads.
func appSecretOf(wt *v1alpha1.WeChatToken, appSecret string) *corev1.Secret {
	return newSecret(wt.Namespace, wt.Spec.AppSecretRef.Name, map[string]string{wt.Spec.AppSecretRef.KeyOrDefault(): appSecret})
}

// create makes who create wt, whose AppSecret is there already.
func create(t *testing.T, who client.Client, wt *v1alpha1.WeChatToken, appSecret string) {
	t.Helper()
	must(t, admin.Create(t.Context(), appSecretOf(wt, appSecret)))
	must(t, who.Create(t.Context(), wt))
}

// victim has a token, and a consumer that sees each version of its Secret.
type victim struct {
	*v1alpha1.WeChatToken

	mu      sync.Mutex
	token   string
	foreign string // the token of another account
	wrong   []string
	changed bool // the label of the Secret is not the operator's
	repairs int  // of that label
}

func newVictim(t *testing.T, namespace string, edits ...func(*v1alpha1.WeChatToken)) *victim {
	t.Helper()
	v := &victim{WeChatToken: newWeChatToken(namespace, "victim", newAppID())}
	for _, edit := range edits {
		edit(v.WeChatToken)
	}
	create(t, admin, v.WeChatToken, weChat.newAccount(v.Spec.AppID))
	seen, err := admin.Watch(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": v.TokenSecretName()})
	must(t, err)
	go func() {
		for e := range seen.ResultChan() {
			if s, ok := e.Object.(*corev1.Secret); ok && e.Type != watch.Deleted {
				v.consume(s)
			}
		}
	}()
	t.Cleanup(func() { v.check(t) })
	v.awaitReady(t)
	return v
}

// consume is what a program does that calls WeChat with what is in the Secret.
func (v *victim) consume(s *corev1.Secret) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.token = string(s.Data["access_token"])
	known.Store(v.token[:min(32, len(v.token))], true)
	changed := s.Labels[record.LabelName] != s.Name
	if v.changed && !changed {
		v.repairs++
	}
	v.changed = changed
	for key, value := range s.Data {
		if strings.Contains(string(value), forged) {
			v.wrong = append(v.wrong, "a forged "+key)
		}
	}
	if end, err := time.Parse(time.RFC3339, string(s.Data["expires_at"])); err != nil || end.Before(time.Now()) || end.After(time.Now().Add(2*time.Hour)) {
		v.wrong = append(v.wrong, fmt.Sprintf("a token that expires at %.40q", s.Data["expires_at"]))
	}
	if v.token == v.foreign {
		v.wrong = append(v.wrong, "the token of another account")
	}
	if !weChat.Valid(v.token) {
		v.wrong = append(v.wrong, fmt.Sprintf("a token of %d bytes that is not valid", len(v.token)))
	}
}

// check reports what the consumer has seen.
func (v *victim) check(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, what := range v.wrong {
		t.Errorf("the victim's Secret has held %s", what)
	}
	v.wrong = nil
}

func (v *victim) has() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.token
}

// awaitReady waits until all is well, and the consumer has seen it.
func (v *victim) awaitReady(t *testing.T) {
	t.Helper()
	testcluster.Eventually(t, "the victim is ready", func() error {
		if r := readyOf(t, v.WeChatToken); r.Status != metav1.ConditionTrue || v.has() == "" {
			return fmt.Errorf("%s: %s", r.Reason, r.Message)
		}
		return nil
	})
	v.check(t)
}

// refresh asks for a new token, and waits for it. Nothing may hold it up.
func (v *victim) refresh(t *testing.T) {
	t.Helper()
	before, value := v.has(), time.Now().String()
	annotate(t, admin, v.WeChatToken, v1alpha1.AnnotationRefreshRequestedAt, value)
	testcluster.Eventually(t, "the victim has a new token", func() error {
		r := readyOf(t, v.WeChatToken)
		if v.Status.LastHandledRefreshAt == value && v.has() != before {
			return nil
		}
		for _, c := range v.Status.Conditions {
			switch c.Reason {
			case v1alpha1.ReasonRefreshDeferred, v1alpha1.ReasonRefreshBudgetExhausted, v1alpha1.ReasonDayQuotaExceeded, v1alpha1.ReasonSecretRefused:
				t.Fatalf("the victim's refresh does not come: %s: %s", c.Reason, c.Message)
			}
		}
		return fmt.Errorf("%s: %s", r.Reason, r.Message)
	})
	v.check(t)
}

// annotate sets an annotation of a WeChatToken.
func annotate(t *testing.T, who client.Client, wt *v1alpha1.WeChatToken, key, value string) {
	t.Helper()
	must(t, who.Patch(t.Context(), nameOf(wt), merge(`{"metadata":{"annotations":{%q:%q}}}`, key, value)))
}

func merge(body string, args ...any) client.Patch {
	return client.RawPatch(types.MergePatchType, fmt.Appendf(nil, body, args...))
}

// nameOf is an object to patch, which takes the answer.
func nameOf(wt *v1alpha1.WeChatToken) *v1alpha1.WeChatToken {
	return &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Namespace: wt.Namespace, Name: wt.Name}}
}

// readyOf reads wt, and returns its condition Ready.
func readyOf(t *testing.T, wt *v1alpha1.WeChatToken) metav1.Condition {
	t.Helper()
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(wt), wt))
	if c := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady); c != nil && wt.Status.ObservedGeneration == wt.Generation {
		return *c
	}
	return metav1.Condition{Reason: "none"}
}

// awaitReason waits for one of the reasons of wt's condition Ready, and returns its message.
func awaitReason(t *testing.T, wt *v1alpha1.WeChatToken, reasons ...string) string {
	t.Helper()
	var is metav1.Condition
	testcluster.Eventually(t, fmt.Sprintf("%s is %v", wt.Name, reasons), func() error {
		is = readyOf(t, wt)
		if slices.Contains(reasons, is.Reason) {
			return nil
		}
		return fmt.Errorf("%s: %s", is.Reason, is.Message)
	})
	return is.Message
}

var strangers atomic.Int64

// timeToToken is how long a new WeChatToken of a stranger waits for its token.
func timeToToken(t *testing.T, namespace string) time.Duration {
	t.Helper()
	wt := newWeChatToken(namespace, fmt.Sprintf("stranger-%d", strangers.Add(1)), newAppID())
	must(t, admin.Create(t.Context(), appSecretOf(wt, weChat.newAccount(wt.Spec.AppID))))
	return timeToSecret(t, admin, wt, wt.TokenSecretName())
}

// timeToSecret is how long it takes from the creation of an object to that of a Secret.
func timeToSecret(t *testing.T, who client.WithWatch, obj client.Object, secret string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Patience)
	defer cancel()
	w, err := who.Watch(ctx, &corev1.SecretList{}, client.InNamespace(obj.GetNamespace()), client.MatchingFields{"metadata.name": secret})
	must(t, err)
	defer w.Stop()
	from := time.Now()
	must(t, who.Create(t.Context(), obj))
	select {
	case <-w.ResultChan(): // the first write, or the end of patience
	case <-ctx.Done():
	}
	return time.Since(from)
}

// delaysNobody compares how long a stranger waits for a token during an attack with
// how long one waits before it, and with how long the API server takes meanwhile for
// a Secret that needs no operator. A ServiceAccount asks for that: the API server lets
// these wait where it is busy, the operator among them.
func delaysNobody(t *testing.T, attack func()) {
	t.Helper()
	stranger := newNamespace(t, "stranger")
	account := rest.AnonymousClientConfig(plane.Config)
	account.BearerToken = credential(t, stranger, "control", "system:aggregate-to-edit")
	who := clientOf(t, account)
	var calm, worst, control time.Duration
	for range 5 {
		calm = max(calm, timeToToken(t, stranger))
	}
	over := make(chan struct{})
	go func() { defer close(over); attack() }()
	times := 0
	for done := false; !done; times++ {
		select {
		case <-over:
			done = true // and once more, for what is left to do
		case <-time.After(100 * time.Millisecond):
		}
		name := fmt.Sprintf("control-%d", times)
		control = max(control, timeToSecret(t, who, newSecret(stranger, name, nil), name))
		worst = max(worst, timeToToken(t, stranger))
	}
	limit := max(time.Second, 10*calm, 5*control)
	t.Attr("wait-seconds", fmt.Sprintf("%.3f", worst.Seconds()))
	t.Logf("a stranger waits for a token: %s in peace, during the attack up to %s (%d times); the API server takes up to %s for a Secret",
		calm.Round(time.Millisecond), worst.Round(time.Millisecond), times, control.Round(time.Millisecond))
	if worst > limit {
		t.Errorf("during the attack a stranger has waited %s for a token, want at most %s", worst.Round(time.Millisecond), limit)
	}
}

// asked is how often the API server was asked, by anybody, in the words of
// testcluster.RequestOf.
func asked(t *testing.T) map[string]int {
	t.Helper()
	text, err := kubernetes.NewForConfigOrDie(plane.Config).RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	must(t, err)
	return testcluster.RequestsIn(string(text))
}

// secretReads is how often anybody has read or listed Secrets.
func secretReads(t *testing.T) int {
	t.Helper()
	all := asked(t)
	return all["GET secrets"] + all["LIST secrets"]
}

// awaitNoReads waits until all is quiet.
func awaitNoReads(t *testing.T) {
	t.Helper()
	reads := -1
	testcluster.Eventually(t, "no Secret is read", func() error {
		now := secretReads(t)
		if now == reads {
			return nil
		}
		reads = now
		time.Sleep(2 * time.Second)
		return errors.New("some are still read")
	})
}

// readsFewSecrets counts the reads of Secrets: two for each WeChatToken, those of
// strangers included, and a third where the watch comes late.
func readsFewSecrets(t *testing.T, weChatTokens int, do func()) {
	t.Helper()
	before, born := secretReads(t), strangers.Load()
	do()
	reads := secretReads(t) - before
	weChatTokens += int(strangers.Load() - born)
	const few = 10 // for whatever is attacked
	t.Attr("reads-each", fmt.Sprintf("%.3f", float64(max(0, reads-few))/float64(weChatTokens)))
	t.Logf("%d reads of Secrets for %d WeChatTokens", reads, weChatTokens)
	if reads > 3*weChatTokens {
		t.Errorf("%d reads of Secrets for %d WeChatTokens, want 2 for each", reads, weChatTokens)
	}
}

// inSize makes an attack that takes seconds, or with the tag heavy minutes, on a new
// manager.
func inSize(t *testing.T, by attacker, what string, light, large int, attack func(t *testing.T, n int)) {
	t.Helper()
	n := light
	if heavy {
		n = large
	}
	tried(t, by, "%d %s", n, what)
	restart(t)
	attack(t, n)
}

// inParallel calls do for each number below n, a few at once, and tells how far it is.
func inParallel(t *testing.T, what string, n int, do func(i int) error) {
	t.Helper()
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == 0; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					failed.Add(1)
					t.Errorf("%s %d: %v", what, i, err)
				}
				if i > 0 && i%500 == 0 {
					t.Logf("%s: %d of %d", what, i, n)
				}
			}
		})
	}
	all.Wait()
}

// insist tries a write until it works: etcd is slow with much, and to delete it takes too
// long an answer at times.
func insist(do func() error) (err error) {
	for range 10 {
		if err = do(); err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
			return nil
		}
		time.Sleep(time.Second)
	}
	return err
}

func secretOf(t *testing.T, namespace, name string) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	must(t, admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &s))
	return &s
}
