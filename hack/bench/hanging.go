package main

import "wechattoken.io/operator/internal/wechat/wechattest"

// hanging: one account in ten hangs until the manager's timeout, of 10 s as
// shipped. With none hanging it is the scenario apply.
func (b *bench) hanging(r *result) error {
	return b.inWorld(fleet(r.n), wechattest.Config{}, func(w *world) {
		good := r.n
		for i := 0; i < r.n; i += 10 {
			w.weChat.SetFault(wechattest.Fault{AppID: w.apps[i].appID, Kind: wechattest.FaultHang})
			good--
		}
		w.start()
		t := w.begin()
		p := begin("hanging", good)
		seen, took := w.collect(good, p, func() error { return w.each("", w.apps, w.create) })
		p.end()
		r.add("until all others have tokens", took.Seconds(), "s")
		w.accepted(seen)
		r.used(t.end("hanging"), 0)
	})
}
