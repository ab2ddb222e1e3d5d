package main

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// due: all tokens fall due within the jitter that the operator adds, which is 10 s
// of WeChat's window of 300 s. They end together because the bench asks WeChat for
// each of them before the operator does, who then is given the same.
func (b *bench) due(ctx context.Context, r *result) error {
	if err := b.endLive(); err != nil {
		return err
	}
	w, err := b.newWorld(ctx, fleet(r.N))
	if err != nil {
		return err
	}
	b.live = w
	ahead := b.timeToApply(r.N)
	w.serveWeChat(wechattest.Config{Life: wechattest.Defaults().Window + ahead})
	m, err := w.startManager(ctx)
	if err != nil {
		return err
	}
	if err := w.askAll(ctx); err != nil {
		return fmt.Errorf("ask WeChat for all tokens: %w", err)
	}
	begun := time.Now()
	if _, err := w.fill(ctx, b.progress("due, filling", r.N)); err != nil {
		return err
	}
	objects, at, err := w.refreshTimes(ctx)
	if err != nil {
		return err
	}
	// A token that was replaced already shows the time of its successor.
	if left := time.Until(at); left < time.Second || len(w.sight.news) > 0 {
		return fmt.Errorf("the first token fell due before all Secrets and statuses were there, %s after they were asked for: measure apply in the same run, for it tells how long that takes", time.Since(begun).Round(time.Second))
	}
	t, err := w.begin(ctx, m)
	if err != nil {
		return err
	}
	p := b.progress("due, waiting", 0)
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(at)):
	}
	p.end()
	p = b.progress("due", r.N)
	seen, err := w.sight.collect(ctx, r.N, p)
	p.end()
	if err != nil {
		return err
	}
	if r.Manager, err = t.end(ctx); err != nil {
		return err
	}
	if err := b.endProfile(m, "due", r.N); err != nil {
		return err
	}
	if err := w.accepted(seen); err != nil {
		return err
	}
	first, end := last(seen), at
	var late []time.Duration
	for key, c := range seen {
		if c.at.Before(first) {
			first = c.at
		}
		refresh := objects[key].Status.NextRefreshTime.Time
		late = append(late, c.at.Sub(refresh))
		if refresh.After(end) {
			end = refresh
		}
	}
	m.retire()
	ceiling, err := b.ceilingOfDue(ctx, w)
	if err != nil {
		return fmt.Errorf("the ceiling: %w", err)
	}
	r.Tokens = r.N
	r.Seconds = last(seen).Sub(first).Seconds()
	r.Ceilings = []float64{ceiling.Seconds()} // without a ratio: most of our time is the jitter
	r.latency("behind status.nextRefreshTime, which has whole seconds", late, nil)
	r.add("from the first nextRefreshTime to the last", end.Sub(at).Seconds(), "s")
	return nil
}

// timeToApply is how long it will take at most until all Secrets are there, with
// their statuses. It must not be much too long: this is waited for.
func (b *bench) timeToApply(n int) time.Duration {
	const margin = 15 * time.Second
	guess := time.Duration(n) * 12 * time.Millisecond
	if r := b.out.find("apply", n); r != nil {
		guess = time.Duration(r.Seconds * 1.4 * float64(time.Second))
	}
	return (guess + margin).Round(time.Second)
}

// askAll asks WeChat for the token of each app.
func (w *world) askAll(ctx context.Context) error {
	weChat := wechat.NewClient(w.server.URL, 10*time.Second)
	return each(ctx, len(w.apps), func(i int) error {
		a := w.apps[i]
		_, err := weChat.StableToken(ctx, wechat.Credentials{AppID: a.appID, AppSecret: a.appSecret()}, false)
		return err
	})
}

// refreshTimes waits until each WeChatToken says when it falls due, and returns
// them by key, and the earliest of these times.
func (w *world) refreshTimes(ctx context.Context) (objects map[string]*v1alpha1.WeChatToken, earliest time.Time, err error) {
	err = w.until(ctx, "each status says when the token falls due", func() (bool, error) {
		var all v1alpha1.WeChatTokenList
		if err := w.cluster.List(ctx, &all); err != nil {
			return false, err
		}
		objects, earliest = map[string]*v1alpha1.WeChatToken{}, time.Time{}
		for i := range all.Items {
			wt := &all.Items[i]
			at := wt.Status.NextRefreshTime
			if at == nil {
				return false, nil
			}
			if earliest.IsZero() || at.Time.Before(earliest) {
				earliest = at.Time
			}
			objects[client.ObjectKeyFromObject(wt).String()] = wt
		}
		return true, nil
	})
	return objects, earliest, err
}

// ceilingOfDue makes the two writes of a refresh for each app. No manager runs,
// and none will.
func (b *bench) ceilingOfDue(ctx context.Context, w *world) (time.Duration, error) {
	objects, _, err := w.refreshTimes(ctx)
	if err != nil {
		return 0, err
	}
	p := b.progress("due, ceiling", len(w.apps))
	defer p.end()
	w.sight.forget()
	begun := time.Now()
	wrote := make(chan error, 1)
	go func() {
		wrote <- each(ctx, len(w.apps), func(i int) error {
			wt, token := objects[w.apps[i].key()], made()
			if err := w.applySecret(ctx, wt, token); err != nil {
				return err
			}
			return w.patchStatus(ctx, wt, token)
		})
	}()
	seen, err := w.sight.collectWhile(ctx, len(w.apps), p, wrote)
	return last(seen).Sub(begun), err
}
