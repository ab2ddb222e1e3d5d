package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/refusal"
)

// announce logs and tells by an event what has changed: the status or the reason
// of Ready, TicketsReady or ConsumersCurrent, or a refresh request that was handled.
// No two events of one version of the object have the same reason and action:
// client-go would count the second one onto the first by a patch, for which the
// operator has no permission, and its message would be lost.
func announce(ctx context.Context, recorder events.EventRecorder, before, after *v1alpha1.WeChatToken) {
	for _, of := range []struct{ condition, action string }{
		{v1alpha1.ConditionReady, "Refresh"},
		{v1alpha1.ConditionTicketsReady, "FetchTickets"},
		{v1alpha1.ConditionConsumersCurrent, "Follow"},
	} {
		is := changed(before, after, of.condition)
		if is == nil {
			continue
		}
		kind := corev1.EventTypeWarning
		if slices.Contains(normalReasons, is.Reason) {
			kind = corev1.EventTypeNormal
		}
		if is.Reason == v1alpha1.ReasonNamespaceTerminating {
			continue // no event can be written there
		}
		log := ctrl.LoggerFrom(ctx)
		if e := after.Status.LastError; e != nil && e.RID != "" {
			log = log.WithValues("rid", e.RID)
		}
		log.Info(is.Message, strings.ToLower(of.condition[:1])+of.condition[1:], is.Status, "reason", is.Reason)
		recorder.Eventf(after, nil, kind, is.Reason, of.action, "%s", refusal.Short(is.Message))
	}
	if was, e := before.Status.ReplacedElsewhere, after.Status.ReplacedElsewhere; e.Count > 0 && (was.Count == 0 || was.LastTime.Before(e.LastTime)) {
		recorder.Eventf(after, nil, corev1.EventTypeNormal, "TokenReplacedElsewhere", "Check", "%s", refusal.Short(fmt.Sprintf(
			"Somebody else has replaced the token: another cluster or environment with this appid, or a person. It was found at %s, and is number %d in 24 hours. The Secret has the new one", record.Time(e.LastTime.Time), e.Count)))
	}
	if h := after.Status.LastHandledRefreshAt; h != "" && h != before.Status.LastHandledRefreshAt {
		recorder.Eventf(after, nil, corev1.EventTypeNormal, "Refreshed", "Refresh", "%s", refusal.Short(fmt.Sprintf("The refresh requested as %q is done", h)))
	}
}

// changed is a condition whose status or reason has changed; nil if they have
// not.
func changed(before, after *v1alpha1.WeChatToken, kind string) *metav1.Condition {
	was := meta.FindStatusCondition(before.Status.Conditions, kind)
	is := meta.FindStatusCondition(after.Status.Conditions, kind)
	if is == nil || (was != nil && was.Status == is.Status && was.Reason == is.Reason) {
		return nil
	}
	return is
}

// shown reports whether the status shows the outcome of a report for the first time:
// it counts once.
func shown(before, after *v1alpha1.WeChatToken, outcome string) bool {
	if outcome == account.ReportUnanswered {
		return changed(before, after, v1alpha1.ConditionReady) != nil
	}
	return outcome != "" && before.Status.LastHandledInvalidToken != after.Status.LastHandledInvalidToken
}
