//go:build integration

package controllers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/secretcache"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// These tests run the operator against a real API server and a WeChat on
// loopback: what only a server can tell is told here.

func (n *namespace) create(objects ...client.Object) {
	n.T.Helper()
	for _, obj := range objects {
		if err := n.Create(n.T.Context(), obj); err != nil {
			n.T.Fatal(err)
		}
	}
}

func (n *namespace) token(name string) *v1alpha1.WeChatToken {
	n.T.Helper()
	var wt v1alpha1.WeChatToken
	if err := n.Get(n.T.Context(), client.ObjectKey{Name: name}, &wt); err != nil {
		n.T.Fatal(err)
	}
	return &wt
}

func (n *namespace) secret(name string) *corev1.Secret {
	n.T.Helper()
	var s corev1.Secret
	if err := n.Get(n.T.Context(), client.ObjectKey{Name: name}, &s); err != nil {
		n.T.Fatal(err)
	}
	return &s
}

// update changes an object, over conflicts.
func update[T client.Object](n *namespace, obj T, change func(T)) {
	n.T.Helper()
	testcluster.Eventually(n.T, "update "+obj.GetName(), func() error {
		if err := n.Get(n.T.Context(), client.ObjectKey{Name: obj.GetName()}, obj); err != nil {
			return err
		}
		change(obj)
		return n.Update(n.T.Context(), obj)
	})
}

// isReady waits until Ready has the status and the reason.
func (n *namespace) isReady(name string, status metav1.ConditionStatus, reason string) {
	n.T.Helper()
	testcluster.Eventually(n.T, fmt.Sprintf("Ready=%s %s", status, reason), func() error {
		wt := n.token(name)
		c := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != wt.Generation {
			return fmt.Errorf("condition %+v", c)
		}
		return nil
	})
}

