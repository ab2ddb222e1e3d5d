//go:build integration

package config_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/testcluster"
)

// Nothing counts here but this test.
func TestAQuotaBoundsTheWeChatTokensOfANamespace(t *testing.T) {
	t.Parallel()
	ns, admin := newNamespace(t), cluster.admin(t)
	quota := only(t, ofKind[corev1.ResourceQuota](t, "ResourceQuota", objectsIn(t, "samples/quota/resource-quota.yaml")))
	quota.Namespace = ns
	if err := admin.Create(t.Context(), &quota); err != nil {
		t.Fatal(err)
	}
	const count = corev1.ResourceName("count/wechattokens.wechattoken.io")
	used := quota.Spec.Hard[count]
	used.Sub(resource.MustParse("1"))
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{count: used}}
	if err := admin.Status().Update(t.Context(), &quota); err != nil {
		t.Fatal(err)
	}
	editor := clientFor(t, cluster.person(t, ns, "editor", name+"-view", name+"-edit"))
	last, more := newPrecious(ns), newPrecious(ns)
	more.SetName("more")
	testcluster.Eventually(t, "the API server has noticed the quota, and there is room for one", func() error {
		return client.IgnoreAlreadyExists(editor.Create(t.Context(), last.DeepCopy()))
	})
	t.Cleanup(func() { cluster.kubectl(t, "delete", "wxt", "--all", "-n", ns) })
	if err := editor.Create(t.Context(), more); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: "+quota.Name) {
		t.Errorf("one more: got %v, want a refusal", err)
	}
}
