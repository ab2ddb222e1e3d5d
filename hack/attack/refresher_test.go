//go:build integration

package attack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

func TestARefresherChangesNothingElse(t *testing.T) {
	t.Parallel()
	tried(t, refresher, "the spec, labels, finalizers, owners, other annotations, the status, the Secrets")
	shop := newNamespace(t, "shop")
	v, who := newVictim(t, shop), as(t, refresher, shop)
	must(t, who.Patch(t.Context(), nameOf(v.WeChatToken), merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1"}}}`), client.DryRunAll))
	for _, body := range []string{
		`{"spec":{"appID":"wx0123456789abcdef"}}`, `{"spec":{"secret":{"name":"moved"}}}`, `{"spec":{"suspend":true}}`,
		`{"metadata":{"labels":{"a":"b"}}}`, `{"metadata":{"finalizers":["example.com/keep"]}}`, `{"metadata":{"managedFields":[{}]}}`,
		`{"metadata":{"annotations":{"example.com/a":"b"}}}`, `{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}}}`,
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"5b1ad7a1-8a39-4dbd-a7b6-92dbb3a8e2b7"}]}}`,
		`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"` + strings.Repeat("x", 300) + `"}}}`,
		`{"metadata":{"annotations":{"wechattoken.io/invalid-token":"` + v.has() + `"}}}`,
		`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"2"}},"spec":{"mode":"Classic"}}`,
	} {
		if err := who.Patch(t.Context(), nameOf(v.WeChatToken), merge("%s", body), client.DryRunAll); err == nil {
			t.Errorf("a refresher may patch %.80s", body)
		} else if strings.Contains(err.Error(), v.has()) {
			t.Error("the refusal quotes the token")
		}
	}
	for what, err := range map[string]error{
		"write the status": who.Status().Patch(t.Context(), nameOf(v.WeChatToken), merge(`{"status":{"secretName":"x"}}`), client.DryRunAll),
		"create":           who.Create(t.Context(), newWeChatToken(shop, "new", newAppID()), client.DryRunAll),
		"delete":           who.Delete(t.Context(), v.DeepCopy(), client.DryRunAll),
		"read the Secret":  who.Get(t.Context(), client.ObjectKey{Namespace: shop, Name: "victim"}, &corev1.Secret{}),
		"list Secrets":     who.List(t.Context(), &corev1.SecretList{}, client.InNamespace(shop)),
	} {
		if err == nil {
			t.Errorf("a refresher may %s", what)
		}
	}
}

// Who owns a field can have it removed, or kept.
func TestARefresherOwnsNoFields(t *testing.T) {
	t.Parallel()
	tried(t, refresher, "managedFields: the name of each manager, those of the status included")
	v := newVictim(t, newNamespace(t, "shop"))
	who := as(t, refresher, v.Namespace)
	for i, of := range v.ManagedFields {
		owner := client.RawPatch(types.JSONPatchType, fmt.Appendf(nil, `[{"op":"replace","path":"/metadata/managedFields/%d/manager","value":"me"}]`, i))
		if err := who.Patch(t.Context(), nameOf(v.WeChatToken), owner, client.DryRunAll); err == nil {
			t.Errorf("a refresher may become the owner of the fields of %s (%s)", of.Manager, of.Subresource)
		}
	}
}

func TestAFloodOfRequestsAndReportsIsBounded(t *testing.T) {
	n := 100
	if heavy {
		n = 400
	}
	tried(t, refresher, "%d refresh requests and %d reports of an invalid token", n, n)
	shop := newNamespace(t, "shop")
	v, who := newVictim(t, shop), as(t, refresher, shop)
	from, before := time.Now(), weChat.Counts(v.Spec.AppID)
	delaysNobody(t, func() {
		inParallel(t, "requests", n, func(i int) error {
			return who.Patch(t.Context(), nameOf(v.WeChatToken), merge(
				`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"%d","wechattoken.io/invalid-token":"%s@%d"}}}`, i, v.Status.TokenFingerprint, i))
		})
	})
	v.check(t)
	after := weChat.Counts(v.Spec.AppID)
	forced, checks := after.Forced-before.Forced, after.Business.Calls-before.Business.Calls
	t.Logf("%d forced calls and %d checks in %s", forced, checks, time.Since(from).Round(time.Second))
	// WeChat wants 30 s between two forced calls. A check takes no more than one report.
	if limit := 1 + int(time.Since(from)/(30*time.Second)); forced > limit {
		t.Errorf("%d forced calls, want at most %d", forced, limit)
	}
	if limit := 10 + int(time.Since(from)/time.Second); checks > limit {
		t.Errorf("%d checks, want at most %d", checks, limit)
	}
}

func TestASecretThatIsChangedBackIsNoFight(t *testing.T) {
	const n = 60
	tried(t, editor, "%d changes of the Secret of the editor's WeChatToken", n)
	v := newVictim(t, newNamespace(t, "evil"))
	who := as(t, editor, v.Namespace)
	from, calls := time.Now(), weChat.Counts(v.Spec.AppID).Stable.Calls
	delaysNobody(t, func() {
		for i := range n {
			must(t, who.Patch(t.Context(), newSecret(v.Namespace, v.Name, nil), merge(`{"metadata":{"labels":{"wechattoken.io/name":"x-%d"}}}`, i)))
			time.Sleep(50 * time.Millisecond) // for a repair
		}
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	if limit := 2 + int(time.Since(from)/(10*time.Second)); v.repairs > limit {
		t.Errorf("the Secret was repaired %d times in %s, want at most %d", v.repairs, time.Since(from).Round(time.Second), limit)
	}
	if more := weChat.Counts(v.Spec.AppID).Stable.Calls - calls; more > 1 {
		t.Errorf("WeChat was asked for a token %d times", more)
	}
}

// An immutable Secret is replaced. One that its finalizers keep cannot be: the operator says
// so, and does not delete it again and again.
func TestAnImmutableSecretThatStaysIsNoFight(t *testing.T) {
	t.Parallel()
	tried(t, editor, "an immutable Secret with another token, and a finalizer")
	wt := newWeChatToken(newNamespace(t, "evil"), "shop", newAppID())
	create(t, admin, wt, weChat.newAccount(wt.Spec.AppID))
	awaitReason(t, wt, v1alpha1.ReasonTokenValid)
	who, s := as(t, editor, wt.Namespace), newSecret(wt.Namespace, wt.TokenSecretName(), nil)
	must(t, who.Patch(t.Context(), s, merge(`{"immutable":true,"metadata":{"finalizers":["example.com/stays"]},"data":{"access_token":"eA=="}}`)))
	awaitReason(t, wt, v1alpha1.ReasonSecretRefused)
	must(t, who.Patch(t.Context(), s, merge(`{"metadata":{"finalizers":null}}`)))
	awaitReason(t, wt, v1alpha1.ReasonTokenValid)
}
