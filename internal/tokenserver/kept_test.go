package tokenserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// What a list collects until it is complete is as good as the whole, and small.
func TestOfAForgedSecretNothingLargeIsKept(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 100_000)
	cases := map[string]struct {
		reason string
		forge  func(*corev1.Secret)
		kept   bool
	}{
		"Ours": {"The operator has written it.", func(*corev1.Secret) {}, true},
		"OtherKeys": {"The values are in other keys, and there are others.", func(s *corev1.Secret) {
			s.Data = map[string][]byte{"t": s.Data["access_token"], "j": s.Data["jsapi_ticket"], "x": []byte(large)}
		}, true},
		"ManyKeys": {"One value is in many.", func(s *corev1.Secret) {
			for i := range 10_000 {
				s.Data[fmt.Sprint(i)] = s.Data["access_token"]
			}
		}, true},
		"Metadata": {"Nobody reads it.", func(s *corev1.Secret) {
			s.Annotations["a"], s.Finalizers, s.GenerateName = large, []string{large}, large
		}, true},
		"Token":       {"It is none.", func(s *corev1.Secret) { s.Data["access_token"] = []byte(large) }, false},
		"Record":      {"It is none.", func(s *corev1.Secret) { s.Annotations[record.Annotation] += large }, false},
		"OwnersName":  {"There is no such name.", func(s *corev1.Secret) { s.OwnerReferences[0].Name = large }, false},
		"OwnersUID":   {"There is no such UID.", func(s *corev1.Secret) { s.OwnerReferences[0].UID = types.UID(large) }, false},
		"OtherOwner":  {"It is no WeChatToken.", func(s *corev1.Secret) { s.OwnerReferences[0].Kind = "Pod"; s.Data["x"] = []byte(large) }, false},
		"NobodysData": {"It has no owner.", func(s *corev1.Secret) { s.OwnerReferences = nil; s.Data["x"] = []byte(large) }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wt := &v1alpha1.WeChatToken{
				ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop", UID: "1"},
				Spec:       v1alpha1.WeChatTokenSpec{AppID: "wx1", Tickets: []v1alpha1.TicketType{v1alpha1.TicketJSAPI}},
			}
			s := record.Render(wt, record.Record{
				Token:   record.Token{Value: "token", AppID: "wx1", Mode: v1alpha1.ModeStable, ObtainedAt: now, ExpiresAt: now.Add(time.Hour)},
				Tickets: record.Tickets{{Value: "ticket", FirstSeen: now, Life: time.Hour, ExpiresAt: now.Add(time.Hour)}},
			}, nil)
			tc.forge(s)
			whole, stripped := secretOf(s), stripSecret(s)
			if diff := cmp.Diff(whole, secretOf(stripped), cmp.AllowUnexported(secret{}, value{})); diff != "" || tc.kept != (whole != nil) {
				t.Errorf("%s\nkept %t, want %t (-whole +stripped):\n%s", tc.reason, whole != nil, tc.kept, diff)
			}
			if size := stripped.Size(); size > 16<<10 {
				t.Errorf("%s\n%d bytes are kept", tc.reason, size)
			}
		})
	}
}
