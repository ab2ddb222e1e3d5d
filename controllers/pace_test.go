package controllers

import (
	"fmt"
	"testing"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The statuses of one namespace wait for each other, and for no other namespace.
func TestStatusesOfANamespaceHaveAPace(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Now()
	var longest time.Duration
	for range 800 {
		longest = max(longest, p.wait("hostile", now))
	}
	if want := (800 - statusesAtOnce) * time.Second / statusesPerSecond; longest != want {
		t.Errorf("the last of 800 waits for %s, want %s", longest, want)
	}
	if got := p.wait("web", now); got != 0 {
		t.Errorf("another namespace waits for %s", got)
	}
	later := now.Add(time.Hour)
	if got := p.wait("hostile", later); got != 0 {
		t.Errorf("an hour later it waits for %s", got)
	}
	for i := range 3 * manyNamespaces {
		p.wait(fmt.Sprint("namespace-", i), later.Add(time.Duration(i)*time.Second))
	}
	if got := len(p.of); got > manyNamespaces {
		t.Errorf("%d namespaces are remembered", got)
	}
}

// A tenant with many WeChatTokens writes so many statuses at once, however often it
// wakes them.
func TestManyStatusesAreWrittenAtAPace(t *testing.T) {
	const more = 50
	inWorld(t, wechattest.Config{}, func(w *world) {
		for i := range statusesAtOnce + more {
			w.create(weChatToken(named(fmt.Sprint("shop-", i))))
		}
		for range 3 {
			w.create(appSecret("")) // wakes all, and is no AppSecret
			w.run(time.Millisecond)
			w.remove("shop-app")
			w.run(time.Millisecond)
		}
		if got, most := w.statusWrites, statusesAtOnce+statusesPerSecond/10; got < statusesAtOnce || got > most {
			t.Errorf("%d statuses at once, want %d to %d", got, statusesAtOnce, most)
		}
		w.run(2 * time.Second)
		if got, want := w.statusWrites, statusesAtOnce+more; got != want {
			t.Errorf("%d statuses in the end, want %d", got, want)
		}
	})
}
