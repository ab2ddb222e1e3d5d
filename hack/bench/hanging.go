package main

import (
	"context"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// hanging: one account in ten hangs until the manager's timeout, of 10 s as
// shipped.
func (b *bench) hanging(ctx context.Context, r *result) error {
	usual, err := b.usualApply(ctx, r.N)
	if err != nil {
		return err
	}
	if err := b.endLive(); err != nil {
		return err
	}
	w, err := b.newWorld(ctx, fleet(r.N))
	if err != nil {
		return err
	}
	b.live = w
	w.serveWeChat(wechattest.Config{})
	good := r.N
	for i := 0; i < r.N; i += 10 {
		w.weChat.SetFault(wechattest.Fault{AppID: w.apps[i].appID, Kind: wechattest.FaultHang})
		good--
	}
	m, err := w.startManager(ctx)
	if err != nil {
		return err
	}
	t, err := w.begin(ctx, m)
	if err != nil {
		return err
	}
	p := b.progress("hanging", good)
	defer p.end()
	begun := time.Now()
	created := make(chan error, 1)
	go func() { created <- w.create(ctx) }()
	seen, err := w.sight.collectWhile(ctx, good, p, created)
	if err != nil {
		return err
	}
	p.end()
	r.Seconds, r.Tokens = last(seen).Sub(begun).Seconds(), good
	if r.Manager, err = t.end(ctx); err != nil {
		return err
	}
	r.add("with none hanging", usual, "s")
	if err := b.endProfile(m, "hanging", r.N); err != nil {
		return err
	}
	return w.accepted(seen)
}

// usualApply is how many seconds it takes until n Secrets hold a token.
func (b *bench) usualApply(ctx context.Context, n int) (float64, error) {
	if r := b.out.find("apply", n); r != nil {
		return r.Seconds, nil
	}
	if err := b.endLive(); err != nil {
		return 0, err
	}
	w, err := b.newWorld(ctx, fleet(n))
	if err != nil {
		return 0, err
	}
	b.live = w
	w.serveWeChat(wechattest.Config{})
	if _, err := w.startManager(ctx); err != nil {
		return 0, err
	}
	took, err := w.fill(ctx, b.progress("hanging, with none", n))
	return took.Seconds(), err
}
