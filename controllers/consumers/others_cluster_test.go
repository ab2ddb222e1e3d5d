//go:build integration

package consumers

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

// ownedBy makes an object one of a controller.
func ownedBy(apiVersion, kind string, owner client.Object) func(client.Object) {
	return func(obj client.Object) {
		obj.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: new(true)}})
	}
}

// podIn is a running pod of a controller.
func (n *namespace) podIn(name string, spec corev1.PodSpec, owned func(client.Object)) *corev1.Pod {
	n.T.Helper()
	return n.pod(name, spec, func(pod *corev1.Pod) { owned(pod) })
}

// crd stands for an object of a kind that this API server does not have.
func crd(name string) client.Object {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
}

// isListed waits until status.consumers has these, as "Kind/name uses".
func (n *namespace) isListed(want ...string) {
	n.T.Helper()
	testcluster.Eventually(n.T, "the list of consumers", func() error {
		var got []string
		for _, c := range n.token().Status.Consumers {
			got = append(got, fmt.Sprintf("%s %s/%s %v", c.APIVersion, c.Kind, c.Name, c.Uses))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// Whatever controls the pods that use the Secret is named, though nobody watches it.
func TestConsumersOfAnyKindAreFoundThroughTheirPods(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}}, Spec: podOf(asEnv("shop"))}
	nightly := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "nightly"}, Spec: batchv1.CronJobSpec{Schedule: "0 0 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}}
	nightly.Spec.JobTemplate.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "api-5d4f"}, Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template}}
	ownedBy("argoproj.io/v1alpha1", "Rollout", crd("api"))(set)
	n.create(nightly, set)
	n.run(deploymentOf("web", podOf(asFile("shop"))))
	rollout := n.podIn("api-5d4f-1", podOf(asEnv("shop")), ownedBy("apps/v1", "ReplicaSet", set))
	n.podIn("clone-1", podOf(asFile("shop")), ownedBy("apps.kruise.io/v1alpha1", "CloneSet", crd("clone")))
	n.podIn("other-1", podOf(asEnv("theirs")), ownedBy("apps.kruise.io/v1alpha1", "CloneSet", crd("other")))
	n.podIn("import-1", podOf(asEnv("shop")), ownedBy("batch/v1", "Job", crd("import")))
	n.pod("debug", podOf(asFile("shop")))
	ended := n.pod("ended", podOf(asEnv("shop")))
	ended.Status.Phase = corev1.PodSucceeded
	if err := n.Status().Update(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	n.store("first")
	_, stop := n.operate()
	all := []string{
		"apps.kruise.io/v1alpha1 CloneSet/clone [File]", "batch/v1 CronJob/nightly [Env]", "apps/v1 Deployment/web [File]",
		"batch/v1 Job/import [Env]", "v1 Pod/debug [File]", "argoproj.io/v1alpha1 Rollout/api [Env]",
	}
	n.isListed(all...)
	n.reports(v1alpha1.ReasonConsumersStale, `Rollout "api" of argoproj.io/v1alpha1: the Secret is used`)
	effects := n.settle()
	n.store("second", replacing)
	n.settle()
	if got := len(n.requests.seen("GET running pods")); got != 1 {
		t.Errorf("%d scans within a minute", got)
	}

	// The status keeps them over a restart, and the next process looks itself.
	stop()
	n.remove(rollout)
	n.operate()
	n.isListed(all[:5]...)
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	if got := n.requests.effects()[effects:]; len(got) != 1 {
		t.Errorf("effects %q, want one status", got)
	}
}

// A role of an earlier version lacks what a scan needs: that is said, and the rest works.
func TestARefusedScanIsReported(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.refuse(func(req *http.Request) bool { return strings.HasSuffix(req.URL.Path, "/cronjobs") })
	n.run(deploymentOf("web", podOf(asFile("shop"))))
	n.store("first")
	n.operate()
	n.reports(v1alpha1.ReasonConsumersUpToDate, "There may be others", "denied by the policy")
	n.isListed("apps/v1 Deployment/web [File]")
}
