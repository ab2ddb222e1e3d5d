package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// electing are the flags of a manager that is one of two.
var electing = []string{"--leader-elect=true", "--leader-election-namespace=bench-00"}

// awaitLeader waits until a manager has the lease. Nobody has had it, or it was
// given back.
func (w *world) awaitLeader(ctx context.Context) error {
	return w.until(ctx, "a manager has the lease", func() (bool, error) {
		var lease coordinationv1.Lease
		err := w.cluster.Get(ctx, client.ObjectKey{Namespace: "bench-00", Name: "wechat-token-operator"}, &lease)
		holder := lease.Spec.HolderIdentity
		return err == nil && holder != nil && *holder != "", client.IgnoreNotFound(err)
	})
}

// leader: of two managers the one that leads goes, first as Kubernetes ends it,
// then as a crash does.
func (b *bench) leader(ctx context.Context, r *result) error {
	w, err := b.liveWorld(ctx, r.N)
	if err != nil {
		return err
	}
	w.present().retire()
	leading, err := w.startManager(ctx, electing...)
	if err != nil {
		return err
	}
	if err := w.awaitLeader(ctx); err != nil {
		return err
	}
	for _, round := range []struct {
		what string
		end  func(*manager)
	}{
		{"SIGTERM", (*manager).retire},
		{"SIGKILL", (*manager).kill},
	} {
		successor, err := w.startManager(ctx, electing...)
		if err != nil {
			return err
		}
		if err := errors.Join(w.quiet(ctx, leading), w.quiet(ctx, successor)); err != nil {
			return err
		}
		standby, _, err := memory(successor.PID())
		if err != nil {
			return err
		}
		took, err := w.succeed(ctx, b.progress("leader, "+round.what, 1), r, leading, successor, round.end)
		if err != nil {
			return fmt.Errorf("%s: %w", round.what, err)
		}
		if err := b.endProfile(successor, "leader-"+round.what, r.N); err != nil {
			return err
		}
		r.add(round.what+": from the signal to a forced refresh by the successor", took.Seconds(), "s")
		r.add(round.what+": WeChat calls", float64(r.Manager.WeChatCalls), "")
		r.add(round.what+": writes", float64(r.Manager.Requests.writes().sum()), "")
		r.add(round.what+": memory of the stand-by", standby, "MB")
		leading = successor
	}
	r.Tokens = 1
	return nil
}

// succeed ends the leader, asks for a new token, and measures the successor until
// it is there.
func (w *world) succeed(ctx context.Context, p *progress, r *result, leading, successor *manager, end func(*manager)) (time.Duration, error) {
	defer p.end()
	a, err := w.unforced()
	if err != nil {
		return 0, err
	}
	w.sight.forget()
	t, err := w.begin(ctx, successor)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	end(leading) // it is gone when this returns, and does not do what follows
	if err := w.force(ctx, a); err != nil {
		return 0, err
	}
	seen, err := w.sight.collect(ctx, 1, p)
	if err != nil {
		return 0, err
	}
	r.Manager, err = t.end(ctx)
	return last(seen).Sub(begun), err
}