// kubectl runs kubectl in the namespace.
func (n *namespace) kubectl(args ...string) string {
	n.T.Helper()
	out, err := n.Kubectl(append([]string{"-n", n.Name}, args...)...).CombinedOutput()
	if err != nil {
		n.T.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// The whole way once: the object goes in, and the Secret comes out as promised.
func TestTheWholeWay(t *testing.T) {
	t.Parallel()
	const length = 4096 // longer than any so far
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{TokenLength: length})
	fake.AddAccount(testAppID, testAppSecret)
	n.operate(url)
	n.create(appSecret(testAppSecret), weChatToken())
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)

	s, wt := n.secret("shop"), n.token("shop")
	value := string(s.Data["access_token"])
	if len(value) != length || !fake.Valid(value) {
		t.Errorf("token of %d bytes, valid %t", len(value), fake.Valid(value))
	}
	if diff := cmp.Diff([]string{"access_token", "appid", "expires_at", "obtained_at"}, sortedKeys(s.Data)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if s.Type != corev1.SecretTypeOpaque || !metav1.IsControlledBy(s, wt) || len(wt.Finalizers) != 0 {
		t.Errorf("type %s, controlled %t, finalizers %v", s.Type, metav1.IsControlledBy(s, wt), wt.Finalizers)
	}
	expires, err := time.Parse(time.RFC3339, string(s.Data["expires_at"]))
	if err != nil || !expires.Equal(wt.Status.ExpirationTime.Time) || !strings.HasSuffix(string(s.Data["expires_at"]), "Z") {
		t.Errorf("expires_at %s (%v), status %s", s.Data["expires_at"], err, wt.Status.ExpirationTime)
	}
	if wt.Status.TokenFingerprint != record.Fingerprint(value) || wt.Status.SecretName != "shop" || wt.Status.ObservedGeneration != wt.Generation {
		t.Errorf("status %+v", wt.Status)
	}

	columns := strings.Fields(strings.Split(n.kubectl("get", "wxt", "shop", "-o", "wide"), "\n")[1])
	want := []string{"shop", "True", "TokenValid", "shop", columns[4], string(s.Data["expires_at"]), columns[6], testAppID, "Stable", wt.Status.NextRefreshTime.UTC().Format(time.RFC3339), "The", "Secret", "holds", "a", "valid", "token"}
	if diff := cmp.Diff(want, columns); diff != "" {
		t.Errorf("kubectl get wxt -o wide (-want +got):\n%s", diff)
	}
	// How long ago, in no time zone.
	if refreshed := columns[4]; !regexp.MustCompile(`^\d+s$`).MatchString(refreshed) {
		t.Errorf("REFRESHED is %q", refreshed)
	}
}

// The user's shell: kubectl wait is right directly after apply, and after a
// refresh request; it never returns early.
func TestKubectlWaitIsRight(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{Latency: 300 * time.Millisecond})
	fake.AddAccount(testAppID, testAppSecret)
	n.create(appSecret(testAppSecret))
	stop := n.operate(url)

	n.create(weChatToken())
	n.kubectl("wait", "--for=condition=Ready", "wxt/shop", "--timeout=60s")
	if !fake.Valid(string(n.secret("shop").Data["access_token"])) {
		t.Error("kubectl wait returned before there was a live token")
	}

	// A new spec: Ready of the old one does not count.
	update(n, n.token("shop"), classic)
	n.kubectl("wait", "--for=condition=Ready", "wxt/shop", "--timeout=60s")
	if got := record.Read(n.secret("shop"), nil); got == nil || got.Token.Mode != v1alpha1.ModeClassic || !fake.Valid(got.Token.Value) {
		t.Error("kubectl wait returned before the new spec had its token")
	}

	// A refresh request: the echo comes with the token.
	before := string(n.secret("shop").Data["access_token"])
	n.kubectl("annotate", "wxt/shop", v1alpha1.AnnotationRefreshRequestedAt+"=now", "--overwrite")
	n.kubectl("wait", "--for=jsonpath={.status.lastHandledRefreshAt}=now", "wxt/shop", "--timeout=60s")
	if got := string(n.secret("shop").Data["access_token"]); got == before || !fake.Valid(got) {
		t.Error("kubectl wait returned before the Secret had the new token")
	}

	// And with nobody there to do it, neither returns.
	stop()
	n.kubectl("annotate", "wxt/shop", v1alpha1.AnnotationRefreshRequestedAt+"=later", "--overwrite")
	update(n, n.token("shop"), func(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = v1alpha1.ModeStable })
	n.create(weChatToken(named("new")))
	for _, args := range [][]string{
		{"wait", "--for=jsonpath={.status.lastHandledRefreshAt}=later", "wxt/shop"},
		{"wait", "--for=condition=Ready", "wxt/shop"},
		{"wait", "--for=condition=Ready", "wxt/new"},
	} {
		if out, err := n.Kubectl(append([]string{"-n", n.Name, "--timeout=2s"}, args...)...).CombinedOutput(); err == nil {
			t.Errorf("kubectl %s returned though nothing was done: %s", strings.Join(args, " "), out)
		}
	}
}

