package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The Secret remembers when its token replaced another one: not when it is the
// first, not when the same one is written once more, and over restarts and
// repairs.
func TestTheSecretRemembersWhenItsTokenReplacedAnother(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		replaced := func() time.Time { return w.recordOf("shop").ReplacedAt }
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		if !replaced().IsZero() {
			t.Errorf("the first token has replaced one at %s", replaced())
		}
		w.change(reporting(w.report())) // and another write without another token
		w.run(time.Minute)
		if !replaced().IsZero() {
			t.Errorf("a report has replaced the token at %s", replaced())
		}

		first := w.token()
		w.change(requesting("1"))
		at := time.Now()
		w.run(time.Minute)
		if got := replaced(); w.token() == first || got.Before(at.Add(-time.Second)) || got.After(at.Add(2*time.Second)) {
			t.Errorf("replaced at %s, want %s", got, at)
		}
		then := replaced()
		for what, change := range map[string]func(){
			"a restart":       w.restart,
			"a report":        func() { w.change(reporting(w.report())) },
			"an edit":         func() { w.edit("shop", func(s *corev1.Secret) { s.Data["access_token"] = []byte("x") }) },
			"a lost Secret":   func() { w.remove("shop") },
			"another name":    func() { w.change(writing("moved")); w.run(time.Minute); w.change(writing("shop")) },
			"an edit of when": func() { w.edit("shop", unproven) },
		} {
			change()
			w.run(time.Minute)
			if got := replaced(); !got.Equal(then) {
				t.Errorf("after %s: replaced at %s, want %s", what, got, then)
			}
		}
	})
}
