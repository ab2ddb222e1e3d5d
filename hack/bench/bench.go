package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// bench is a run.
type bench struct {
	options

	bin  string // the folder of the manager that is measured
	dir  string // logs
	out  *report
	live *world // the present one

	worlds int // started so far
}

// scenario is something to measure.
type scenario struct {
	name  string
	about string
	once  bool // it has a number of WeChatTokens of its own
	run   func(*bench, context.Context, *result) error
}

// scenarios are all of them, in their order: those of apply to leader share the
// world that the first of them fills.
func scenarios() []scenario {
	return []scenario{
		{name: "apply", about: "WeChatTokens are created all at once, until each Secret holds a token", run: (*bench).apply},
		{name: "forced", about: "forced refreshes, one by one and then 500 at once", run: (*bench).forced},
		{name: "restart", about: "the manager is killed, and refreshes one token as soon as it is back", run: (*bench).restart},
		{name: "idle", about: "a minute of nothing", run: (*bench).idle},
		{name: "leader", about: "of two managers the leader is ended, and then killed", run: (*bench).leader},
		{name: "due", about: "all tokens fall due within 10 s", run: (*bench).due},
		{name: "hanging", about: "one account in ten lets calls run into their timeout", run: (*bench).hanging},
		{name: "shared", about: "1,000 WeChatTokens of 10 accounts", once: true, run: (*bench).shared},
		{name: "tenants", about: "what a hostile tenant costs another one, and the manager: four minutes", once: true, run: (*bench).tenants},
		{name: "unrelated", about: "memory with 1,000 WeChatTokens and many Secrets that are not ours", once: true, run: (*bench).unrelated},
	}
}

// run runs all scenarios that are wanted, and reports.
func run(ctx context.Context, o options) (err error) {
	b := &bench{options: o, bin: o.bin, out: newReport()}
	if b.dir, err = os.MkdirTemp("", "wechattoken-bench-"); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, b.endLive())
		if (o.keep || err != nil) && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "The logs of the managers are in", b.dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(b.dir))
	}()
	if o.profile == "" {
		err = testcluster.FindPrograms(b.bin, "manager")
	} else {
		err = b.buildProfiled(ctx)
	}
	if err != nil {
		return err
	}
	failed := b.measure(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.out.Verdicts = verdicts(b.out)
	err = errors.Join(b.out.print(os.Stdout), b.out.save(o.json), b.out.draw(o.svg))
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d scenarios could not be done; what went wrong stands in the table", failed))
	}
	return err
}

// measure runs the scenarios and returns how many could not be done.
func (b *bench) measure(ctx context.Context) (failed int) {
	one := func(s scenario, n int) {
		if !b.wants(s.name) || ctx.Err() != nil {
			return
		}
		r := &result{Scenario: s.name, N: n}
		begun := time.Now()
		if err := s.run(b, ctx, r); err != nil && ctx.Err() == nil {
			failed++
			r.Error = err.Error()
			fmt.Fprintf(os.Stderr, "%s could not be done: %v\n", s.name, err)
			// Whatever it left is not what the next one needs.
			if err := b.endLive(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		if b.live != nil {
			if times := b.live.sight.closed.Swap(0); times > 0 {
				r.add("times that the API server has closed the watch of the bench", float64(times), "")
			}
		}
		r.Took = time.Since(begun).Seconds()
		b.out.Results = append(b.out.Results, r)
	}
	for _, n := range b.counts {
		for _, s := range scenarios() {
			if !s.once {
				one(s, n)
			}
		}
		if err := b.endLive(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	for _, s := range scenarios() {
		if s.once {
			one(s, 0)
		}
	}
	return failed
}

// liveWorld is a world of n tokens that live, with a manager at work. Those who
// change it leave it so.
func (b *bench) liveWorld(ctx context.Context, n int) (*world, error) {
	if b.live != nil && b.live.common && len(b.live.apps) == n {
		return b.live, nil
	}
	if err := b.endLive(); err != nil {
		return nil, err
	}
	w, err := b.newWorld(ctx, fleet(n))
	if err != nil {
		return nil, err
	}
	b.live = w
	w.serveWeChat(wechattest.Config{})
	if _, err := w.startManager(ctx); err != nil {
		return nil, err
	}
	if _, err := w.fill(ctx, b.progress("filling", n)); err != nil {
		return nil, err
	}
	w.common = true
	return w, nil
}

// endLive ends the present world.
func (b *bench) endLive() error {
	w := b.live
	b.live = nil
	return w.end()
}
