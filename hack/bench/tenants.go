package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How often and for how long one tenant waits for a token while another attacks.
const (
	tenantApps = 400
	tries      = 10
	triesApart = 300 * time.Millisecond
	mostWait   = time.Minute
)

// tenants: what a hostile tenant costs another, beside the same without it.
func (b *bench) tenants(ctx context.Context, r *result) error {
	for _, a := range attacks() {
		if err := b.attacked(ctx, r, a); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return b.exhausted(ctx, r)
}

// tenantWorld is a world of its own, where nothing is left of an earlier attack.
func (b *bench) tenantWorld(ctx context.Context) (*world, *manager, error) {
	if err := b.endLive(); err != nil {
		return nil, nil, err
	}
	w, m, _, err := b.fresh(ctx, fleet(tenantApps))
	if err != nil {
		return nil, nil, err
	}
	w.weChat.AddAccount(hostile.appID, hostile.appSecret())
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: hostile.namespace}}
	return w, m, errors.Join(w.cluster.Create(ctx, ns), w.createAppSecret(ctx, hostile, hostile.appSecret()))
}

// attacked measures an attack on the time until another tenant has a token, and
// what it lets the manager read.
func (b *bench) attacked(ctx context.Context, r *result, a attack) error {
	w, m, err := b.tenantWorld(ctx)
	if err != nil {
		return err
	}
	calm, _, err := w.tokensDuring(ctx, b.progress("tenants, undisturbed", 0), attack{endless: true})
	if err != nil {
		return err
	}
	if a.prepare != nil {
		p := b.progress("tenants, before "+a.name, 0)
		err := a.prepare(w, ctx)
		p.end()
		if err != nil {
			return err
		}
	}
	t, err := w.begin(ctx, m)
	if err != nil {
		return err
	}
	seen, made, err := w.tokensDuring(ctx, b.progress("tenants, "+a.name, 0), a)
	if err != nil {
		return err
	}
	used, err := t.end(ctx)
	if err != nil {
		return err
	}
	worst, usual := slices.Max(seen.delays), slices.Max(calm.delays)
	reads, of := used.Requests["GET secrets"], made+len(seen.delays)
	r.latency(a.name+"; ceiling: undisturbed", seen.delays, calm.delays)
	ended := worst == mostWait
	r.Numbers = append(r.Numbers,
		number{What: a.name + ": another tenant's new token", Value: worst.Seconds(), Unit: "s", AtMost: new(1.0), Ended: ended},
		number{What: "… beside the longest undisturbed one", Value: worst.Seconds() / usual.Seconds(), Unit: "x", Ended: ended})
	r.add("… the API server alone, until it has created such a WeChatToken", slices.Max(seen.created).Seconds(), "s")
	r.judge(a.name+": reads of Secrets for each WeChatToken", readsEach(reads, of), 2, "")
	r.add("… reads in all", float64(reads), "")
	r.add("… WeChatTokens, with the other tenant's, and changed AppSecrets", float64(of), "")
	r.add("… calls to WeChat", float64(used.WeChatCalls), "")
	return b.endProfile(m, fmt.Sprintf("tenants-%d", b.worlds), 0)
}

// readsEach is how many reads there were for each of some objects, without a few
// that any attack may cost.
func readsEach(reads, of int) float64 {
	const few = 10
	return float64(max(reads-few, 0)) / float64(of)
}

// tokens is how it went for WeChatTokens that were applied one after the other.
type tokens struct {
	created []time.Duration // until the API server had it
	delays  []time.Duration // until its Secret held a token
	waited  time.Duration   // for all
}

// tokensDuring runs an attack and applies WeChatTokens of another tenant meanwhile,
// and some more when it has ended, unless they have waited for too long. It
// returns what the attack does.
func (w *world) tokensDuring(ctx context.Context, p *progress, a attack) (seen tokens, made int, err error) {
	defer p.end()
	attacking, stop := context.WithCancel(ctx)
	defer stop()
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if a.run != nil {
			made, failed = a.run(w, attacking)
		}
	}()
	for left, over := tries, a.endless; left > 0 && seen.waited < mostWait; {
		select {
		case <-ctx.Done():
			return seen, 0, ctx.Err()
		case <-time.After(triesApart):
		}
		select {
		case <-ended:
			over = true
		default:
		}
		if over {
			left--
		}
		if err := w.newToken(ctx, &seen); err != nil {
			return seen, 0, err
		}
	}
	stop()
	<-ended
	if errors.Is(failed, context.Canceled) {
		failed = ctx.Err() // nil if it was ended here
	}
	return seen, made, failed
}

// newToken applies the next WeChatToken and waits for its Secret, at most for
// mostWait.
func (w *world) newToken(ctx context.Context, seen *tokens) error {
	if w.free == len(w.apps) {
		return errors.New("the attack went on for so long that no WeChatTokens to try with are left")
	}
	a := w.apps[w.free]
	w.free++
	w.sight.forget()
	begun := time.Now()
	waiting, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	err := w.cluster.Create(waiting, a.object())
	seen.created = append(seen.created, time.Since(begun))
	var c change
	for err == nil && c.key != a.key() {
		c, err = w.sight.next(waiting)
	}
	delay := c.at.Sub(begun)
	if err != nil {
		if waiting.Err() == nil || ctx.Err() != nil {
			return err
		}
		delay = mostWait
	}
	seen.delays = append(seen.delays, delay)
	seen.waited += delay
	return nil
}

// exhausted measures attacks on the memory of the manager.
func (b *bench) exhausted(ctx context.Context, r *result) error {
	w, m, err := b.tenantWorld(ctx)
	if err != nil {
		return err
	}
	for _, port := range []struct {
		name string
		at   func(*manager) string
	}{
		{"metrics", func(m *manager) string { return m.metrics }},
		{"health", func(m *manager) string { return m.health }},
	} {
		m.retire()
		if err := w.silent(ctx, r, port.name, port.at); err != nil {
			return err
		}
	}

	m, calm, err := w.settled(ctx)
	if err != nil {
		return err
	}
	t, err := w.begin(ctx, m)
	if err != nil {
		return err
	}
	if err := w.createLarge(ctx, b.progress("tenants, creating large WeChatTokens", largeObjects)); err != nil {
		return err
	}
	created, err := t.end(ctx)
	if err != nil {
		return err
	}
	m.retire()
	_, restarted, err := w.settled(ctx)
	if err != nil {
		return err
	}
	r.add("resident memory without large WeChatTokens", calm.ResidentMB, "MB")
	r.judge(fmt.Sprintf("%d suspended WeChatTokens of 240 KB: resident memory", largeObjects), created.ResidentMB, 100, "MB")
	r.add("… its peak", created.PeakMB, "MB")
	r.judge(fmt.Sprintf("%d suspended WeChatTokens of 240 KB, after a restart: resident memory", largeObjects), restarted.ResidentMB, 100, "MB")
	r.add("… its peak", restarted.PeakMB, "MB")
	return b.endLive() // nobody else wants such neighbours
}
