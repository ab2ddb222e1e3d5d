package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

// What a user puts on a WeChatToken is not kept, but for what is asked for there.
func TestTheCacheKeepsWhatIsRead(t *testing.T) {
	t.Parallel()
	now := metav1.NewTime(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))
	of := func(annotations map[string]string, mods ...func(*v1alpha1.WeChatToken)) *v1alpha1.WeChatToken {
		wt := weChatToken(mods...)
		wt.ObjectMeta = metav1.ObjectMeta{
			Name: "shop", Namespace: "web", UID: "uid", ResourceVersion: "7", Generation: 2,
			CreationTimestamp: now, DeletionTimestamp: &now, Annotations: annotations,
		}
		return wt
	}
	large := func(wt *v1alpha1.WeChatToken) {
		wt.Labels = map[string]string{"team": "shop"}
		wt.Finalizers, wt.GenerateName = []string{"example.com/a"}, "shop-"
		wt.OwnerReferences = []metav1.OwnerReference{{Name: "a"}}
		wt.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
		metav1.SetMetaDataAnnotation(&wt.ObjectMeta, "kubectl.kubernetes.io/last-applied-configuration", strings.Repeat("a", 240<<10))
	}
	request, report := v1alpha1.AnnotationRefreshRequestedAt, v1alpha1.AnnotationInvalidToken
	cases := map[string]struct {
		reason     string
		is, expect map[string]string // annotations
	}{
		"Nothing": {"Nobody asks for anything.", nil, nil},
		"Request": {"It is handled.", map[string]string{request: "now"}, map[string]string{request: "now"}},
		"Long":    {"Of a long one so much counts.", map[string]string{request: strings.Repeat("a", 1000)}, map[string]string{request: strings.Repeat("a", maxRequest)}},
		"Report":  {"It is handled.", map[string]string{report: "0123456789abcdef@1"}, map[string]string{report: "0123456789abcdef@1"}},
		"Token":   {"It may be a token, by mistake.", map[string]string{report: "98_token"}, nil},
		"Both":    {"", map[string]string{request: "1", report: "0123456789abcdef"}, map[string]string{request: "1", report: "0123456789abcdef"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := of(tc.is)
			large(is)
			got, err := Strip(is)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(any(of(tc.expect)), got); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
