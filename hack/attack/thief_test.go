//go:build integration

package attack

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

func TestTheStolenCredentialMakesNoOtherSecrets(t *testing.T) {
	t.Parallel()
	tried(t, thief, "Secrets that no WeChatToken controls, or of another type: create, overwrite, take, delete")
	shop, who := newNamespace(t, "shop"), clientOf(t, stolen)
	v := newVictim(t, shop)
	owner := []metav1.OwnerReference{*metav1.NewControllerRef(v.WeChatToken, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))}
	must(t, admin.Create(t.Context(), newSecret(shop, "database", map[string]string{"password": "x"})))
	of := func(namespace, name string, secretType corev1.SecretType, owners []metav1.OwnerReference) *corev1.Secret {
		s := newSecret(namespace, name, map[string]string{"access_token": "x"})
		s.Type, s.OwnerReferences = secretType, owners
		if secretType == corev1.SecretTypeServiceAccountToken {
			s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
		}
		return s
	}
	must(t, admin.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "default"}}))
	create := func(s *corev1.Secret) error { return who.Create(t.Context(), s, client.DryRunAll) }
	patch := func(name, body string) error {
		return who.Patch(t.Context(), newSecret(shop, name, nil), merge("%s", body), client.DryRunAll)
	}
	controller := fmt.Sprintf(`"ownerReferences":[{"apiVersion":"wechattoken.io/v1alpha1","kind":"WeChatToken","name":"victim","uid":%q,"controller":true}]`, v.UID)
	attempts := map[string]func() error{
		"make a token of kube-system": func() error {
			return create(of("kube-system", "x", corev1.SecretTypeServiceAccountToken, nil))
		},
		"make a token that a WeChatToken controls": func() error { return create(of(shop, "x", corev1.SecretTypeServiceAccountToken, owner)) },
		"make a TLS key that a WeChatToken controls": func() error {
			s := of(shop, "x", corev1.SecretTypeTLS, owner)
			s.StringData = map[string]string{"tls.key": "", "tls.crt": ""}
			return create(s)
		},
		"make a Secret of nobody": func() error { return create(of(shop, "x", corev1.SecretTypeOpaque, nil)) },
		"make a Secret of a ConfigMap": func() error {
			return create(of(shop, "x", corev1.SecretTypeOpaque, []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: v.UID, Controller: new(true)}}))
		},
		"overwrite a password":     func() error { return patch("database", `{"stringData":{"password":"y"}}`) },
		"take a password":          func() error { return patch("database", `{"metadata":{`+controller+`},"stringData":{"password":"y"}}`) },
		"overwrite an AppSecret":   func() error { return patch("victim-app", `{"stringData":{"appsecret":"y"}}`) },
		"let go of a Secret of it": func() error { return patch("victim", `{"metadata":{"ownerReferences":null}}`) },
		"delete a password":        func() error { return who.Delete(t.Context(), newSecret(shop, "database", nil), client.DryRunAll) },
		"delete an AppSecret":      func() error { return who.Delete(t.Context(), newSecret(shop, "victim-app", nil), client.DryRunAll) },
	}
	// The API server may take some seconds to see a policy.
	allowed := attempts
	for end := time.Now().Add(10 * time.Second); len(allowed) > 0 && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		allowed = map[string]func() error{}
		for what, attempt := range attempts {
			if err := attempt(); err == nil {
				allowed[what] = attempt
			}
		}
	}
	for what := range allowed {
		t.Errorf("the operator may %s", what)
	}
	must(t, create(of(shop, "x", corev1.SecretTypeOpaque, owner)))
	must(t, patch("victim", `{"stringData":{"access_token":"y"}}`))
}

func TestManagedFieldsOfOthersStay(t *testing.T) {
	t.Parallel()
	tried(t, thief, "managedFields, other fields and 100 KB of annotations of pods and workloads")
	shop, who := newNamespace(t, "shop"), clientOf(t, stolen)
	labels, spec := map[string]string{"app": "web"}, corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web", Labels: labels}, Spec: spec}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web"}}
	d.Spec.Selector, d.Spec.Template.Labels, d.Spec.Template.Spec = &metav1.LabelSelector{MatchLabels: labels}, labels, spec
	must(t, admin.Create(t.Context(), p))
	must(t, admin.Create(t.Context(), d))
	t.Cleanup(func() { _ = admin.Delete(context.Background(), p, client.GracePeriodSeconds(0)) })
	restart := `{"metadata":{"annotations":{"restart.wechattoken.io/shop":%q}},"spec":{"template":{"metadata":{"annotations":{"wechattoken.io/restart-turn":%q}}}}}`
	must(t, who.Patch(t.Context(), p.DeepCopy(), merge(`{"metadata":{"annotations":{"wechattoken.io/touched-for":"0123456789abcdef"}}}`), client.DryRunAll))
	must(t, who.Patch(t.Context(), d.DeepCopy(), merge(restart, "0123456789abcdef@2026-11-22T10:00:00Z/1", "1"), client.DryRunAll))
	long := strings.Repeat("x", 100_000)
	for _, attempt := range []struct {
		what string
		on   client.Object
		body string
	}{
		{"wipe managedFields", p, `{"metadata":{"managedFields":[{}]}}`},
		{"wipe managedFields", d, `{"metadata":{"managedFields":[{}]}}`},
		{"annotate with 100 KB", p, `{"metadata":{"annotations":{"wechattoken.io/touched-for":"` + long + `"}}}`},
		{"annotate with 100 KB", d, fmt.Sprintf(restart, long, "1")},
		{"annotate the template with 100 KB", d, fmt.Sprintf(restart, "0123456789abcdef@2026-11-22T10:00:00Z/1", long)},
		{"change the image", p, `{"spec":{"containers":[{"name":"web","image":"evil"}]}}`},
		{"change the image", d, `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"evil"}]}}}}`},
		{"change labels", p, `{"metadata":{"labels":{"app":"evil"}}}`},
		{"scale", d, `{"spec":{"replicas":0}}`},
	} {
		if err := who.Patch(t.Context(), attempt.on.DeepCopyObject().(client.Object), merge("%s", attempt.body), client.DryRunAll); err == nil {
			t.Errorf("the operator may %s of a %T", attempt.what, attempt.on)
		}
	}
}

func TestALeaseOf68YearsHoldsNobody(t *testing.T) {
	tried(t, thief, "a lease of 68 years, of nobody")
	shop, who := newNamespace(t, "shop"), clientOf(t, stolen)
	now := metav1.NowMicro()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorName, Name: operatorName},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: new("nobody"), LeaseDurationSeconds: new(int32(1<<31 - 1)), AcquireTime: &now, RenewTime: &now},
	}
	must(t, who.Create(t.Context(), lease))
	t.Cleanup(func() {
		must(t, client.IgnoreNotFound(admin.Delete(context.Background(), lease)))
		restart(t)
	})
	restart(t, "--leader-elect", "--leader-election-namespace="+operatorName)
	newVictim(t, shop)
}
