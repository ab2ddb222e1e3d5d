package tokenserver

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// weChatToken is one of many, and secretFor the Secret that the operator has written for it.
func weChatToken(i int) *v1alpha1.WeChatToken {
	return &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: fmt.Sprintf("shop-%d", i), UID: types.UID(fmt.Sprint(i))},
		Spec:       v1alpha1.WeChatTokenSpec{AppID: "wx1"},
	}
}

func secretFor(wt *v1alpha1.WeChatToken) *corev1.Secret {
	return record.Render(wt, record.Record{Token: record.Token{
		Value: "token-" + wt.Name, AppID: "wx1", Mode: v1alpha1.ModeStable, ObtainedAt: now, ExpiresAt: now.Add(time.Hour),
	}}, nil)
}

// Secrets that no WeChatToken names take bounded room. One whose WeChatToken comes later is
// missed then, and taken; none that is named makes room for others.
func TestADroppedSecretIsMissed(t *testing.T) {
	t.Parallel()
	const early = 3 * strangers
	h := newHeld()
	h.putObject(weChatToken(0))
	h.putSecret(secretFor(weChatToken(0)))
	for i := 1; i <= early; i++ {
		h.putSecret(secretFor(weChatToken(i)))
	}
	if got := len(h.spaces["web"].secrets); got > strangers+1 {
		t.Errorf("%d Secrets are held, want %d at most", got, strangers+1)
	}
	missed := 0
	for i := range early + 1 {
		wt := weChatToken(i)
		id := types.NamespacedName{Namespace: wt.Namespace, Name: wt.Name}
		h.putObject(wt)
		if name := h.lacks(id); name != "" {
			if i == 0 {
				t.Error("a Secret made room although its WeChatToken was there")
			}
			missed++
			h.restore(secretFor(wt))
		}
		if _, s := h.get(id); s == nil || s.token.text != "token-"+wt.Name || h.lacks(id) != "" {
			t.Errorf("%s: its Secret is still missing", wt.Name)
		}
	}
	if want := early - strangers; missed != want {
		t.Errorf("%d Secrets were missed, want the %d that were dropped", missed, want)
	}
}
