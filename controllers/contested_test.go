package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// fight lets somebody change the Secret back as soon as it is repaired, for a while. It
// returns how often the operator has written it in each minute.
func (w *world) fight(minutes int, change func(*corev1.Secret)) (writes []int) {
	for range minutes {
		before := w.secretWrites
		for range 60 {
			w.edit("shop", change)
			w.run(time.Second)
		}
		writes = append(writes, w.secretWrites-before)
	}
	return writes
}

// Who rewrites a label of ours costs few writes, and is told; then all is well again.
func TestFightOverALabelGetsSlower(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		writes := w.fight(20, func(s *corev1.Secret) { s.Labels[record.LabelManagedBy] = "policy" })
		if total := sum(writes); writes[0] > 3 || total > 10 {
			t.Errorf("%v writes by the minute, want 3 in the first and 10 in all", writes)
		}
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonSecretContested)
		w.run(5 * time.Minute)
		if got := w.secret("shop").Labels[record.LabelManagedBy]; got != record.ManagedBy {
			t.Errorf("the label is %q when nobody changes it any more", got)
		}
		w.run(11 * time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	})
}

// Who rewrites the token itself is repaired at most 3 times a minute, for as long as it
// takes; and nobody is told that the Secret holds a valid token while it does not.
func TestFightOverTheTokenIsTold(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		writes := w.fight(5, func(s *corev1.Secret) { s.Data["access_token"] = []byte("98_of_somebody_else") })
		for _, n := range writes {
			if n < 2 || n > 4 {
				t.Errorf("%v writes by the minute, want about 3", writes)
			}
		}
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretContested)
		w.run(21 * time.Second)
		if !w.weChat.Valid(w.token()) {
			t.Error("the Secret holds no valid token when nobody changes it any more")
		}
		if got := w.calls(); got != 1 {
			t.Errorf("%d calls, want the first", got)
		}
	})
}

func sum(all []int) (total int) {
	for _, n := range all {
		total += n
	}
	return total
}
