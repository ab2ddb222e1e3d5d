//go:build integration

package consumers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

// The status lists who uses the Secret, how, and who restarts them; who sees no new
// token is reported, and what spec.restart names in vain.
func TestConsumersAreReported(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.store("first")
	n.operate()
	n.reports(v1alpha1.ReasonConsumersUpToDate, "No workload uses")
	reloaded := deploymentOf("reloaded", podOf(asEnv("shop")))
	reloaded.Annotations = map[string]string{"reloader.stakater.com/auto": "true"}
	env := workloadFor(v1alpha1.KindStatefulSet, "env", podOf(asEnv("shop"), asFile("shop"))).(*appsv1.StatefulSet)
	n.create(deploymentOf("file", podOf(asFile("shop"))), deploymentOf("other", podOf(asEnv("another"))), reloaded, env)

	consumer := func(kind v1alpha1.WorkloadKind, name string, by v1alpha1.Restarter, uses ...v1alpha1.SecretUse) v1alpha1.Consumer {
		return v1alpha1.Consumer{APIVersion: "apps/v1", Kind: string(kind), Name: name, Uses: uses, RestartedBy: by}
	}
	const ours, reloader = v1alpha1.RestarterOperator, v1alpha1.RestarterReloader
	lists := func(want ...v1alpha1.Consumer) {
		t.Helper()
		testcluster.Eventually(t, "the list of consumers", func() error {
			if diff := cmp.Diff(want, n.token().Status.Consumers); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	}
	lists(
		consumer(v1alpha1.KindDeployment, "file", "", v1alpha1.UseFile),
		consumer(v1alpha1.KindDeployment, "reloaded", reloader, v1alpha1.UseEnv),
		consumer(v1alpha1.KindStatefulSet, "env", "", v1alpha1.UseFile, v1alpha1.UseEnv),
	)
	if c := n.reports(v1alpha1.ReasonConsumersStale, `StatefulSet "env"`); strings.Contains(c.Message, `Deployment "`) {
		t.Errorf("message %s", c.Message)
	}

	// What is implied is left to Reloader; what is named is ours.
	update(n, n.token(), restarting(
		v1alpha1.RestartTarget{Kind: v1alpha1.KindDeployment},
		v1alpha1.RestartTarget{Kind: v1alpha1.KindStatefulSet, Selector: v1alpha1.WorkloadSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": "env"}}},
	))
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	lists(
		consumer(v1alpha1.KindDeployment, "file", "", v1alpha1.UseFile),
		consumer(v1alpha1.KindDeployment, "reloaded", reloader, v1alpha1.UseEnv),
		consumer(v1alpha1.KindStatefulSet, "env", ours, v1alpha1.UseFile, v1alpha1.UseEnv),
	)
	update(n, n.token(), restarting(theDeployment("reloaded"), theDeployment("other"), theDeployment("missing"), v1alpha1.RestartTarget{Kind: v1alpha1.KindStatefulSet, Name: "env"}))
	n.reports(v1alpha1.ReasonRestartTargetMissing, `Deployment "missing"`)
	lists(
		consumer(v1alpha1.KindDeployment, "file", "", v1alpha1.UseFile),
		consumer(v1alpha1.KindDeployment, "other", ours),
		consumer(v1alpha1.KindDeployment, "reloaded", ours, v1alpha1.UseEnv),
		consumer(v1alpha1.KindStatefulSet, "env", ours, v1alpha1.UseFile, v1alpha1.UseEnv),
	)
	n.create(deploymentOf("missing", podOf()))
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	update(n, env, func(s *appsv1.StatefulSet) {
		s.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
	})
	n.reports(v1alpha1.ReasonRestartManual)
	n.remove(env)
	n.reports(v1alpha1.ReasonRestartTargetMissing)
	n.settle()
	if got := slices.DeleteFunc(n.requests.effects(), func(r string) bool { return r == "PATCH wechattokens/shop/status" }); len(got) > 0 {
		t.Errorf("no token was replaced, but %s", got)
	}
}

// What others write of the status stays as it is. Nothing is left of ours when the
// Secret belongs to somebody else, no matter who wrote the condition first.
func TestOnlyOurFieldsAreWritten(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, touching)
	conditionOf := func(kind, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: "theirs", ObservedGeneration: 1, LastTransitionTime: metav1.Now().Rfc3339Copy()}
	}
	theirs := []metav1.Condition{conditionOf(v1alpha1.ConditionReady, v1alpha1.ReasonTokenExpired), conditionOf(v1alpha1.ConditionStalled, v1alpha1.ReasonAppIDInvalid)}
	wt := n.token()
	wt.Status.Conditions = append(slices.Clone(theirs), conditionOf(v1alpha1.ConditionConsumersCurrent, v1alpha1.ReasonConsumersUnwatched))
	wt.Status.SecretName = "shop"
	if err := n.Status().Update(t.Context(), wt); err != nil {
		t.Fatal(err)
	}
	isTheirs := func() {
		t.Helper()
		s := n.token().Status
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionConsumersCurrent)
		if diff := cmp.Diff(theirs, s.Conditions, cmpopts.SortSlices(func(a, b metav1.Condition) bool { return a.Type < b.Type })); diff != "" || s.SecretName != "shop" {
			t.Errorf("secretName %q, their conditions (-want +got):\n%s", s.SecretName, diff)
		}
	}

	n.create(deploymentOf("env", podOf(asEnv("shop"))))
	n.store("first")
	n.operate()
	n.reports(v1alpha1.ReasonConsumersStale) // False, too
	isTheirs()
	update(n, secretShop(), func(s *corev1.Secret) { s.OwnerReferences = nil })
	testcluster.Eventually(t, "nothing is left", func() error {
		if c, list := n.condition(), n.token().Status.Consumers; c.Type != "" || list != nil {
			return fmt.Errorf("%+v %+v", c, list)
		}
		return nil
	})
	isTheirs()
	n.store("first")
	n.reports(v1alpha1.ReasonConsumersStale)
	isTheirs()
}

