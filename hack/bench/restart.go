package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errNoneLeft says that each token was forced already.
var errNoneLeft = errors.New("each token was forced once before, and WeChat allows no second time so soon: use a larger -n")

// unforced is an app that was not forced yet, and is about to be.
func (w *world) unforced() (app, error) {
	if w.free >= len(w.apps) {
		return app{}, errNoneLeft
	}
	w.free++
	return w.apps[w.free-1], nil
}

// restart: the manager is killed and started again, and at once there is
// something to do.
func (b *bench) restart(ctx context.Context, r *result) error {
	w, err := b.liveWorld(ctx, r.N)
	if err != nil {
		return err
	}
	a, err := w.unforced()
	if err != nil {
		return err
	}
	if err := w.quiet(ctx, w.present()); err != nil {
		return err
	}
	w.present().kill()
	w.sight.forget()
	called := w.weChat.Counts(a.appID).Stable.Calls
	t, err := w.beginBefore(ctx)
	if err != nil {
		return err
	}
	p := b.progress("restart", 1)
	defer p.end()
	begun := time.Now()
	m, err := w.launch()
	if err != nil {
		return err
	}
	if err := t.takes(m); err != nil {
		return err
	}
	if err := w.force(ctx, a); err != nil {
		return err
	}
	seen, err := w.sight.collect(ctx, 1, p)
	if err != nil {
		return err
	}
	if _, ok := seen[a.key()]; !ok {
		return fmt.Errorf("the token of another WeChatToken than %s was replaced after the restart", a.key())
	}
	r.Seconds = last(seen).Sub(begun).Seconds()
	if r.Manager, err = t.end(ctx); err != nil {
		return err
	}
	r.Tokens = 1
	r.add(strayCalls, float64(r.Manager.WeChatCalls-w.weChat.Counts(a.appID).Stable.Calls+called), "")
	return b.endProfile(m, "restart", r.N)
}
