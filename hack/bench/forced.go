package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// How many tokens are forced, each once: WeChat and the operator allow one forced
// refresh of an account in 30 s. A few are left for other scenarios.
const (
	oneByOne = 200
	atOnce   = 500
	left     = 5
)

// forced: forced refreshes, one by one and many at once.
func (b *bench) forced(ctx context.Context, r *result) error {
	w, err := b.liveWorld(ctx, r.N)
	if err != nil {
		return err
	}
	apps := w.apps[w.free:]
	single := min(oneByOne, len(apps)/2)
	many := min(atOnce, len(apps)-single-left)
	w.free += single + many

	m := w.present()
	if err := w.quiet(ctx, m); err != nil {
		return err
	}
	t, err := w.begin(ctx, m)
	if err != nil {
		return err
	}
	w.sight.forget()
	begun := time.Now()
	ours, err := w.oneByOne(ctx, b.progress("forced, one by one", single), apps[:single], w.force)
	if err != nil {
		return err
	}
	apart := time.Since(begun)
	burst, wall, err := w.allAtOnce(ctx, b.progress("forced, all at once", many), apps[single:single+many], w.force)
	if err != nil {
		return err
	}
	if r.Manager, err = t.end(ctx); err != nil {
		return err
	}
	r.Tokens = single + many
	if err := b.endProfile(m, "forced", r.N); err != nil {
		return err
	}

	m.retire() // it would do what the ceiling is to do
	c, err := b.ceilingOfForced(ctx, w, single, many)
	if err != nil {
		return fmt.Errorf("the ceiling: %w", err)
	}
	r.took(wall, c.wall)
	r.latency("forced one by one", ours, c.apart)
	r.latency(fmt.Sprintf("%d forced at once", many), burst, c.burst)
	r.add("one by one, a second", float64(single)/apart.Seconds(), "refreshes")
	_, err = w.startManager(ctx)
	return err
}

// oneByOne does something to one app after the other, and measures until its
// Secret holds another token.
func (w *world) oneByOne(ctx context.Context, p *progress, apps []app, do func(context.Context, app) error) ([]time.Duration, error) {
	defer p.end()
	var delays []time.Duration
	for _, a := range apps {
		begun := time.Now()
		if err := do(ctx, a); err != nil {
			return nil, err
		}
		for {
			c, err := w.sight.next(ctx)
			if err != nil {
				return nil, err
			}
			if c.key == a.key() {
				delays = append(delays, c.at.Sub(begun))
				break
			}
		}
		p.Add(1)
	}
	return delays, nil
}

// allAtOnce does something to all apps at once, and measures the same, and how
// long it took until the last Secret was there.
func (w *world) allAtOnce(ctx context.Context, p *progress, apps []app, do func(context.Context, app) error) (delays []time.Duration, wall time.Duration, err error) {
	defer p.end()
	begun := make([]time.Time, len(apps))
	done := make(chan error, 1)
	start := time.Now()
	go func() {
		done <- each(ctx, len(apps), func(i int) error {
			begun[i] = time.Now()
			return do(ctx, apps[i])
		})
	}()
	seen, err := w.sight.collectWhile(ctx, len(apps), p, done)
	if err != nil {
		return nil, 0, err
	}
	for i, a := range apps {
		delays = append(delays, seen[a.key()].at.Sub(begun[i]))
	}
	return delays, last(seen).Sub(start), nil
}

// forcedCeiling is what a client reaches that only applies the Secret.
type forcedCeiling struct {
	apart []time.Duration // told by a watch of an annotation
	burst []time.Duration // told nothing
	wall  time.Duration
}

// ceilingOfForced measures a client that applies a Secret when a watch tells it of
// an annotation, one by one, and then many Secrets at once. No manager runs. The
// client has objects of its own beside those of the world, and takes them away
// again.
func (b *bench) ceilingOfForced(ctx context.Context, w *world, single, many int) (c forcedCeiling, err error) {
	const namespace, asked = "ceiling", "bench.wechattoken.io/asked"
	if err := w.cluster.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); client.IgnoreAlreadyExists(err) != nil {
		return c, err
	}
	defer func() {
		for _, kind := range []client.Object{&v1alpha1.WeChatToken{}, &corev1.Secret{}} {
			if cleanErr := w.cluster.DeleteAllOf(ctx, kind, client.InNamespace(namespace)); err == nil {
				err = cleanErr
			}
		}
	}()
	apps := fleet(single + many)
	objects := map[string]*v1alpha1.WeChatToken{}
	var mu sync.Mutex
	for i := range apps {
		apps[i].namespace = namespace
	}
	p := b.progress("forced, making what the ceiling needs", len(apps))
	wrote := make(chan error, 1)
	go func() {
		wrote <- each(ctx, len(apps), func(i int) error {
			wt := apps[i].object()
			if err := w.cluster.Create(ctx, wt); err != nil {
				return err
			}
			mu.Lock()
			objects[apps[i].key()] = wt
			mu.Unlock()
			return w.applySecret(ctx, wt, made())
		})
	}()
	_, err = w.sight.collectWhile(ctx, len(apps), p, wrote)
	p.end()
	if err != nil {
		return c, err
	}

	watching, err := w.cluster.Watch(ctx, &v1alpha1.WeChatTokenList{}, client.InNamespace(namespace))
	if err != nil {
		return c, err
	}
	reporting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var told sync.WaitGroup
	told.Go(func() {
		for e := range watching.ResultChan() {
			wt, ok := e.Object.(*v1alpha1.WeChatToken)
			if !ok || e.Type != watch.Modified || wt.Annotations[asked] == "" {
				continue
			}
			if err := w.applySecret(reporting, wt, made()); err != nil {
				cancel(err)
			}
		}
	})
	defer told.Wait()
	defer watching.Stop()
	c.apart, err = w.oneByOne(reporting, b.progress("forced, ceiling one by one", single), apps[:single], func(ctx context.Context, a app) error {
		return w.annotate(ctx, a, asked, "now")
	})
	if err != nil {
		return c, err
	}
	c.burst, c.wall, err = w.allAtOnce(ctx, b.progress("forced, ceiling at once", many), apps[single:], func(ctx context.Context, a app) error {
		return w.applySecret(ctx, objects[a.key()], made())
	})
	return c, err
}
