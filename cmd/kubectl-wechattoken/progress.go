package main

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
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

// look says how far the operator has come. A wait is given up where it would not
// end by itself, with what the operator says of it.
func (a *asked) look(wt *v1alpha1.WeChatToken, now time.Time) progress {
	if a.request != "" {
		// Somebody has asked once more: a token that answers that answers us.
		if value := wt.Annotations[v1alpha1.AnnotationRefreshRequestedAt]; value != "" {
			a.request = value
		}
		if wt.Status.LastHandledRefreshAt == a.request {
			return progress{done: true}
		}
	} else {
		if value := wt.Annotations[v1alpha1.AnnotationInvalidToken]; value != "" {
			a.report = value
		}
		if wt.Status.LastHandledInvalidToken == a.report {
			return progress{done: true}
		}
	}
	ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return progress{say: "no operator has seen this WeChatToken yet"}
	}
	isNew := ready.Reason != a.ready.Reason || ready.Message != a.ready.Message
	settled := now.Sub(a.at) >= settle
	switch ready.Reason {
	case v1alpha1.ReasonSuspended:
		return progress{stop: exitf(exitNo, "%s. Set spec.suspend to false; the request is done then", ready.Message)}
	case v1alpha1.ReasonRefreshBudgetExhausted:
		if settled {
			return progress{stop: exitf(exitLimit, "%s. The request stays, and is done then", ready.Message)}
		}
	case v1alpha1.ReasonRefreshRefused, v1alpha1.ReasonDayQuotaExceeded:
		if isNew {
			return progress{stop: exitf(exitLimit, "%s. The request stays, and is tried again", ready.Message)}
		}
	}
	stalled := meta.IsStatusConditionTrue(wt.Status.Conditions, v1alpha1.ConditionStalled)
	waitsForPerson := ready.Reason == v1alpha1.ReasonAppSecretMissing || ready.Reason == v1alpha1.ReasonSecretConflict
	if stalled && (isNew || (waitsForPerson && settled)) {
		return progress{stop: exitf(exitNo, "%s: %s", ready.Reason, ready.Message)}
	}
	if ready.Reason == v1alpha1.ReasonTokenValid {
		return progress{say: "the operator is at it"}
	}
	return progress{say: fmt.Sprintf("%s: %s", ready.Reason, ready.Message)}
}

// late is said when the time is up.
func (a *asked) late(wt *v1alpha1.WeChatToken, timeout time.Duration) error {
	ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || (ready.Reason == a.ready.Reason && ready.Message == a.ready.Message && ready.Reason == v1alpha1.ReasonTokenValid) {
		return exitf(exitTimeout, "The operator has not answered within %s. The request stays. Find out why: kubectl wechattoken doctor %s -n %s", timeout, wt.Name, wt.Namespace)
	}
	return exitf(exitTimeout, "It is not done within %s, and the request stays. %s: %s", timeout, ready.Reason, ready.Message)
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
		text += ", which works until " + stamp(s.ExpirationTime.Time)
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
