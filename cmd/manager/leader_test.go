package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// lease is the lease of the managers that run in the namespace, once somebody
// other than previous holds it.
func (n *namespace) lease(previous string) coordinationv1.LeaseSpec {
	n.t.Helper()
	var lease coordinationv1.Lease
	eventually(n.t, "somebody holds the lease", func() error {
		if err := n.Get(n.t.Context(), client.ObjectKey{Name: name}, &lease); err != nil {
			return err
		}
		if h := lease.Spec.HolderIdentity; h == nil || *h == "" || *h == previous {
			return errors.New("nobody does")
		}
		return nil
	})
	return lease.Spec
}

// Of two replicas one works. When it is told to end it gives the lease back, so
// that the other need not wait until the lease has run out; and what is left then
// costs nothing.
func TestLeaderGivesTheLeaseBack(t *testing.T) {
	ns := newNamespace(t)
	// Two addresses of WeChat tell who calls.
	first, firstURL := serve(t, wechattest.Config{OpenAccounts: true})
	second, secondURL := serve(t, wechattest.Config{OpenAccounts: true})
	elect := []string{"--leader-elect=true", "--leader-election-namespace=" + ns.name}

	leader := ns.start(firstURL, elect...)
	held := ns.lease("")
	standby := ns.start(secondURL, elect...)
	standby.awaitReady() // its caches are filled though it does not lead
	leader.awaitReady()
	ns.create(newApp(v1alpha1.ModeStable, 1), newApp(v1alpha1.ModeClassic, 2))
	ns.awaitReady()
	if got := fmt.Sprint(calls(first), calls(second)); got != "2 0" {
		t.Errorf("calls of the leader and of the stand-by: %s, want 2 0", got)
	}

	told := time.Now()
	if code := leader.terminate(); code != 0 {
		t.Errorf("exit code of the leader: %d, want 0", code)
	}
	now := ns.lease(*held.HolderIdentity)
	// A lease that was not given back would not have run out earlier than this.
	duration := time.Duration(*held.LeaseDurationSeconds) * time.Second
	if took := now.AcquireTime.Sub(told); took >= duration-retryPeriod {
		t.Errorf("the stand-by took over after %s, with a lease of %s", took, duration)
	} else {
		t.Logf("the stand-by took over after %s, with a lease of %s", took, duration)
	}

	ns.create(newApp(v1alpha1.ModeStable, 3))
	ns.awaitReady()
	if got := fmt.Sprint(calls(first), calls(second)); got != "2 1" {
		t.Errorf("calls of the old and of the new leader: %s, want 2 1", got)
	}
}