// Whatever happens to the Secrets is seen by the watches, at once.
func TestWatchesSeeEverything(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	n.operate(url)
	n.create(weChatToken())
	n.isReady("shop", metav1.ConditionFalse, v1alpha1.ReasonAppSecretMissing)
	n.create(appSecret(wrongSecret))
	n.isReady("shop", metav1.ConditionFalse, v1alpha1.ReasonAppSecretInvalid)
	update(n, n.secret("shop-app"), setAppSecret(testAppSecret))
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	good := n.secret("shop")

	same := func(what string) {
		t.Helper()
		testcluster.Eventually(t, what, func() error {
			var s corev1.Secret
			if err := n.Get(t.Context(), client.ObjectKey{Name: "shop"}, &s); err != nil {
				return err
			}
			if diff := cmp.Diff(good.Data, s.Data) + cmp.Diff(good.Annotations, s.Annotations) + cmp.Diff(good.Labels, s.Labels); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	}
	if err := n.Delete(t.Context(), n.secret("shop")); err != nil {
		t.Fatal(err)
	}
	same("the deleted Secret is back")
	update(n, n.secret("shop"), func(s *corev1.Secret) { s.Data["access_token"] = []byte("edited") })
	same("the edited token is back")
	update(n, n.secret("shop"), func(s *corev1.Secret) { s.Annotations, s.Labels = nil, nil })
	same("annotations and labels are back")
	update(n, n.secret("shop"), func(s *corev1.Secret) { s.OwnerReferences = nil })
	testcluster.Eventually(t, "the Secret that was given away is taken back", func() error {
		if !metav1.IsControlledBy(n.secret("shop"), n.token("shop")) {
			return errors.New("it has no owner")
		}
		return nil
	})
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonSecretContested) // one repair too many
	if got := fake.Counts("").Stable.Rotations; got != 1 {
		t.Errorf("%d tokens were issued for all this, want 1", got)
	}
}

// Server-side apply: what others own stays theirs, what the spec drops goes,
// and the Secret that moves takes its token along.
func TestFieldsAreSharedFairly(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	n.operate(url)
	n.create(appSecret(testAppSecret), weChatToken(func(wt *v1alpha1.WeChatToken) {
		wt.Spec.Secret = &v1alpha1.TokenSecret{
			Keys:        &v1alpha1.SecretKeys{AccessToken: "WECHAT_TOKEN"},
			Labels:      map[string]v1alpha1.LabelValue{"team": "shop"},
			Annotations: map[string]v1alpha1.AnnotationValue{"example.com/note": "x"},
		}
	}))
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	s := n.secret("shop")
	if s.Labels["team"] != "shop" || s.Annotations["example.com/note"] != "x" || len(s.Data["WECHAT_TOKEN"]) == 0 {
		t.Fatalf("labels %v, annotations %v, keys %v", s.Labels, s.Annotations, sortedKeys(s.Data))
	}
	token := string(s.Data["WECHAT_TOKEN"])
	n.kubectl("label", "secret/shop", "mine=1")
	n.kubectl("patch", "secret/shop", "--type=merge", "-p", `{"data":{"note":"`+base64.StdEncoding.EncodeToString([]byte("x"))+`"}}`)

	update(n, n.token("shop"), func(wt *v1alpha1.WeChatToken) { wt.Spec.Secret = nil })
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	testcluster.Eventually(t, "the Secret follows the spec", func() error {
		s := n.secret("shop")
		want := []string{"access_token", "appid", "expires_at", "note", "obtained_at"}
		if diff := cmp.Diff(want, sortedKeys(s.Data)); diff != "" {
			return errors.New(diff)
		}
		if diff := cmp.Diff(map[string]string{record.LabelName: "shop", record.LabelManagedBy: record.ManagedBy, "mine": "1"}, s.Labels); diff != "" {
			return errors.New(diff)
		}
		if _, ok := s.Annotations["example.com/note"]; ok || string(s.Data["access_token"]) != token {
			return fmt.Errorf("note there %t, token kept %t", ok, string(s.Data["access_token"]) == token)
		}
		return nil
	})

	update(n, n.token("shop"), func(wt *v1alpha1.WeChatToken) { wt.Spec.Secret = &v1alpha1.TokenSecret{Name: "moved"} })
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	testcluster.Eventually(t, "the Secret moves", func() error {
		if err := n.Get(t.Context(), client.ObjectKey{Name: "shop"}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the old Secret: %w", err)
		}
		if got := string(n.secret("moved").Data["access_token"]); got != token {
			return errors.New("another token")
		}
		return nil
	})
	if got := fake.Counts("").Stable.Calls; got != 1 {
		t.Errorf("%d calls to WeChat, want 1", got)
	}
}

// P8, with the real API server's rules for owners.
func TestOneTargetHasOneOwner(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{OpenAccounts: true})
	n.operate(url)
	n.create(appSecret(testAppSecret), weChatToken(named("a"), writing("one")))
	n.isReady("a", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	time.Sleep(1100 * time.Millisecond) // creation times have whole seconds
	n.create(weChatToken(named("b"), writing("one"), func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" }))
	n.isReady("b", metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)

	// b has a target of its own; the older a names it, and does not get it.
	update(n, n.token("b"), writing("two"))
	n.isReady("b", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	update(n, n.token("a"), writing("two"))
	n.isReady("a", metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	s := n.secret("two")
	if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].Name != "b" || string(s.Data["appid"]) == testAppID {
		t.Errorf("owners %v, appid %s; want b's", s.OwnerReferences, s.Data["appid"])
	}

	// b leaves. The garbage collector, which this control plane lacks, takes
	// the Secret; then a has it.
	if err := n.Delete(t.Context(), n.token("b")); err != nil {
		t.Fatal(err)
	}
	if err := n.Delete(t.Context(), n.secret("two")); err != nil {
		t.Fatal(err)
	}
	n.isReady("a", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
}

// The API server changes no data of an immutable Secret, so that it makes room for another.
func TestImmutableSecretMakesRoom(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	n.operate(url)
	n.create(appSecret(testAppSecret), weChatToken())
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	update(n, n.secret("shop"), func(s *corev1.Secret) { s.Immutable = new(true) })
	n.kubectl("annotate", "wxt/shop", v1alpha1.AnnotationRefreshRequestedAt+"=now")
	n.kubectl("wait", "--for=jsonpath={.status.lastHandledRefreshAt}=now", "wxt/shop", "--timeout=60s")
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
}

// Events tell changes, each once, and never more than there is to tell.
func TestEventsTellChanges(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	n.operate(url)
	n.create(appSecret(wrongSecret), weChatToken())
	n.isReady("shop", metav1.ConditionFalse, v1alpha1.ReasonAppSecretInvalid)
	update(n, n.secret("shop-app"), setAppSecret(testAppSecret))
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	n.kubectl("annotate", "wxt/shop", v1alpha1.AnnotationRefreshRequestedAt+"=now")
	n.kubectl("wait", "--for=jsonpath={.status.lastHandledRefreshAt}=now", "wxt/shop", "--timeout=60s")

	want := map[string]int{"Warning AppSecretInvalid": 1, "Normal TokenValid": 1, "Normal Refreshed": 1}
	testcluster.Eventually(t, "three events", func() error {
		var list eventsv1.EventList
		if err := n.List(context.Background(), &list); err != nil {
			return err
		}
		got := map[string]int{}
		for _, e := range list.Items {
			got[e.Type+" "+e.Reason]++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// Foreign conditions fill the list.
func TestForeignConditionsDoNotBlockTheStatus(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	wt := weChatToken()
	n.create(wt)
	for i := range 8 {
		meta.SetStatusCondition(&wt.Status.Conditions, metav1.Condition{Type: fmt.Sprint("X", i), Status: "True", Reason: "X"})
	}
	if err := n.Status().Update(t.Context(), wt); err != nil {
		t.Fatal(err)
	}
	n.operate(url)
	n.create(appSecret(testAppSecret))
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
}

// P8: a Secret that somebody else made between our look and our write is left as
// it is, whatever it holds.
func TestNewSecretIsMergedWithNone(t *testing.T) {
	cases := map[string]struct {
		reason string
		theirs *corev1.Secret
	}{
		"Keys":  {"theirs and ours would be mixed", &corev1.Secret{Data: map[string][]byte{"theirs": []byte("x")}}},
		"Empty": {"to be filled by its maker", &corev1.Secret{}},
	}
	n := newNamespace(t)
	n.create(weChatToken())
	r := New(client.WithFieldOwner(n.Client, record.ManagedBy), secretcache.New(n.Client, schema.GroupKind{}), nil, Options{WeChat: wechat.NewClient("https://wechat", time.Second)})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.theirs.Name = strings.ToLower(name)
			n.create(tc.theirs)
			wt := n.token("shop")
			wt.Spec.Secret = &v1alpha1.TokenSecret{Name: tc.theirs.Name}
			err := r.write(t.Context(), &observation{wt: wt}, plan{write: &record.Record{Token: record.Token{Value: "t"}}})
			if !apierrors.IsConflict(err) {
				t.Errorf("%s: got %v, want a conflict", tc.reason, err)
			}
			if diff := cmp.Diff(tc.theirs, n.secret(tc.theirs.Name)); diff != "" {
				t.Errorf("%s: theirs has changed (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
