//go:build integration

package config_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Its pods pass restricted Pod Security, what sets it up may make the AppSecret and the
// WeChatToken, and its operator does its work with Roles.
func TestTheTrialNeedsNothingButItsNamespace(t *testing.T) {
	t.Parallel()
	installed(t)
	admin := cluster.admin(t)
	for _, o := range objects(t, "trial") {
		if o.GetKind() == "CustomResourceDefinition" { // that of the other tests stays as it is
			continue
		}
		if err := admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(&o), client.FieldOwner("test"), client.ForceOwnership); err != nil {
			t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	for of, spec := range trialPods(t) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: of, Namespace: trial}, Spec: spec}
		if err := admin.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Errorf("%s: %v", of, err)
		}
	}

	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	shop := objectsIn(t, "trial/shop.yaml")[0]
	shop.SetNamespace(trial)
	fake.AddAccount(only(t, ofKind[v1alpha1.WeChatToken](t, "WeChatToken", []unstructured.Unstructured{shop})).Spec.AppID, appSecret)
	setup := clientFor(t, cluster.serviceAccount(t, trial, "setup"))
	app := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop-app", Namespace: trial}, StringData: map[string]string{"appsecret": appSecret}}
	for _, o := range []client.Object{app, &shop} {
		testcluster.Eventually(t, "setup may make "+o.GetName(), func() error { return client.IgnoreAlreadyExists(setup.Create(t.Context(), o)) })
	}
	cluster.operate(t, cluster.serviceAccount(t, trial, name), url, "--namespaces="+trial)
	cluster.awaitReady(t, trial, "shop")
}
