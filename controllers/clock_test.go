package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestClocksPart(t *testing.T) {
	t.Parallel()
	for reason, tc := range map[string]struct {
		wall, monotonic time.Duration
		want            bool
	}{
		"as usual":                      {3 * time.Second, 3 * time.Second, false},
		"the process was stopped":       {time.Hour, time.Hour, false},
		"NTP corrects the clock":        {3*time.Second + 2*time.Millisecond, 3 * time.Second, false},
		"the machine was suspended":     {3 * time.Hour, 3 * time.Second, true},
		"somebody set the clock ahead":  {time.Hour, 3 * time.Second, true},
		"somebody set the clock behind": {-time.Hour, 3 * time.Second, true},
	} {
		if got := parted(tc.wall, tc.monotonic); got != tc.want {
			t.Errorf("%s: parted %t", reason, got)
		}
	}
}

// A machine is suspended for so long that the token ends meanwhile, and all waits stand
// still: the queue is empty here. When it has woken up, all is looked at.
func TestAllIsLookedAtWhenTheClockHasJumped(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(), weChatToken(named("another")))
		w.run(time.Minute)
		w.mu.Lock()
		w.queue = map[types.NamespacedName]time.Time{}
		w.mu.Unlock()
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus, Status: 502})
		time.Sleep(3 * time.Hour)
		if w.ready().Status != metav1.ConditionTrue {
			t.Fatal("somebody has noticed, and nothing is proved")
		}
		w.r.lookAtAll(t.Context())
		w.run(time.Second)
		w.wantReady(metav1.ConditionFalse, w.ready().Reason)
		w.weChat.ClearFaults()
		w.run(2 * time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	})
}
