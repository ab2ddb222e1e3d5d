package main

import "wechattoken.io/operator/internal/wechat/wechattest"

// shared: WeChatTokens that share accounts, and so tokens.
func (b *bench) shared(r *result) error {
	const accounts = 10
	apps := fleet(r.n)
	for i := range apps {
		apps[i].appID = apps[i%accounts].appID
	}
	return b.inWorld(apps, wechattest.Config{}, func(w *world) {
		w.start()
		t := w.begin()
		r.add(secretsThere, w.fill("shared").Seconds(), "s")
		r.used(t.end("shared"), 0)
	})
}
