package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
)

// asked is what was asked of the operator, and what the object was like then.
type asked struct {
	request     string // the value of the refresh annotation; empty if an invalid token was reported
	report      string // the value of the report; empty if a refresh was asked for
	fingerprint string // of the token then
	ready       metav1.Condition
	at          time.Time
}

// progress is how things stand with what was asked.
type progress struct {
	done bool
	say  string // on the way
	stop error  // nothing more is to be expected
}

// settle is how long the operator may take to say something new. What it said
// before may be of an earlier request.
const settle = 2 * time.Second

// retried is when the operator has tried again for the request, and WeChat has answered: the
// status does not change if the answer is the same.
const retried = budget.ForcedSpacing + 10*time.Second

// look says how far the operator has come. A wait is given up where it would not
// end by itself, with what the operator says of it.
func (a *asked) look(wt *v1alpha1.WeChatToken, now time.Time) progress {
	if a.handled(wt) {
		return progress{done: true}
	}
	ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return progress{say: "no operator has seen this WeChatToken yet"}
	}
	stalled := meta.IsStatusConditionTrue(wt.Status.Conditions, v1alpha1.ConditionStalled)
	if stop := a.hopeless(wt, ready, stalled, now); stop != nil {
		return progress{stop: stop}
	}
	if ready.Reason == v1alpha1.ReasonTokenValid {
		return progress{say: "waiting for the operator"}
	}
	return progress{say: fmt.Sprintf("%s: %s", ready.Reason, ready.Message)}
}

// handled reports whether the operator has answered. Somebody may have asked once
// more: a token that answers that answers us.
func (a *asked) handled(wt *v1alpha1.WeChatToken) bool {
	if a.request != "" {
		a.request = cmp.Or(wt.Annotations[v1alpha1.AnnotationRefreshRequestedAt], a.request)
		return wt.Status.LastHandledRefreshAt == a.request
	}
	a.report = cmp.Or(wt.Annotations[v1alpha1.AnnotationInvalidToken], a.report)
	return wt.Status.LastHandledInvalidToken == a.report
}

// hopeless says why a wait would not end by itself; it is nil if it may.
func (a *asked) hopeless(wt *v1alpha1.WeChatToken, ready *metav1.Condition, stalled bool, now time.Time) error {
	is := func(reasons ...string) bool { return slices.Contains(reasons, ready.Reason) }
	isNew, settled := a.isNew(ready), now.Sub(a.at) >= settle
	switch {
	case is(v1alpha1.ReasonSuspended):
		return exitf(exitNo, "%s. The request is done after: kubectl wechattoken resume %s", ready.Message, suspended(wt))
	case is(v1alpha1.ReasonRefreshNotAllowed) && settled:
		return exitf(exitNo, "%s. The request stays, and the next token answers it", ready.Message)
	case is(v1alpha1.ReasonRefreshBudgetExhausted) && settled:
		return exitf(exitLimit, "%s. The request stays, and is done then", ready.Message)
	case is(v1alpha1.ReasonRefreshRefused, v1alpha1.ReasonDayQuotaExceeded) && isNew:
		return exitf(exitLimit, "%s. The request stays, and is tried again", ready.Message)
	case stalled && (isNew || now.Sub(a.at) >= a.answered(ready)):
		return exitf(exitNo, "%s: %s", ready.Reason, ready.Message)
	default:
		return nil
	}
}

// suspended is the WeChatToken to resume, as arguments: wt, or its source.
func suspended(wt *v1alpha1.WeChatToken) string {
	if wt.Spec.HasSource() && !wt.Spec.Suspend {
		return wt.Spec.SourceRef.Name + " -n " + wt.Spec.SourceRef.Namespace
	}
	return wt.Name + " -n " + wt.Namespace
}

// answered is how long after the request a reason that has not changed is the answer to it.
func (a *asked) answered(ready *metav1.Condition) time.Duration {
	switch ready.Reason {
	case v1alpha1.ReasonAppSecretMissing, v1alpha1.ReasonSecretConflict: // there is nothing to try
		return settle
	default:
		return retried
	}
}

func (a *asked) isNew(ready *metav1.Condition) bool {
	return ready.Reason != a.ready.Reason || ready.Message != a.ready.Message
}

// late is said when the time is up.
func (a *asked) late(wt *v1alpha1.WeChatToken, timeout time.Duration) error {
	ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || (!a.isNew(ready) && ready.Reason == v1alpha1.ReasonTokenValid) {
		return exitf(exitTimeout, "The operator has not answered within %s. The request stays. Find out why: kubectl wechattoken doctor %s -n %s", timeout, wt.Name, wt.Namespace)
	}
	return exitf(exitTimeout, "It is not done within %s, and the request stays. %s: %s", timeout, ready.Reason, ready.Message)
}

// readying waits until the operator has taken the latest spec and the Secret
// holds a valid token.
type readying struct {
	since time.Time
}

func (r *readying) look(wt *v1alpha1.WeChatToken, now time.Time) progress {
	ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return progress{say: "no operator has seen this WeChatToken yet"}
	case wt.Status.ObservedGeneration != wt.Generation:
		return progress{say: "the operator has not seen the latest spec yet"}
	case ready.Status == metav1.ConditionTrue:
		return progress{done: true}
	case meta.IsStatusConditionTrue(wt.Status.Conditions, v1alpha1.ConditionStalled) && now.Sub(r.since) >= settle:
		return progress{stop: exitf(exitNo, "%s: %s. %s", ready.Reason, strings.TrimSuffix(ready.Message, "."), nextStep(wt, ready.Reason))}
	default:
		return progress{say: fmt.Sprintf("%s: %s", ready.Reason, ready.Message)}
	}
}

// nextStep is what to run once a person has done what the operator waits for.
func nextStep(wt *v1alpha1.WeChatToken, reason string) string {
	if reason == v1alpha1.ReasonIPNotAllowed {
		return fmt.Sprintf("Then run: kubectl wechattoken refresh %s -n %s --wait", wt.Name, wt.Namespace)
	}
	return fmt.Sprintf("To see more: kubectl wechattoken doctor %s -n %s", wt.Name, wt.Namespace)
}

func (r *readying) late(wt *v1alpha1.WeChatToken, timeout time.Duration) error {
	text := "No operator has seen it"
	if ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		text = ready.Reason + ": " + strings.TrimSuffix(ready.Message, ".")
	}
	return exitf(exitTimeout, "There is no valid token within %s. %s. Find out why: kubectl wechattoken doctor %s -n %s", timeout, text, wt.Name, wt.Namespace)
}

// verdict says what became of the report of an invalid token.
func (a *asked) verdict(wt *v1alpha1.WeChatToken) string {
	if wt.Status.TokenFingerprint == a.fingerprint {
		return fmt.Sprintf("WeChat says that the token %s is valid. Nothing was replaced.", a.fingerprint)
	}
	ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Reason == v1alpha1.ReasonTokenRevoked {
		return fmt.Sprintf("The token %s was invalid, and has been replaced: %s.", a.fingerprint, tokenText(wt))
	}
	return fmt.Sprintf("The token %s has been replaced meanwhile: %s.", a.fingerprint, tokenText(wt))
}

// tokenText says which token there is.
func tokenText(wt *v1alpha1.WeChatToken) string {
	s := &wt.Status
	text := "the token " + s.TokenFingerprint
	if s.LastRefreshTime != nil {
		text += " of " + stamp(s.LastRefreshTime.Time)
	}
	if s.ExpirationTime != nil {
		text += ", which is valid until " + stamp(s.ExpirationTime.Time)
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
