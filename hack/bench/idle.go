package main

import (
	"context"
	"time"
)

// idleFor is how long nothing happens.
const idleFor = time.Minute

// idle: a minute of nothing, with the leader election that a manager has by
// default.
func (b *bench) idle(ctx context.Context, r *result) error {
	w, err := b.liveWorld(ctx, r.N)
	if err != nil {
		return err
	}
	w.present().retire()
	m, err := w.startManager(ctx, electing...)
	if err != nil {
		return err
	}
	if err := w.awaitLeader(ctx); err != nil {
		return err
	}
	if err := w.quiet(ctx, m); err != nil {
		return err
	}
	t, err := w.begin(ctx, m)
	if err != nil {
		return err
	}
	p := b.progress("idle", 0)
	begun := time.Now()
	select {
	case <-ctx.Done():
	case <-time.After(idleFor):
	}
	p.end()
	if r.Manager, err = t.end(ctx); err != nil {
		return err
	}
	r.Seconds = time.Since(begun).Seconds()
	r.add("writes", float64(r.Manager.Requests.writes().sum()), "")
	return b.endProfile(m, "idle", r.N)
}
