package controllers

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
)

// noVersion is a resource version that no Secret has: to insist on it is to insist
// that there is none. The API server compares it with that of a Secret which is
// there, and passes over it where none is (Update in
// k8s.io/apiserver/pkg/registry/generic/registry/store.go). etcd is at 1 while it
// is empty.
const noVersion = "1"

// application is a Secret as it is applied, and as the API server has answered.
// The answer is read apart: decoded over what was sent, an owner that is not the
// controller would pass for one, and what a webhook took away would still be
// there.
type application struct {
	corev1ac.SecretApplyConfiguration

	is corev1.Secret
}

// applicationOf applies s, which has one owner.
func applicationOf(s *corev1.Secret) *application {
	owner := s.OwnerReferences[0]
	return &application{SecretApplyConfiguration: *corev1ac.Secret(s.Name, s.Namespace).
		WithLabels(s.Labels).
		WithAnnotations(s.Annotations).
		WithOwnerReferences(metav1ac.OwnerReference().
			WithAPIVersion(owner.APIVersion).WithKind(owner.Kind).WithName(owner.Name).WithUID(owner.UID).WithController(*owner.Controller)).
		WithType(s.Type).
		WithData(s.Data)}
}

// UnmarshalJSON reads the answer.
func (a *application) UnmarshalJSON(answer []byte) error {
	a.is = corev1.Secret{}
	return json.Unmarshal(answer, &a.is)
}
