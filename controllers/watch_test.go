package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

func TestStripKeepsTheOwnerAlone(t *testing.T) {
	m := secretMetadata()
	m.Labels, m.Annotations = map[string]string{"a": "b"}, map[string]string{"a": "b"}
	m.OwnerReferences = []metav1.OwnerReference{{UID: "u"}}
	m.ManagedFields = []metav1.ManagedFieldsEntry{{}}
	if _, err := StripSecretMetadata(m); err != nil || m.Labels != nil || m.Annotations != nil || m.ManagedFields != nil || len(m.OwnerReferences) != 1 {
		t.Errorf("left: %+v", m.ObjectMeta)
	}
}

// P7: our own writes of the status wake nobody.
func TestStatusWritesPassUnseen(t *testing.T) {
	before, after := weChatToken(), weChatToken()
	after.ResourceVersion, after.Status.SecretName = "2", "shop"
	if asksForSomething.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) {
		t.Error("a write of the status wakes the object")
	}
	bumped("1")(after)
	if !asksForSomething.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) {
		t.Error("a bump wakes nobody")
	}
}
