//go:build integration

package consumers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

// shortly makes pods old enough for an eviction, and old tokens invalid, in little time.
func shortly(r *Reconciler) { r.Window = 16 * time.Second }

// evicting makes a WeChatToken evict the pods of a workload.
func evicting(apiVersion string, kind v1alpha1.WorkloadKind, name string) func(*v1alpha1.WeChatToken) {
	return restarting(v1alpha1.RestartTarget{APIVersion: apiVersion, Kind: kind, Name: name, Method: v1alpha1.RestartByEviction})
}

// ready makes pods so.
func (n *namespace) ready(pods ...client.Object) {
	n.T.Helper()
	for _, o := range pods {
		pod := o.(*corev1.Pod)
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		if err := n.Status().Update(n.T.Context(), pod); err != nil {
			n.T.Fatal(err)
		}
	}
}

// left waits until of some pods so many are left, and returns them.
func (n *namespace) left(want int, pods ...client.Object) (left []client.Object) {
	n.T.Helper()
	testcluster.Eventually(n.T, fmt.Sprintf("%d of the pods are left", want), func() error {
		left = nil
		for _, pod := range pods {
			if err := n.Get(n.T.Context(), client.ObjectKeyFromObject(pod), pod); err == nil {
				left = append(left, pod)
			} else if client.IgnoreNotFound(err) != nil {
				return err
			}
		}
		if len(left) != want {
			return fmt.Errorf("%d are", len(left))
		}
		return nil
	})
	return left
}

// An eviction replaces the pods one after the other, when those that replace them are
// ready; a new process goes on where the last one was. The workload does not change. The
// next token waits until the pods have run for half a window.
func TestEvictionsReplacePodsOneByOne(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, evicting("", v1alpha1.KindDeployment, "shop"))
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	old := n.run(shop)
	n.ready(old...)
	n.store("first")
	_, stop := n.operate(shortly)
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	time.Sleep(pause(16 * time.Second))
	one := livePod{name: old[0].GetName(), uid: "of an earlier pod with this name"}
	if err := (&Reconciler{Client: n.Client}).evictPod(t.Context(), n.Name, one); err != nil {
		t.Error(err)
	}
	n.left(2, old...)
	n.store("second", replacing)
	old = n.left(1, old...)
	n.reports(v1alpha1.ReasonRestarting)
	time.Sleep(evictAgain + time.Second)
	n.left(1, old...)
	stop()
	young := n.pods(shop, "b")
	n.ready(young...)
	n.operate(shortly)
	n.left(0, old...)
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	if got := n.requests.seen("PATCH deployments", "POST pods"); len(got) != 2 {
		t.Errorf("the restart took %s", got)
	}
	n.store("third", replacing)
	n.left(1, young...)
	if generation := shop.Generation; n.restartedFor(shop) != "" || shop.Generation != generation {
		t.Errorf("the Deployment has changed: %+v", shop)
	}
}

// What keeps pods from going is told, and they go as soon as it does not: a suspension, a
// PodDisruptionBudget, a permission that the operator lacks.
func TestEvictionsThatWaitAreReported(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, evicting("apps/v1", v1alpha1.KindDeployment, "shop"), func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = true })
	refusing := n.refuse(func(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, "/eviction") })
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	old := n.run(shop)
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: policyv1.PodDisruptionBudgetSpec{Selector: shop.Spec.Selector}}
	n.create(budget)
	// Nobody has looked at it yet: to wait would hold up other workloads.
	r := &Reconciler{Client: n.Client}
	if err := r.evictPod(t.Context(), n.Name, livePod{name: old[0].GetName(), uid: old[0].GetUID()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an eviction that the API server puts off: %v", err)
	}
	budget.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: budget.Generation, ExpectedPods: 2, DesiredHealthy: 2, CurrentHealthy: 1}
	if err := n.Status().Update(t.Context(), budget); err != nil {
		t.Fatal(err)
	}
	n.store("second", replacing)
	n.operate(func(r *Reconciler) { r.Window = time.Minute })
	n.reports(v1alpha1.ReasonRestartWaits, "spec.suspend")
	time.Sleep(30 * time.Second)
	update(n, n.token(), func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = false })
	n.reports(v1alpha1.ReasonRestartRefused, `Deployment "shop"`, "the policy of the house")
	refusing.Store(false)
	n.reports(v1alpha1.ReasonRestartLate, "a PodDisruptionBudget lets no more of its pods go")
	n.left(2, old...)
	n.remove(budget)
	n.left(0, old...)
	n.reports(v1alpha1.ReasonConsumersUpToDate)
}

