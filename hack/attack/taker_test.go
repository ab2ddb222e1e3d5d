//go:build integration

package attack

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
)

// newTaker takes the token of a WeChatToken in another namespace.
func newTaker(namespace, name string, source *v1alpha1.WeChatToken) *v1alpha1.WeChatToken {
	return &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.WeChatTokenSpec{SourceRef: v1alpha1.SourceReference{Namespace: source.Namespace, Name: source.Name}},
	}
}

func TestATokenThatIsNotOfferedIsNotTaken(t *testing.T) {
	t.Parallel()
	const n = 100
	tried(t, writer, "sourceRef: %d WeChatTokens that take a token which is offered to another namespace", n)
	platform, web, shop := newNamespace(t, "platform"), newNamespace(t, "web"), newNamespace(t, "shop")
	who := as(t, writer, shop)
	v := newVictim(t, platform, func(wt *v1alpha1.WeChatToken) {
		wt.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespace{v1alpha1.AllowedNamespace(web)}
	})
	calls := weChat.Counts(v.Spec.AppID).Stable.Calls
	inParallel(t, "takers", n, func(i int) error {
		return who.Create(t.Context(), newTaker(shop, fmt.Sprintf("taker-%d", i), v.WeChatToken))
	})
	for i := range n {
		wt := newTaker(shop, fmt.Sprintf("taker-%d", i), v.WeChatToken)
		awaitReason(t, wt, v1alpha1.ReasonSourceNotAllowed)
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(wt), &corev1.Secret{}); !apierrors.IsNotFound(err) {
			t.Fatalf("it has a Secret: %v", err)
		}
	}
	if got := weChat.Counts(v.Spec.AppID).Stable.Calls; got != calls {
		t.Errorf("%d calls for those who may not", got-calls)
	}
	v.refresh(t)
	if readyOf(t, v.WeChatToken); v.Status.Takers.Count != 0 {
		t.Errorf("the source counts %+v", v.Status.Takers)
	}
}

// Who may take a token can report that it is invalid, and neither end it nor use up what
// WeChat allows the account.
func TestATakerSpendsNothing(t *testing.T) {
	n := 100
	if heavy {
		n = 400
	}
	tried(t, refresher, "%d refresh requests and %d reports of an invalid token, on a taker", n, n)
	platform, shop := newNamespace(t, "platform"), newNamespace(t, "shop")
	v := newVictim(t, platform, func(wt *v1alpha1.WeChatToken) {
		wt.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespace{v1alpha1.AllowedNamespace(shop)}
	})
	taker, who := newTaker(shop, "taker", v.WeChatToken), as(t, refresher, shop)
	must(t, admin.Create(t.Context(), taker))
	awaitReason(t, taker, v1alpha1.ReasonTokenValid)
	from, before := time.Now(), weChat.Counts(v.Spec.AppID)
	delaysNobody(t, func() {
		inParallel(t, "requests", n, func(i int) error {
			return who.Patch(t.Context(), nameOf(taker), merge(
				`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"%d","wechattoken.io/invalid-token":"%s@%d"}}}`, i, taker.Status.TokenFingerprint, i))
		})
	})
	v.check(t)
	after := weChat.Counts(v.Spec.AppID)
	if after.Forced != before.Forced || v.has() != string(secretOf(t, shop, "taker").Data["access_token"]) {
		t.Errorf("%d forced calls", after.Forced-before.Forced)
	}
	// Of 500,000 a day, which are 5 a second.
	if calls, limit := after.Stable.Calls-before.Stable.Calls, 3+int(time.Since(from)/time.Second); calls > limit {
		t.Errorf("%d plain calls in %s, want at most %d", calls, time.Since(from).Round(time.Second), limit)
	}
}

// Who may edit the Secret of a taker need not have the AppSecret, so nothing that they
// write there is signed with it.
func TestATakersTicketReachesNobody(t *testing.T) {
	t.Parallel()
	tried(t, editor, "a forged ticket on the Secret of a taker")
	platform, evil := newNamespace(t, "platform"), newNamespace(t, "evil")
	v := newVictim(t, platform, func(wt *v1alpha1.WeChatToken) {
		wt.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespace{v1alpha1.AllowedNamespace(evil)}
		wt.Spec.Tickets = []v1alpha1.TicketType{v1alpha1.TicketJSAPI}
	})
	taker, who := newTaker(evil, "taker", v.WeChatToken), as(t, editor, evil)
	taker.Spec.Tickets = v.Spec.Tickets
	must(t, admin.Create(t.Context(), taker))
	awaitReason(t, taker, v1alpha1.ReasonTokenValid)
	var ticket string
	testcluster.Eventually(t, "the taker has a ticket, and then a forged one", func() error {
		s := secretOf(t, evil, taker.Name)
		if ticket = string(s.Data["jsapi_ticket"]); ticket == "" {
			return errors.New("there is none")
		}
		r := freshRecord(v.WeChatToken, string(s.Data["access_token"]))
		forgeries["ticket"].record(&r)
		s.Annotations[record.Annotation] = record.Render(taker, r, wrongKey).Annotations[record.Annotation]
		s.Data["jsapi_ticket"] = []byte(forged)
		return who.Update(t.Context(), s)
	})
	testcluster.Eventually(t, "it is repaired", func() error {
		if got := string(secretOf(t, evil, taker.Name).Data["jsapi_ticket"]); got != ticket {
			return fmt.Errorf("it holds %q", got)
		}
		return nil
	})
}
