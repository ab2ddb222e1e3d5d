//go:build integration

package controllers

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// statuses counts the statuses that a WeChatToken has had since a version of it, up to
// the present one. A watch leaves out none.
func (n *namespace) statuses(since *v1alpha1.WeChatToken) (count int) {
	n.T.Helper()
	present := n.token(since.Name)
	c, err := client.NewWithWatch(n.Config, client.Options{Scheme: n.Scheme()})
	if err != nil {
		n.T.Fatal(err)
	}
	from := &client.ListOptions{Namespace: n.Name, Raw: &metav1.ListOptions{ResourceVersion: since.ResourceVersion}}
	w, err := c.Watch(n.T.Context(), &v1alpha1.WeChatTokenList{}, from)
	if err != nil {
		n.T.Fatal(err)
	}
	defer w.Stop()
	for last := since; last.ResourceVersion != present.ResourceVersion; {
		next, ok := (<-w.ResultChan()).Object.(*v1alpha1.WeChatToken)
		if !ok {
			n.T.Fatal("the watch has ended")
		}
		if !cmp.Equal(last.Status, next.Status) {
			count++
		}
		last = next
	}
	return count
}

// Two controllers write one status. Neither takes back what the other says, and a
// rotation with a restart costs three writes: the new token, and the restart and its
// end. What the controllers of Kubernetes do to workloads and pods, the test does.
func TestTwoControllersShareAStatus(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	labels := map[string]string{"app": "shop"}
	shop := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: "app",
			EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "shop"}}}},
		}}}},
	}}
	n.create(appSecret(testAppSecret), weChatToken(restarting(v1alpha1.RestartTarget{Kind: v1alpha1.KindDeployment, Name: "shop"})), shop)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "shop-a-0", Labels: map[string]string{"app": "shop", appsv1.DefaultDeploymentUniqueLabelKey: "a"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "shop-a", UID: "a", Controller: new(true)}},
	}, Spec: shop.Spec.Template.Spec}
	n.create(pod)
	rolled := func() {
		t.Helper()
		if err := n.Get(t.Context(), client.ObjectKeyFromObject(shop), shop); err != nil {
			t.Fatal(err)
		}
		shop.Status = appsv1.DeploymentStatus{ObservedGeneration: shop.Generation, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2}
		if err := n.Status().Update(t.Context(), shop); err != nil {
			t.Fatal(err)
		}
	}
	rolled()
	n.operate(url, func(o *operation) { o.consumers = true })
	says := func(reason string) {
		t.Helper()
		n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
		testcluster.Eventually(t, reason, func() error {
			if c := meta.FindStatusCondition(n.token("shop").Status.Conditions, v1alpha1.ConditionConsumersCurrent); c == nil || c.Reason != reason {
				return fmt.Errorf("condition %+v", c)
			}
			return nil
		})
	}
	says(v1alpha1.ReasonConsumersUpToDate)
	before := n.token("shop")
	update(n, n.token("shop"), requesting("1"))
	says(v1alpha1.ReasonRestarting)
	testcluster.Eventually(t, "the token is told, and the workload restarted for it", func() error {
		if err := n.Get(t.Context(), client.ObjectKeyFromObject(shop), shop); err != nil {
			return err
		}
		want, s := record.Fingerprint(string(n.secret("shop").Data["access_token"])), n.token("shop").Status
		if got, _, _ := strings.Cut(shop.Annotations["restart.wechattoken.io/shop"], "@"); got != want || s.TokenFingerprint != want || s.LastHandledRefreshAt != "1" {
			return fmt.Errorf("restarted for %q, told %q of request %q, and the Secret holds %q", got, s.TokenFingerprint, s.LastHandledRefreshAt, want)
		}
		return nil
	})
	if err := n.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	rolled()
	says(v1alpha1.ReasonConsumersUpToDate)
	if got := n.statuses(before); got != 3 {
		t.Errorf("the status was written %d times, want 3", got)
	}
}