// rollouts is a kind as that of Argo Rollouts: a scale, and ReplicaSets between it and its pods.
const rollouts = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io, annotations: {api-approved.kubernetes.io: unapproved}}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {plural: rollouts, singular: rollout, kind: Rollout, listKind: RolloutList}
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
      subresources: {scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}}
`

// Of another kind the scale says how many pods there should be and which labels they
// have; only those that it controls go, by its own hand or through a ReplicaSet.
func TestPodsOfAnyKindAreEvicted(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, restarting(
		v1alpha1.RestartTarget{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Method: v1alpha1.RestartByEviction},
		v1alpha1.RestartTarget{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "gone", Method: v1alpha1.RestartByEviction},
	))
	_, stop := n.operate(shortly)
	n.store("first")
	n.reports(v1alpha1.ReasonRestartTargetMissing, `Rollout "gone" of argoproj.io/v1alpha1`) // nor is there the kind
	stop()

	crd, api := &unstructured.Unstructured{}, &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(rollouts), &crd.Object); err != nil {
		t.Fatal(err)
	}
	if err := n.All.Create(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	api.Object = map[string]any{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": map[string]any{"name": "api"}, "spec": map[string]any{"replicas": int64(2)}, "status": map[string]any{"selector": "app=api"}}
	testcluster.Eventually(t, "the kind is served", func() error { return n.Create(t.Context(), api) })
	labels := map[string]string{"app": "api"}
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "api-5d4f"}, Spec: appsv1.ReplicaSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podOf(asEnv("shop"))},
	}}
	ownedBy("argoproj.io/v1alpha1", "Rollout", api)(set)
	n.create(set)
	pod := func(name string, owned func(client.Object)) client.Object {
		return n.pod(name, podOf(asEnv("shop")), func(pod *corev1.Pod) { pod.Labels = labels; owned(pod) })
	}
	old := []client.Object{pod("api-1", ownedBy("apps/v1", "ReplicaSet", set)), pod("api-2", ownedBy("argoproj.io/v1alpha1", "Rollout", api))}
	others := []client.Object{pod("other-1", ownedBy("example.com/v1", "Clone", crd)), pod("single", func(client.Object) {})}
	update(n, n.token(), func(wt *v1alpha1.WeChatToken) { wt.Spec.Restart.Workloads = wt.Spec.Restart.Workloads[:1] })
	refusing := n.refuse(func(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, "/api/scale") })
	n.operate(shortly)
	n.reports(v1alpha1.ReasonRestartRefused, `Rollout "api" of argoproj.io/v1alpha1`)
	refusing.Store(false)
	time.Sleep(pause(16 * time.Second))
	n.store("second", replacing)
	n.left(0, old...) // they are not ready: nothing is lost
	n.left(2, others...)
	n.reports(v1alpha1.ReasonConsumersStale, `Pod "single"`)
	want := []v1alpha1.Consumer{
		{APIVersion: "example.com/v1", Kind: "Clone", Name: crd.GetName(), Uses: []v1alpha1.SecretUse{v1alpha1.UseEnv}},
		{APIVersion: "v1", Kind: "Pod", Name: "single", Uses: []v1alpha1.SecretUse{v1alpha1.UseEnv}},
		{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "api", Uses: []v1alpha1.SecretUse{v1alpha1.UseEnv}, RestartedBy: v1alpha1.RestarterOperator},
	}
	if diff := cmp.Diff(want, n.token().Status.Consumers); diff != "" {
		t.Errorf("consumers (-want +got):\n%s", diff)
	}
}
