package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// publishInTurn publishes what there is to publish in a reconcile of its own, behind all
// others, for which it returns the wait: where 1,000 WeChatTokens are new at once, pods
// wait for the Secrets, and nobody waits for the status; and a tenant with 1,000 that
// have no AppSecret holds up no other. Only that something is not valid any more is
// published at once.
func (r *WeChatTokenReconciler) publishInTurn(ctx context.Context, o *observation, out outcome, now time.Time) (wait time.Duration, err error) {
	status, m := r.statusOf(o, out, now), r.memories.of(o.wt)
	news := out.wrote || !equality.Semantic.DeepEqual(o.wt.Status, status)
	if news && m.publishAt.IsZero() {
		m.publishAt = now.Add(r.pace.wait(o.wt.Namespace, now))
	}
	inTurn := !out.wrote && (m.hadNews && !now.Before(m.publishAt) || isBadNews(&o.wt.Status, &status))
	if m.hadNews = news && !inTurn; m.hadNews {
		return max(m.publishAt.Sub(now), time.Nanosecond), nil
	}
	m.publishAt = time.Time{}
	return 0, r.publish(ctx, o, out, status)
}

// publish writes the status if it changed, and tells what has changed by logs,
// events and metrics.
func (r *WeChatTokenReconciler) publish(ctx context.Context, o *observation, out outcome, status v1alpha1.WeChatTokenStatus) error {
	before, err := r.writeStatus(ctx, o.wt, status)
	if before == nil {
		return err
	}
	announce(ctx, r.Events, before, o.wt)
	if o.account != nil {
		if outcome := o.account.ReportOutcome(out.holds); shown(before, o.wt, outcome) {
			r.Metrics.Reported(outcome)
		}
	}
	return nil
}

// keepStatus brings the status up to date where the cluster failed us: a token may
// have ended meanwhile.
func (r *WeChatTokenReconciler) keepStatus(ctx context.Context, wt *v1alpha1.WeChatToken, now time.Time) error {
	status := *wt.Status.DeepCopy()
	expire(&status, now)
	before, err := r.writeStatus(ctx, wt, status)
	if before != nil {
		announce(ctx, r.Events, before, wt)
	}
	return err
}

// writeStatus returns what wt was before it got another status; nil if it did not.
// The write insists on the version that it was made for: a status that was compared
// with an older one would not be corrected, for our own writes wake nobody. A cache
// that lags behind our last write costs a conflict, and nothing else.
func (r *WeChatTokenReconciler) writeStatus(ctx context.Context, wt *v1alpha1.WeChatToken, status v1alpha1.WeChatTokenStatus) (before *v1alpha1.WeChatToken, err error) {
	if equality.Semantic.DeepEqual(wt.Status, status) {
		return nil, nil
	}
	before = wt.DeepCopy()
	wt.Status = status
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, wt, patch); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return before, nil
}
