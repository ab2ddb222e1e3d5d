package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// Tokens end by the wall clock. All that waits for it waits by Go's timers, which go by
// the monotonic clock: that stands still while a machine is suspended, and does not see
// that somebody sets the wall clock. So the two are compared, and when they have parted
// all is looked at anew: within some seconds after a machine has woken up, Ready says
// what is so, and the next token is fetched.
const (
	// clockBeat is how often the clocks are compared.
	clockBeat = 3 * time.Second
	// clockSlack is how far they may part in a beat. NTP moves a clock by half a
	// millisecond in a second while it corrects it.
	clockSlack = 2 * time.Second
)

// parted reports whether the clocks have parted, in a time that took so long by each.
func parted(wall, monotonic time.Duration) bool { return (wall - monotonic).Abs() > clockSlack }

// watchClock calls jumped whenever the clocks have parted, until ctx ends.
func watchClock(ctx context.Context, jumped func(by time.Duration)) error {
	beat := time.NewTicker(clockBeat)
	defer beat.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
		now := time.Now()
		wall, monotonic := now.Round(0).Sub(last.Round(0)), now.Sub(last)
		if last = now; parted(wall, monotonic) {
			jumped(wall - monotonic)
		}
	}
}

// lookAtAll queues all WeChatTokens, and the calls of all accounts, by the wall clock of
// now. others queue a WeChatToken in other controllers.
func (r *WeChatTokenReconciler) lookAtAll(ctx context.Context, others ...func(types.NamespacedName)) {
	r.Accounts.Recheck(time.Now())
	var all v1alpha1.WeChatTokenList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list the WeChatTokens") // the cache has them, so this cannot be
	}
	for i := range all.Items {
		key := client.ObjectKeyFromObject(&all.Items[i])
		r.wake(key, false)
		for _, wake := range others {
			wake(key)
		}
	}
}
