package main

import (
	"context"
	"fmt"
	"time"
)

// shared: WeChatTokens that share accounts, and so tokens.
func (b *bench) shared(ctx context.Context, r *result) error {
	const accounts = 10
	r.N = 1000
	if err := b.endLive(); err != nil {
		return err
	}
	apps := fleet(r.N)
	for i := range apps {
		apps[i].appID = apps[i%accounts].appID
	}
	w, m, t, err := b.fresh(ctx, apps)
	if err != nil {
		return err
	}
	took, err := w.fill(ctx, b.progress("shared", r.N))
	if err != nil {
		return err
	}
	if r.Manager, err = t.end(ctx); err != nil {
		return err
	}
	if err := b.endProfile(m, "shared", r.N); err != nil {
		return err
	}
	r.Seconds, r.Tokens = took.Seconds(), r.N

	const share = 1000 / accounts
	p := b.progress("shared, one is forced", share)
	defer p.end()
	w.sight.forget()
	begun := time.Now()
	if err := w.force(ctx, apps[0]); err != nil {
		return err
	}
	seen, err := w.sight.collect(ctx, share, p)
	if err != nil {
		return err
	}
	tokens := map[string]bool{}
	var delays []time.Duration
	for _, c := range seen {
		tokens[c.token] = true
		delays = append(delays, c.at.Sub(begun))
	}
	if len(tokens) != 1 {
		return fmt.Errorf("a forced refresh of one account brought %d tokens", len(tokens))
	}
	r.latency(fmt.Sprintf("one is forced, %d Secrets follow", share), delays, nil)
	return nil
}
