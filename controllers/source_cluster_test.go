//go:build integration

package controllers

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// taking makes a WeChatToken take the token of another one.
func taking(from *namespace, name string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) {
		wt.Spec = v1alpha1.WeChatTokenSpec{SourceRef: v1alpha1.SourceReference{Namespace: from.Name, Name: name}, Secret: wt.Spec.Secret}
	}
}

func allowing(some ...*namespace) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) {
		wt.Spec.AllowedNamespaces = nil
		for _, n := range some {
			wt.Spec.AllowedNamespaces = append(wt.Spec.AllowedNamespaces, v1alpha1.AllowedNamespace(n.Name))
		}
	}
}

// serving makes the operator work in further namespaces.
func serving(more ...*namespace) func(*operation) {
	return func(o *operation) {
		for _, n := range more {
			o.options.Cache.DefaultNamespaces[n.Name] = cache.Config{}
		}
	}
}

// holds waits until the Secret "shop" holds a token, and returns its version.
func (n *namespace) holds(token string) (version string) {
	n.T.Helper()
	testcluster.Eventually(n.T, "the token is there", func() error {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
		if err := n.Get(n.T.Context(), client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		if got := string(s.Data["access_token"]); got != token || string(s.Data["appid"]) != testAppID {
			return fmt.Errorf("it is %s of %s", record.Fingerprint(got), s.Data["appid"])
		}
		version = s.ResourceVersion
		return nil
	})
	return version
}

// annotate gives the WeChatToken "shop" an annotation.
func (n *namespace) annotate(key, value string) {
	n.T.Helper()
	update(n, weChatToken(), func(wt *v1alpha1.WeChatToken) { metav1.SetMetaDataAnnotation(&wt.ObjectMeta, key, value) })
}

// says waits until Ready has the reason, and the words in its message, which it returns.
func (n *namespace) says(name, reason string, words ...string) (message string) {
	n.T.Helper()
	testcluster.Eventually(n.T, name+" says "+reason, func() error {
		c := meta.FindStatusCondition(n.token(name).Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Reason != reason {
			return fmt.Errorf("condition %+v", c)
		}
		message = c.Message
		return nil
	})
	for _, word := range words {
		if !strings.Contains(message, word) {
			n.T.Errorf("%s says %q, without %q", name, message, word)
		}
	}
	return message
}

// newTaker makes platform, a namespace with the AppSecret and the WeChatToken, and web one that takes
// its token. operate runs an operator for both.
func newTaker(t *testing.T) (platform, web *namespace, fake *wechattest.Server, operate func() (stop func())) {
	t.Helper()
	platform, web = newNamespace(t), newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	platform.create(appSecret(testAppSecret), weChatToken(allowing(web)))
	web.create(weChatToken(taking(platform, "shop")))
	return platform, web, fake, func() func() { return platform.operate(url, serving(web)) }
}

// current is the token in the Secret of the platform.
func (n *namespace) current() string {
	n.T.Helper()
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	return string(n.secret("shop").Data["access_token"])
}

// P4: a namespace without the AppSecret has each token of its source as soon as that has it.
// A restart costs nothing there, either. A report of an invalid token counts; a refresh is
// forced at the source only.
func TestATakerHasTheTokensOfItsSource(t *testing.T) {
	t.Parallel()
	platform, web, fake, operate := newTaker(t)
	stop := operate()
	first := platform.current()
	web.holds(first)
	testcluster.Eventually(t, "the source names its taker", func() error {
		want := v1alpha1.Takers{Count: 1, Names: []string{web.Name + "/shop"}}
		if diff := cmp.Diff(want, platform.token("shop").Status.Takers); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	platform.annotate(v1alpha1.AnnotationRefreshRequestedAt, "1")
	testcluster.Eventually(t, "the request is handled", func() error {
		if got := platform.token("shop").Status.LastHandledRefreshAt; got != "1" {
			return fmt.Errorf("handled: %q", got)
		}
		return nil
	})
	second := platform.current()
	version := web.holds(second)
	web.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	if said, want := web.kubectl("get", "wxt", "shop", "-o", "wide"), `{"name":"shop","namespace":"`+platform.Name+`"}`; !strings.Contains(said, want) {
		t.Errorf("kubectl get wxt -o wide: there is no %s in\n%s", want, said)
	}

	calls := fake.Counts(testAppID).Stable.Calls
	if second == first || calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
	stop()
	operate()
	web.annotate(v1alpha1.AnnotationRefreshRequestedAt, "2")
	web.says("shop", v1alpha1.ReasonRefreshNotAllowed, "at the source")
	if got := fake.Counts(testAppID).Stable.Calls; got != calls || web.holds(second) != version || web.token("shop").Status.LastHandledRefreshAt != "" {
		t.Errorf("a restart and a request at the taker: %d more calls, its echo is %q", got-calls, web.token("shop").Status.LastHandledRefreshAt)
	}

	fake.Revoke(second)
	web.annotate(v1alpha1.AnnotationInvalidToken, record.Fingerprint(second)+"@now")
	testcluster.Eventually(t, "the invalid token is replaced", func() error {
		if string(platform.secret("shop").Data["access_token"]) == second {
			return errors.New("it is not")
		}
		return nil
	})
	web.holds(string(platform.secret("shop").Data["access_token"]))
}

// Without permission a Secret keeps its token, gets no other, and says so; with it, all
// goes on. So it is when the source is gone.
func TestATakerWithoutPermissionKeepsItsToken(t *testing.T) {
	t.Parallel()
	platform, web, fake, operate := newTaker(t)
	operate()
	first := platform.current()
	version := web.holds(first)
	update(platform, weChatToken(), allowing(platform))
	web.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonSourceNotAllowed)
	platform.annotate(v1alpha1.AnnotationRefreshRequestedAt, "1")
	testcluster.Eventually(t, "the source goes on alone", func() error {
		if s := platform.token("shop").Status; s.LastHandledRefreshAt != "1" || s.Takers.Count != 0 {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	if web.holds(first) != version {
		t.Error("its Secret was written")
	}
	update(platform, weChatToken(), allowing(web))
	second := platform.current()
	web.holds(second)

	calls := fake.Counts(testAppID).Stable.Calls
	if err := platform.Delete(t.Context(), platform.token("shop")); err != nil {
		t.Fatal(err)
	}
	web.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonSourceNotAllowed)
	web.holds(second)
	if got := fake.Counts(testAppID).Stable.Calls; got != calls {
		t.Errorf("%d calls for a source that is gone", got-calls)
	}
}

// Who names a source learns nothing of it: whether it is there, in a namespace that is
// served, an account or a taker itself.
func TestSourcesThatGiveNothingLookAlike(t *testing.T) {
	t.Parallel()
	platform, web, fake, operate := newTaker(t)
	stranger, unserved := newNamespace(t), newNamespace(t)
	unserved.create(appSecret(testAppSecret), weChatToken(allowing(web)))
	platform.create(weChatToken(named("closed")))
	web.create(
		weChatToken(named("a"), taking(platform, "closed")),
		weChatToken(named("b"), taking(platform, "nothing")),
		weChatToken(named("c"), taking(unserved, "shop")),
		weChatToken(named("d"), taking(web, "shop")),
		weChatToken(named("e"), taking(stranger, "shop")),
	)
	operate()
	platform.current()
	messages := map[string]bool{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		ref := web.token(name).Spec.SourceRef
		message := web.says(name, v1alpha1.ReasonSourceNotAllowed)
		message = strings.NewReplacer(fmt.Sprintf("%q", ref.Name), "NAME", fmt.Sprintf("%q", ref.Namespace), "NAMESPACE", fmt.Sprintf("%q", web.Name), "OWN").Replace(message)
		messages[strings.ReplaceAll(message, "OWN", "NAMESPACE")] = true
		if err := web.Get(t.Context(), client.ObjectKey{Name: name}, appSecret("")); client.IgnoreNotFound(err) != nil || err == nil {
			t.Errorf("%s has a Secret: %v", name, err)
		}
	}
	if len(messages) != 1 {
		t.Errorf("the messages differ: %v", messages)
	}
	if got := fake.Counts(testAppID).Stable.Calls; got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
}

// A taker has the tickets that it and its source ask for.
func TestATakerHasTheTicketsOfBoth(t *testing.T) {
	t.Parallel()
	platform, web, _, operate := newTaker(t)
	update(platform, weChatToken(), wanting(v1alpha1.TicketJSAPI))
	update(web, weChatToken(), bothTickets)
	operate()
	web.holds(platform.current())
	testcluster.Eventually(t, "the ticket is in both Secrets", func() error {
		here, there := web.secret("shop").Data, platform.secret("shop").Data
		if ticket := string(there["jsapi_ticket"]); ticket == "" || string(here["jsapi_ticket"]) != ticket || len(here["wx_card_ticket"]) > 0 {
			return errors.New("it is not")
		}
		return nil
	})
	testcluster.Eventually(t, "the other one is told", func() error {
		c := meta.FindStatusCondition(web.token("shop").Status.Conditions, v1alpha1.ConditionTicketsReady)
		if c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "WxCard: The source does not ask for this ticket") {
			return fmt.Errorf("condition %+v", c)
		}
		return nil
	})
}

// While the AppSecret of the source is missing, a taker says so without its name.
func TestATakerDoesNotNameTheAppSecret(t *testing.T) {
	t.Parallel()
	platform, web, _, operate := newTaker(t)
	if err := platform.Delete(t.Context(), appSecret("")); err != nil {
		t.Fatal(err)
	}
	operate()
	if message := web.says("shop", v1alpha1.ReasonAppSecretMissing); strings.Contains(message, "shop-app") {
		t.Errorf("it names the Secret: %s", message)
	}
	platform.create(appSecret(testAppSecret)) // its watch wakes the takers, too
	web.holds(platform.current())
}
