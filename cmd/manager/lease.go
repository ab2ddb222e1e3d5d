package main

import (
	"context"
	"math"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/leaderelection"
	ctrlrecorder "sigs.k8s.io/controller-runtime/pkg/recorder"
)

// lease is the lock of the leader election. A leader that finds it in the hands
// of another was frozen until it had run out. Left to itself client-go would try
// for 10 s to get it back before it gave up, and the workers would work on: two
// would call WeChat.
type lease struct {
	resourcelock.Interface

	held bool
	lost func() // ends the process
}

func newLease(cfg *rest.Config, namespace string, lost func()) (*lease, error) {
	lock, err := leaderelection.NewResourceLock(cfg, silent{}, leaderelection.Options{
		LeaderElection:          true,
		LeaderElectionID:        name,
		LeaderElectionNamespace: namespace,
		RenewDeadline:           renewDeadline,
	})
	return &lease{Interface: lock, lost: lost}, err
}

// Get bounds what anybody may have written. With a duration of 68 years, or a count
// that the API server lets nobody raise, no replica would lead; without a duration a
// stand-by would work beside the leader. The times do no harm: client-go goes by when
// it saw the lease change.
func (l *lease) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	found, raw, err := l.Interface.Get(ctx)
	if err != nil {
		return nil, nil, err
	}
	if l.held && found.HolderIdentity != l.Identity() {
		l.lost()
	}
	if own := int(leaseDuration.Seconds()); found.LeaseDurationSeconds <= 0 || found.LeaseDurationSeconds > own {
		found.LeaseDurationSeconds = own
	}
	if found.LeaderTransitions == math.MaxInt32 {
		found.LeaderTransitions = 0
	}
	return found, raw, nil
}

func (l *lease) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Create(ctx, r)
	l.held = err == nil
	return err
}

func (l *lease) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Update(ctx, r)
	if err == nil {
		l.held = r.HolderIdentity == l.Identity() // it is empty when the lease is given back
	}
	return err
}

// silent makes no events of the leader election: who leads stands in the lease.
type silent struct{ ctrlrecorder.Provider }

func (silent) GetEventRecorderFor(string) record.EventRecorder { return nil }
