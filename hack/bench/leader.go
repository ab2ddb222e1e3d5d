package main

import (
	"errors"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/testcluster"
)

// electing are the flags of a manager that is one of two.
var electing = []string{"--leader-elect=true", "--leader-election-namespace=bench-00"}

// awaitLeader waits until a manager has the lease. Nobody has had it, or it was
// given back.
func (w *world) awaitLeader() {
	testcluster.Eventually(w.TB, "a manager has the lease", func() error {
		var lease coordinationv1.Lease
		err := w.cluster.Get(w.Context(), client.ObjectKey{Namespace: "bench-00", Name: "wechat-token-operator"}, &lease)
		if holder := lease.Spec.HolderIdentity; err == nil && (holder == nil || *holder == "") {
			err = errors.New("nobody has it")
		}
		return err
	})
}

// leader: of two managers the one that leads goes, first as Kubernetes ends it,
// then as a crash does.
func (w *world) leader(r *result) {
	w.start(electing...)
	w.awaitLeader()
	for _, how := range []struct {
		name string
		end  func(*manager)
	}{
		{"SIGTERM", func(m *manager) { m.Terminate() }},
		{"SIGKILL", func(m *manager) { m.Kill() }},
	} {
		leading := w.manager
		w.quiet()
		w.manager = w.launch(electing...)
		w.manager.AwaitReady()
		w.quiet()
		t := w.begin()
		p := begin("leader, "+how.name, 1)
		_, took := w.collect(1, p, func() error {
			how.end(leading) // it is gone when this returns, and does not do what follows
			return w.force(w.unforced(1)[0])
		})
		p.end()
		u := t.end("leader-" + how.name)
		r.add(how.name+": from the signal to a forced refresh by the successor", took.Seconds(), "s")
		r.add(how.name+": writes", float64(u.requests.writes().sum()), "")
		r.add(how.name+": WeChat calls", float64(u.calls), "")
	}
}