// Nothing is known of a WeChatToken that is gone, and its touch ends.
func TestWhatIsGoneIsForgotten(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, touching)
	touches, ended := make(chan struct{}), make(chan struct{})
	n.requests.before = func(req *http.Request) {
		if isTouch(req) {
			close(touches)
			<-req.Context().Done()
			close(ended)
		}
	}
	n.pod("a", podOf(asFile("shop")))
	r, _ := n.operate()
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	n.store("first")
	<-touches
	n.remove(weChatToken())
	<-ended
	testcluster.Eventually(t, "it is forgotten", func() error {
		if known, ok := r.memories.Load(types.NamespacedName{Namespace: n.Name, Name: "shop"}); ok {
			return fmt.Errorf("known: %+v", known)
		}
		return nil
	})
}

// A rotation costs one restart, a touch per pod, a list of pods for either, and the
// status at the beginning and the end.
func TestWhatARotationCosts(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, restarting(theDeployment("shop")), touching)
	shop := deploymentOf("shop", podOf(asEnv("shop"), asFile("shop")))
	old := n.run(shop)
	n.store("first")
	n.operate()
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	before := n.settle()
	n.store("second", replacing)
	n.isRestarted(shop, "second")
	n.reports(v1alpha1.ReasonRestarting)
	n.settle()
	n.pods(shop, "b")
	n.remove(old...)
	n.rollTo(shop, finished)
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	n.settle()
	got := map[string]int{}
	for _, request := range n.requests.effects()[before:] {
		request, _, _ = strings.Cut(request, "/shop-a-")
		got[request]++
	}
	want := map[string]int{"PATCH deployments/shop": 1, "PATCH pods": 2, "GET pods": 2, "PATCH wechattokens/shop/status": 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests of a rotation (-want +got):\n%s", diff)
	}
}

// A cache of WeChatTokens that is stale makes nobody report twice.
func TestAStaleCacheReportsNothingTwice(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	r := &Reconciler{Client: n.Client, Secrets: cachedSecrets{n.Client}, Window: testWindow}
	key := types.NamespacedName{Namespace: n.Name, Name: "shop"}
	r.memories.Store(key, &memory{version: "99999999999999999999"})
	result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
	if err != nil || result.RequeueAfter != staleWait || n.condition().Type != "" {
		t.Errorf("got %+v, %v, condition %+v", result, err, n.condition())
	}
}
