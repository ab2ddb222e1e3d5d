package controllers

import (
	"testing"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The status has WeChat's id of the first call that failed as it still does. The later
// ones, which each have another, cost no write, nor does a restart.
func TestFirstRIDIsKept(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40164})
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Second)
		first := w.get("shop").Status.LastError
		if first == nil || first.RID == "" {
			t.Fatalf("lastError is %+v, want one with a rid", first)
		}
		w.run(time.Hour)
		w.restart()
		w.run(time.Hour)
		if got := w.get("shop").Status.LastError; got.RID != first.RID || w.statusWrites != 1 {
			t.Errorf("rid %q after %q, and %d writes of the status, want the first and 1", got.RID, first.RID, w.statusWrites)
		}
		w.weChat.ClearFaults()
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40013})
		w.run(31 * time.Minute)
		if got := w.get("shop").Status.LastError; got == nil || got.RID == first.RID {
			t.Errorf("another failure has the rid of the one before: %+v", got)
		}
	})
}
