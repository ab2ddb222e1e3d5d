package main

import (
	"errors"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A WeChat that does not answer does not hold up the end of the process.
func TestSIGTERMDoesNotWaitForWeChat(t *testing.T) {
	ns := newNamespace(t)
	fake, url := serve(t, wechattest.Config{OpenAccounts: true})
	fake.SetFault(wechattest.Fault{Kind: wechattest.FaultHang})
	ns.create(newApp(v1alpha1.ModeStable, 1), newApp(v1alpha1.ModeClassic, 2))

	const timeout = 60 * time.Second
	m := ns.start(url, "--request-timeout="+timeout.String())
	m.awaitReady()
	begun := time.Now()
	eventually(t, "both calls hang", func() error {
		if calls(fake) < 2 {
			return errors.New("WeChat was not called")
		}
		return nil
	})
	// Exit code 0 tells that the process did not give up waiting for a part of
	// itself either.
	if code := m.terminate(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if took := time.Since(begun); took >= timeout {
		t.Errorf("it took %s: until the calls had timed out by themselves", took)
	}
}
