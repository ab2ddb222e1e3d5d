//go:build integration

package main

import (
	"errors"
	"math"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// overProtobuf is a client that can write times which JSON cannot hold.
func (n *namespace) overProtobuf() *kubernetes.Clientset {
	n.T.Helper()
	cfg := rest.CopyConfig(n.Config)
	cfg.ContentType = runtime.ContentTypeProtobuf
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		n.T.Fatal(err)
	}
	return clients
}

// Whatever somebody has written into the lease, a replica leads in the end.
func TestNoLeaseHoldsForEver(t *testing.T) {
	t.Parallel()
	now, farOff := metav1.NowMicro(), metav1.NewMicroTime(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
	unreadable := metav1.NewMicroTime(farOff.AddDate(3000, 0, 0))
	cases := map[string]struct {
		reason string
		spec   coordinationv1.LeaseSpec
		soon   bool // not only after a duration of ours
	}{
		"Long":        {"it holds for 68 years", coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(math.MaxInt32)), AcquireTime: &now, RenewTime: &now}, false},
		"Endless":     {"it has no duration, and may be another replica's", coordinationv1.LeaseSpec{RenewTime: &now}, false},
		"Future":      {"it was renewed in the future", coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(15)), AcquireTime: &farOff, RenewTime: &farOff}, false},
		"Unreadable":  {"its times cannot be written as JSON", coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(15)), AcquireTime: &unreadable, RenewTime: &unreadable}, false},
		"Transitions": {"one change more is a number below 0, which the API server refuses", coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(1)), LeaseTransitions: new(int32(math.MaxInt32)), RenewTime: &now}, true},
	}
	const forger = "somebody"
	in, began := map[string]*namespace{}, time.Now()
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	for name, tc := range cases {
		ns := newNamespace(t)
		in[name] = ns
		tc.spec.HolderIdentity = new(forger)
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "wechat-token-operator"}, Spec: tc.spec}
		if _, err := ns.overProtobuf().CoordinationV1().Leases(ns.Name).Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		ns.start(url, "--leader-elect=true", "--leader-election-namespace="+ns.Name)
	}
	for name, tc := range cases {
		waited := in[name].lease(forger).AcquireTime.Sub(began)
		if !tc.soon && waited < leaseDuration {
			t.Errorf("%s: %s: it was taken after %s, want not before %s", name, tc.reason, waited, leaseDuration)
		}
	}
}

// A leader whose lease is changed, but not taken, leads on.
func TestLeaderHoldsOnToAChangedLease(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	m := ns.start(url, "--leader-elect=true", "--leader-election-namespace="+ns.Name)
	held := ns.lease("")
	farOff := metav1.NewMicroTime(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
	leases := ns.overProtobuf().CoordinationV1().Leases(ns.Name)
	for _, renewed := range []metav1.MicroTime{farOff, metav1.NewMicroTime(farOff.AddDate(3000, 0, 0)), metav1.NewMicroTime(time.Unix(0, 0))} {
		testcluster.Eventually(t, "the lease is changed", func() error { // the leader may be sooner
			lease, err := leases.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &renewed, new(int32(math.MaxInt32))
			_, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{})
			return err
		})
		testcluster.Eventually(t, "the leader renews it", func() error {
			var lease coordinationv1.Lease
			if err := ns.Get(t.Context(), client.ObjectKey{Name: name}, &lease); err != nil {
				return err
			}
			if *lease.Spec.HolderIdentity != *held.HolderIdentity {
				t.Fatalf("%s holds the lease, want %s", *lease.Spec.HolderIdentity, *held.HolderIdentity)
			}
			if *lease.Spec.LeaseDurationSeconds == math.MaxInt32 {
				return errors.New("it stands as it was written")
			}
			return nil
		})
	}
	if code := m.Terminate(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
