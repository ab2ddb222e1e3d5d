package controllers

import (
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The Secret remembers when its token replaced another one: not when it is the
// first, not when the same one is written once more, and over restarts and
// repairs.
func TestTheSecretRemembersWhenItsTokenReplacedAnother(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		replaced := func() time.Time { return tokenIn(w.secret("shop")).replaced }
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		if !replaced().IsZero() {
			t.Errorf("the first token has replaced one at %s", replaced())
		}
		calls := w.calls()
		for _, added := range []string{annotationReplacedAt, annotationDiedEarly} {
			w.edit("shop", func(s *corev1.Secret) { s.Annotations[added] = stamp(time.Now()) })
			w.run(time.Minute)
			w.restart()
			w.run(time.Minute)
			if !replaced().IsZero() || w.calls() != calls {
				t.Errorf("%s, which somebody has added, is believed: %s, %d calls", added, replaced(), w.calls()-calls)
			}
		}
		w.edit("shop", func(s *corev1.Secret) {
			delete(s.Annotations, annotationReplacedAt)
			delete(s.Annotations, annotationDiedEarly)
		})
		w.change(reporting(w.report())) // and another write without another token
		w.run(time.Minute)
		if !replaced().IsZero() {
			t.Errorf("a report has replaced the token at %s", replaced())
		}

		first := w.token()
		w.change(bumped("1"))
		at := time.Now()
		w.run(time.Minute)
		if got := replaced(); w.token() == first || got.Before(at.Add(-time.Second)) || got.After(at.Add(2*time.Second)) {
			t.Errorf("replaced at %s, want %s", got, at)
		}
		then := replaced()
		for what, change := range map[string]func(){
			"a restart":     w.restart,
			"a report":      func() { w.change(reporting(w.report())) },
			"an edit":       func() { w.edit("shop", func(s *corev1.Secret) { s.Data["access_token"] = []byte("x") }) },
			"a lost Secret": func() { w.remove("shop") },
			"another name":  func() { w.change(writing("moved")); w.run(time.Minute); w.change(writing("shop")) },
			"an edit of when": func() {
				w.edit("shop", func(s *corev1.Secret) { s.Annotations[annotationReplacedAt] = stamp(time.Now()) })
			},
		} {
			change()
			w.run(time.Minute)
			if got := replaced(); !got.Equal(then) {
				t.Errorf("after %s: replaced at %s, want %s", what, got, then)
			}
		}
	})
}

// A newer operator finds the Secrets of an older one whole: a seal that is
// broken costs a call.
func TestSealsOfOlderOperatorsHold(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	token := issued{
		value: "t", fingerprint: fingerprint("t"), account: "a", appID: testAppID, mode: "Stable",
		obtained: at, expires: at.Add(2 * time.Hour), forced: []time.Time{at},
	}
	annotations := func(t *issued) map[string]string {
		wt := weChatToken(func(wt *v1alpha1.WeChatToken) { wt.UID = "u" })
		return render(wt, t).Annotations
	}
	old := annotations(&token)
	if got, want := old[annotationSeal], "480e6832f2eea846"; got != want {
		t.Errorf("the seal is %s, it was %s", got, want)
	}
	token.replaced = at
	now := annotations(&token)
	for what, change := range map[string]func(map[string]string){
		"removed": func(a map[string]string) { delete(a, annotationReplacedAt) },
		"emptied": func(a map[string]string) { a[annotationReplacedAt] = "" },
		"edited":  func(a map[string]string) { a[annotationReplacedAt] = stamp(at.Add(time.Hour)) },
	} {
		a := maps.Clone(now)
		change(a)
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: a}, Data: map[string][]byte{"access_token": []byte("t")}}
		if tokenIn(s) != nil {
			t.Errorf("%s is %s and nobody notices", annotationReplacedAt, what)
		}
	}
}
