package main

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A run can be repeated: what happens follows from the seed.
func TestPlanFollowsFromItsSeed(t *testing.T) {
	targets, speed := fleet(200), paceOf(40*time.Second)
	first := plan(7, speed, 10*time.Minute, targets)
	if diff := cmp.Diff(first, plan(7, speed, 10*time.Minute, targets)); diff != "" {
		t.Errorf("the same seed gave another plan (-first +second):\n%s", diff)
	}
	if cmp.Equal(first, plan(8, speed, 10*time.Minute, targets)) {
		t.Error("another seed gave the same plan")
	}
}

// Whatever the seed, also a short run has everything in it, in the order of time,
// and nothing lasts beyond its end.
func TestPlanHasEverything(t *testing.T) {
	kinds := []kind{
		killManager, pauseManager, endManager, restartAPIServer, pauseAPIServer, breakWeChat, deleteSecret, editToken,
		editMemory, removeOwner, forceRefresh, endToken, fetchOutside, lie, rotateAppSecret,
	}
	for seed := range uint64(200) {
		for _, size := range []struct {
			length time.Duration
			tokens int
		}{{time.Minute, 8}, {time.Minute, 20}, {10 * time.Minute, 200}} {
			events := plan(seed, paceOf(40*time.Second), size.length, fleet(size.tokens))
			missing := slices.Clone(kinds)
			broken := map[string]bool{}
			last := time.Duration(0)
			for _, e := range events {
				missing = slices.DeleteFunc(missing, func(k kind) bool { return k == e.Kind })
				if e.Kind == breakWeChat {
					broken[string(e.Fault.Kind)] = true
				}
				if e.At < last || e.At+e.For > size.length {
					t.Errorf("seed %d: %s is not in its order, or lasts beyond %s", seed, e, size.length)
				}
				last = e.At
			}
			if len(missing) > 0 {
				t.Errorf("seed %d, %s: %v never happen", seed, size.length, missing)
			}
			for _, f := range faults {
				if !broken[string(f.Kind)] {
					t.Errorf("seed %d, %s: WeChat never fails by %s", seed, size.length, f.Kind)
				}
			}
		}
	}
}

// The targets of a run share accounts in both modes, across namespaces, and one
// appid is used in both modes.
func TestFleetShares(t *testing.T) {
	for _, count := range []int{20, 200} {
		members := map[account]map[string]bool{}
		modes := map[string]map[string]bool{}
		for _, target := range fleet(count) {
			if members[target.account] == nil {
				members[target.account] = map[string]bool{}
			}
			members[target.account][target.namespace] = true
			if modes[target.account.appID] == nil {
				modes[target.account.appID] = map[string]bool{}
			}
			modes[target.account.appID][string(target.account.mode)] = true
		}
		shared := map[string]bool{}
		for a, namespaces := range members {
			if len(namespaces) >= 3 {
				shared[string(a.mode)] = true
			}
		}
		both := 0
		for _, m := range modes {
			if len(m) == 2 {
				both++
			}
		}
		if len(shared) != 2 || both == 0 {
			t.Errorf("of %d targets, shared in %v, %d appids in both modes", count, shared, both)
		}
	}
}
