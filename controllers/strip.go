package controllers

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

// Strip is the cache transform for WeChatTokens: of the metadata it keeps what is
// read here. Otherwise a tenant who may create WeChatTokens fills the memory of the
// operator: an object has room for 256 KiB of annotations, for labels, owners and
// managedFields. The CRD bounds the spec.
func Strip(obj any) (any, error) {
	wt, ok := obj.(*v1alpha1.WeChatToken)
	if !ok {
		return obj, nil
	}
	m := &wt.ObjectMeta
	var annotations map[string]string
	if value := requestOn(wt); value != "" { // a part of a string keeps all of it in memory
		annotations = map[string]string{v1alpha1.AnnotationRefreshRequestedAt: strings.Clone(value)}
	}
	if report, _ := reportOn(wt); report != "" {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1alpha1.AnnotationInvalidToken] = report
	}
	*m = metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp, Annotations: annotations,
	}
	return wt, nil
}
