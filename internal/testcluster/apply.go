package testcluster

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Application is a Secret as a client applies it.
func Application(s *corev1.Secret) runtime.ApplyConfiguration {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	utilruntime.Must(err)
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return client.ApplyConfigurationFromUnstructured(u)
}
