package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// bench is a run.
type bench struct {
	options

	ctx context.Context //nolint:containedctx // it ends with Ctrl-C, and all worlds with it
	out *report

	managers string // the folder of the program that is measured
}

// scenario is something to measure.
type scenario struct {
	name, about string

	full  func(*world, *result)       // in a world that is full of tokens and that others use, too
	own   func(*bench, *result) error // in worlds of its own
	fixed int                         // the number of WeChatTokens, where it is always the same
}

// scenarios are all of them, in their order. The first fills the world of those
// that share one, and the last of these spoils it.
func scenarios() []scenario {
	return []scenario{
		{name: "apply", about: "WeChatTokens are created all at once, until each Secret holds a token", full: (*world).apply},
		{name: "idle", about: "a minute of nothing", full: (*world).idle},
		{name: "checks", about: "a minute in which each account is checked, and nothing else happens", full: (*world).checks},
		{name: "restart", about: "the manager is killed, and refreshes one token as soon as it is back", full: (*world).restart},
		{name: "leader", about: "of two managers the leader is ended, and then killed", full: (*world).leader},
		{name: "forced", about: "forced refreshes, one by one and then 500 at once", full: (*world).forced},
		{name: "due", about: "all tokens fall due within 10 s", own: (*bench).due},
		{name: "hanging", about: "one account in ten lets calls run into their timeout", own: (*bench).hanging},
		{name: "shared", about: "1,000 WeChatTokens of 10 accounts", own: (*bench).shared, fixed: 1000},
		{name: "takers", about: "a new token reaches the Secrets of an account, half of which take it from another namespace", own: (*bench).takers, fixed: 100},
		{name: "token-server", about: "servers outside the cluster ask for tokens, of 10,000 that there are", own: (*bench).tokenServer, fixed: 10_000},
		{name: "unrelated", about: "memory with 1,000 WeChatTokens and many Secrets that are not ours", own: (*bench).unrelated, fixed: 1000},
		{name: "tenants", about: "what a hostile tenant costs another one, and the manager: ten minutes", own: (*bench).tenants, fixed: 1},
	}
}

// measure runs the scenarios that are wanted.
func (b *bench) measure() {
	var full, own, once []scenario
	for _, s := range scenarios() {
		switch {
		case len(b.only) > 0 && !slices.Contains(b.only, s.name):
		case s.full != nil:
			full = append(full, s)
		case s.fixed == 0:
			own = append(own, s)
		default:
			once = append(once, s)
		}
	}
	for _, n := range b.counts {
		b.measureFull(full, n)
		for _, s := range own {
			b.note(s.name, n, s.own(b, b.out.result(s.name, n)))
		}
	}
	for _, s := range once {
		b.note(s.name, s.fixed, s.own(b, b.out.result(s.name, s.fixed)))
	}
}

// measureFull runs scenarios in one world of n tokens. The ceiling of the first is
// measured before and after, each time on an API server that is as fresh.
func (b *bench) measureFull(wanted []scenario, n int) {
	if len(wanted) == 0 {
		return
	}
	applied := b.out.result("apply", n)
	if wanted[0].name == applied.scenario {
		b.note("the ceiling of apply", n, b.ceilingOfApply(applied))
		defer func() { b.note("the ceiling of apply", n, b.ceilingOfApply(applied)) }()
	}
	at := "filling"
	err := b.inWorld(fleet(n), wechattest.Config{}, func(w *world) {
		w.start()
		if wanted[0].name != applied.scenario {
			w.fill("filling")
		}
		for _, s := range wanted {
			at = s.name
			r := b.out.result(s.name, n)
			if s.name == applied.scenario {
				r = applied
			}
			s.full(w, r)
		}
	})
	b.note(at, n, err)
}

// inWorld runs do in a world of its own, which ends with it.
func (b *bench) inWorld(apps []app, cfg wechattest.Config, do func(*world)) error {
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	return testcluster.Run(b.ctx, func(tb testing.TB) {
		tb.Helper()
		do(b.newWorld(tb, apps, cfg))
	})
}

// note notes what could not be measured. The others go on, in worlds of their own.
func (b *bench) note(scenario string, n int, err error) {
	if err == nil || b.ctx.Err() != nil {
		return
	}
	text := fmt.Sprintf("%s with %d: %v", scenario, n, err)
	fmt.Fprintln(os.Stderr, text)
	b.out.Errors = append(b.out.Errors, text)
}
