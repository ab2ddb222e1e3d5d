package main

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// cost is what WeChat and the API server are asked to do.
type cost struct {
	Calls  int
	Writes map[string]int
}

// TestRestartCostsNothing kills the manager while 100 tokens live, and starts it
// anew: it calls nobody and writes nothing, but for what came up meanwhile.
func TestRestartCostsNothing(t *testing.T) {
	ns := newNamespace(t)
	fake, url := serve(t, wechattest.Config{OpenAccounts: true})
	metrics, bearer := freeAddress(t), ns.bearerForMetrics()
	apps := fleet(50)
	before := ns.writes()
	ns.create(apps...)
	m := ns.start(url)
	ns.awaitReady()

	probe := cost{
		Calls: 1,
		Writes: map[string]int{
			"POST wechattokens":         1, // ours
			"POST secrets":              1, // ours: the AppSecret
			"APPLY secrets":             1,
			"PATCH wechattokens/status": 1,
			"POST events":               1,
		},
	}

	// restart says what a crash and the life after it cost. It waits until the
	// new process has looked at everything, and has found a WeChatToken that
	// was made after its start; and until the API server has counted what that
	// must cost, for events are posted behind everything else.
	probes := 0
	restart := func(want cost, meanwhile func()) cost {
		t.Helper()
		ns.awaitWrites(before, map[string]int{"POST events": len(apps) + probes}) // of the old process none is on its way
		m.kill()
		meanwhile()
		callsBefore, writesBefore := calls(fake), ns.writes()
		m = ns.start(url, "--metrics-bind-address="+metrics)
		m.awaitReady()
		probes++
		ns.create(newApp(v1alpha1.ModeStable, probes))
		ns.awaitReady()
		known := len(apps) + probes
		eventually(t, "the new process has looked at everything", func() error {
			status, body := scrape(t, "https://"+metrics+"/metrics", bearer)
			looked, left := value(t, body, "controller_runtime_reconcile_total"), value(t, body, "workqueue_depth")+value(t, body, "controller_runtime_active_workers")
			if status != 200 || int(looked) < known || left > 0 {
				return fmt.Errorf("status %d, %v reconciles of at least %d, %v to come", status, looked, known, left)
			}
			return nil
		})
		ns.awaitWrites(writesBefore, want.Writes)
		return cost{Calls: calls(fake) - callsBefore, Writes: since(writesBefore, ns.writes())}
	}

	if diff := cmp.Diff(probe, restart(probe, func() {})); diff != "" {
		t.Errorf("a restart with %d valid tokens costs more than the one that came up (-want +got):\n%s", len(apps), diff)
	}

	// What is counted above would show if there were something to do: of two
	// tokens that are lost while nobody looks, each costs a call and a write.
	lost := cost{Calls: probe.Calls + 2, Writes: maps.Clone(probe.Writes)}
	lost.Writes["APPLY secrets"] += 2
	// Their status may change or not: a stable token comes back as it was.
	delete(lost.Writes, "PATCH wechattokens/status")
	got := restart(lost, func() {
		ns.deleteSecret(apps[0].name)
		ns.deleteSecret(apps[1].name)
	})
	delete(got.Writes, "PATCH wechattokens/status")
	if diff := cmp.Diff(lost, got); diff != "" {
		t.Errorf("a restart after two Secrets were lost (-want +got):\n%s", diff)
	}
}
