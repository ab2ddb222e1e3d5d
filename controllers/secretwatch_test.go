package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What is held after a write is what stands in the cluster, and not what was
// meant to stand there.
func TestTheAnswerIsHeld(t *testing.T) {
	n := newNamespace(t)
	n.create(weChatToken())
	o := observed{wt: n.token("shop")}
	r := &WeChatTokenReconciler{Client: client.WithFieldOwner(n.Client, managedBy)}
	r.secrets.name(client.ObjectKeyFromObject(o.wt), names{target: "shop", appSecret: "shop-app"})
	write := func(token string) {
		t.Helper()
		if err := r.write(t.Context(), o, &issued{value: token, fingerprint: fingerprint(token)}); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	// A person adds an owner before ours.
	update(n, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, func(s *corev1.Secret) {
		theirs := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "theirs", UID: "theirs"}
		s.OwnerReferences = append([]metav1.OwnerReference{theirs}, s.OwnerReferences...)
	})
	o.secret = n.secret("shop")
	write("two")

	want, got := n.secret("shop"), r.secrets.recall(client.ObjectKeyFromObject(o.wt))
	want.ManagedFields = nil
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(metav1.TypeMeta{})); diff != "" {
		t.Errorf("what is held (-there +held):\n%s", diff)
	}
}
