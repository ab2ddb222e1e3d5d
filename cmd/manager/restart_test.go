//go:build integration

package main

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// cost is what WeChat and the API server are asked to do.
type cost struct {
	Calls  int
	Writes map[string]int
}

// TestRestartCostsNothing kills the manager while 20 tokens live, and starts it
// anew: it calls nobody and writes nothing, but for what came up meanwhile.
func TestRestartCostsNothing(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{OpenAccounts: true})
	metrics, bearer, q := freeAddress(t), ns.bearerForMetrics(), newRequests(ns)
	start := func() *testcluster.Program {
		return ns.start(url, "--kubeconfig="+q.kubeconfig, "--metrics-bind-address="+metrics)
	}
	apps := fleet(10)
	ns.create(apps...)
	m := start()
	ns.awaitReady()

	probe := cost{Calls: 1, Writes: map[string]int{"APPLY secrets": 1, "PATCH wechattokens/status": 1, "POST events": 1}}

	// restart says what a crash and the life after it cost. It waits until the
	// new process has looked at everything, and has found a WeChatToken that
	// was made after its start.
	known := len(apps)
	restart := func(meanwhile func()) cost {
		t.Helper()
		q.awaitEvents(t, known) // of the old process nothing is on its way
		m.Kill()
		meanwhile()
		callsBefore, writesBefore := calls(fake), q.writes()
		m = start()
		m.AwaitReady()
		known++
		ns.create(newApp(v1alpha1.ModeStable, known))
		ns.awaitReady()
		testcluster.Eventually(t, "the new process has looked at everything", func() error {
			status, body := scrape(t, "https://"+metrics+"/metrics", bearer)
			looked, left := value(t, body, "controller_runtime_reconcile_total"), value(t, body, "workqueue_depth")+value(t, body, "controller_runtime_active_workers")
			if status != 200 || int(looked) < known || left > 0 {
				return fmt.Errorf("status %d, %v reconciles of at least %d, %v to come", status, looked, known, left)
			}
			return nil
		})
		q.awaitEvents(t, known)
		return cost{Calls: calls(fake) - callsBefore, Writes: since(writesBefore, q.writes())}
	}

	if diff := cmp.Diff(probe, restart(func() {})); diff != "" {
		t.Errorf("a restart with %d valid tokens costs more than the one that came up (-want +got):\n%s", len(apps), diff)
	}

	// What is counted above would show if there were something to do: of two
	// tokens that are lost while nobody looks, each costs a call and a write.
	lost := cost{Calls: probe.Calls + 2, Writes: maps.Clone(probe.Writes)}
	lost.Writes["APPLY secrets"] += 2
	lost.Writes["POST secrets"] += 2 // dry runs: is the namespace being deleted?
	// Their status may change or not: a stable token comes back as it was.
	delete(lost.Writes, "PATCH wechattokens/status")
	got := restart(func() {
		ns.deleteSecret(apps[0].name)
		ns.deleteSecret(apps[1].name)
	})
	delete(got.Writes, "PATCH wechattokens/status")
	if diff := cmp.Diff(lost, got); diff != "" {
		t.Errorf("a restart after two Secrets were lost (-want +got):\n%s", diff)
	}
}
