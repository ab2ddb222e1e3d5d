package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// apply: all WeChatTokens are created at once. The ceiling is measured before
// and after, each time on an API server that is as fresh.
func (b *bench) apply(ctx context.Context, r *result) error {
	if err := b.endLive(); err != nil {
		return err
	}
	before, _, err := b.ceilingOfApply(ctx, r.N)
	if err != nil {
		return fmt.Errorf("the ceiling: %w", err)
	}

	w, m, t, err := b.fresh(ctx, fleet(r.N))
	if err != nil {
		return err
	}
	begun := time.Now()
	took, err := w.fill(ctx, b.progress("apply", r.N))
	if err != nil {
		return err
	}
	told, err := t.told(ctx, begun, r.N)
	if err != nil {
		return err
	}
	if r.Manager, err = t.end(ctx); err != nil {
		return err
	}
	if err := b.endProfile(m, "apply", r.N); err != nil {
		return err
	}
	ours, err := w.clients.CoreV1().Secrets(w.apps[0].namespace).Get(ctx, w.apps[0].name, metav1.GetOptions{})
	if err != nil {
		return err
	}

	w.pause()
	after, theirs, err := b.ceilingOfApply(ctx, r.N)
	w.goOn()
	if err != nil {
		return fmt.Errorf("the ceiling: %w", err)
	}
	w.common = true
	r.Tokens = r.N
	r.took(took, before, after)
	r.add("until all statuses are written, too", told.Seconds(), "s")
	r.add("the same beside the ceilings", r.Ratio*told.Seconds()/took.Seconds(), "x")
	stored, err := w.clients.RESTClient().Get().AbsPath("/apis", v1alpha1.GroupVersion.String(), "namespaces", w.apps[0].namespace, "wechattokens", w.apps[0].name).DoRaw(ctx)
	if err != nil {
		return err
	}
	r.add("size of a WeChatToken", float64(len(stored)), "bytes")
	r.add("size of a Secret", float64(ours.Size()), "bytes")
	r.add("size of a Secret of the ceiling", float64(theirs.Size()), "bytes")
	return nil
}

// fresh is a new world with a manager that has nothing to do yet, and its meter.
func (b *bench) fresh(ctx context.Context, apps []app) (*world, *manager, *meter, error) {
	w, err := b.newWorld(ctx, apps)
	if err != nil {
		return nil, nil, nil, err
	}
	b.live = w
	w.serveWeChat(wechattest.Config{})
	m, err := w.startManager(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	t, err := w.begin(ctx, m)
	return w, m, t, err
}

// told waits until n statuses are written, and returns how long that is after
// begun. The operator writes them behind the Secrets, a ceiling beside them.
func (t *meter) told(ctx context.Context, begun time.Time, n int) (time.Duration, error) {
	for {
		now, err := t.world.requests(ctx)
		if err != nil {
			return 0, err
		}
		if now["PATCH wechattokens/status"]-t.requests["PATCH wechattokens/status"] >= n {
			return time.Since(begun), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Second):
		}
		if err := t.world.check(); err != nil {
			return 0, err
		}
	}
}

// fill creates the WeChatTokens and returns how long it took until each Secret
// held a token.
func (w *world) fill(ctx context.Context, p *progress) (time.Duration, error) {
	defer p.end()
	begun := time.Now()
	created := make(chan error, 1)
	go func() { created <- w.create(ctx) }()
	seen, err := w.sight.collectWhile(ctx, len(w.apps), p, created)
	if err != nil {
		return 0, err
	}
	return last(seen).Sub(begun), w.accepted(seen)
}

// accepted says whether WeChat accepts the tokens that were seen.
func (w *world) accepted(seen map[string]change) error {
	for key, c := range seen {
		if !w.weChat.Valid(c.token) {
			return fmt.Errorf("the Secret %s holds a token that WeChat does not accept", key)
		}
	}
	return nil
}

// collectWhile collects what a writer brings about, who may fail.
func (s *sight) collectWhile(ctx context.Context, n int, p *progress, written <-chan error) (map[string]change, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		err := <-written
		if err != nil {
			cancel(err)
		}
		done <- err
	}()
	seen, err := s.collect(ctx, n, p)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err != nil {
		return seen, err
	}
	return seen, <-done
}

// pause stops everything in the world, so that it costs nothing while another is
// measured.
func (w *world) pause() {
	for _, m := range w.managers {
		m.Signal(syscall.SIGSTOP)
	}
	_ = w.plane.SignalAPIServer(syscall.SIGSTOP) // otherwise it costs a little
}

// goOn ends a pause.
func (w *world) goOn() {
	_ = w.plane.SignalAPIServer(syscall.SIGCONT)
	for _, m := range w.managers {
		m.Signal(syscall.SIGCONT)
	}
}
