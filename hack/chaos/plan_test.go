package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A run can be repeated: what happens follows from the seed.
func TestPlanFollowsFromItsSeed(t *testing.T) {
	targets := fleet(200)
	first := plan(7, 10*time.Minute, targets)
	if diff := cmp.Diff(first, plan(7, 10*time.Minute, targets)); diff != "" {
		t.Errorf("the same seed gave another plan (-first +second):\n%s", diff)
	}
	if cmp.Equal(first, plan(8, 10*time.Minute, targets)) {
		t.Error("another seed gave the same plan")
	}
}

// Whatever the seed, also a short run has everything in it, in the order of time, and
// nothing lasts beyond its end.
func TestPlanHasEverything(t *testing.T) {
	const kinds = 16
	for seed := range uint64(200) {
		for length, tokens := range map[time.Duration]int{20 * time.Second: 8, 10 * time.Minute: 200} {
			happened, broken := map[kind]bool{}, map[string]bool{}
			last := time.Duration(0)
			for _, e := range plan(seed, length, fleet(tokens)) {
				happened[e.Kind] = true
				broken[string(e.Fault.Kind)] = true
				if e.At < last || e.At+e.For > length {
					t.Errorf("seed %d: %s is not in its order, or lasts beyond %s", seed, e, length)
				}
				last = e.At
			}
			if len(happened) != kinds {
				t.Errorf("seed %d, %s: only %v happen, want %d kinds", seed, length, happened, kinds)
			}
			for _, f := range faults {
				if !broken[string(f.Kind)] {
					t.Errorf("seed %d, %s: WeChat never fails by %s", seed, length, f.Kind)
				}
			}
		}
	}
}

// Takers are of both modes, and each takes the token of its account from another namespace
// of its cluster.
func TestTheFleetHasTakers(t *testing.T) {
	takers := map[wechattest.Endpoint]int{}
	for _, tg := range fleet(20) {
		if s := tg.source; s != nil {
			takers[tg.account.endpoint]++
			if s.account != tg.account || s.cluster != tg.cluster || s.namespace == tg.namespace || s.source != nil {
				t.Errorf("%+v takes the token of %+v", tg, *s)
			}
		}
	}
	if takers[wechattest.Stable] == 0 || takers[wechattest.Classic] == 0 {
		t.Errorf("takers: %v", takers)
	}
}
