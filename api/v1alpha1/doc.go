// Package v1alpha1 is the API of wechat-token-operator: the kind WeChatToken
// and the annotations its users set.
//
// +kubebuilder:object:generate=true
// +groupName=wechattoken.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of this package.
var GroupVersion = schema.GroupVersion{Group: "wechattoken.io", Version: "v1alpha1"}

// Kind is the kind of a WeChatToken.
const Kind = "WeChatToken"

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &WeChatToken{}, &WeChatTokenList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
