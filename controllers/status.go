package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// verdict is how things stand beside the life of the token: what the conditions
// say. Two equal situations have equal verdicts: no clock reading, no counter,
// no request id is in one.
type verdict struct {
	reason  string
	message string
	ends    end
	pending bool // the first answer for this account is not there yet: say nothing new
	err     *v1alpha1.WeChatError
}

// end is what ends a situation that is not well.
type end int

const (
	well end = iota
	byItself
	byPerson
)

func live() verdict {
	return verdict{reason: v1alpha1.ReasonTokenLive, message: "The Secret holds a live token"}
}

func suspended() verdict {
	return verdict{reason: v1alpha1.ReasonSuspended, message: "spec.suspend is true: the token is not refreshed"}
}

// diedEarly is said while a token that died before its time has no successor.
func diedEarly(mode v1alpha1.Mode) verdict {
	return verdict{
		reason:  v1alpha1.ReasonTokenDiedEarly,
		message: "WeChat says that the token in the Secret is dead before its time; a new one is being fetched. " + whoEnded(mode),
		ends:    byItself,
	}
}

// anotherDiedEarly is said of the successor.
func anotherDiedEarly(mode v1alpha1.Mode, at time.Time) string {
	return fmt.Sprintf("The Secret holds a live token. The one before it was found dead at %s, before its time. %s", stamp(at), whoEnded(mode))
}

// whoEnded says where to look for who has ended a token.
func whoEnded(mode v1alpha1.Mode) string {
	if mode == v1alpha1.ModeClassic {
		return "It looks as if somebody outside calls /cgi-bin/token for this appid, which ends our token: find them, or use mode Stable"
	}
	return "It looks as if somebody outside calls stable_token with force_refresh for this appid: find them"
}

// checkFailed is said while WeChat does not tell whether the token lives. A
// report waits for that; a probe may be tried again without a word to kstatus.
func checkFailed(f *failure, reported bool) verdict {
	v := refused(f.err)
	v.reason, v.ends = v1alpha1.ReasonCheckFailed, well
	v.message = "WeChat was asked whether the token lives, and did not tell. " + v.message
	if reported {
		v.ends = byItself
	}
	return v
}

func conflict(wt *v1alpha1.WeChatToken, holder string) verdict {
	return verdict{
		reason:  v1alpha1.ReasonSecretConflict,
		message: fmt.Sprintf("Secret %q %s. Set spec.secret.name to another name, or remove that Secret", wt.TokenSecretName(), holder),
		ends:    byPerson,
	}
}

func appSecretMissing(missing string) verdict {
	return verdict{reason: v1alpha1.ReasonAppSecretMissing, message: missing, ends: byPerson}
}

func secretRefused(why string) verdict {
	return verdict{
		reason:  v1alpha1.ReasonSecretRefused,
		message: "The API server refused the Secret: " + why,
		ends:    byPerson,
	}
}

func deferred(next time.Time) verdict {
	v := live()
	v.ends = byItself
	v.reason = v1alpha1.ReasonRefreshDeferred
	v.message = fmt.Sprintf("The forced refresh waits until %s: there must be %s between two of them", stamp(next.Add(time.Second)), forcedSpacing)
	return v
}

func forceBudget(mode v1alpha1.Mode, next time.Time) verdict {
	limit := fmt.Sprintf("WeChat allows %d in 24 hours", forcedPerDay)
	if mode == v1alpha1.ModeClassic {
		limit = fmt.Sprintf("the last %d of the %d calls of a day are for refreshes that are due", classicReserve, classicPerDay)
	}
	return verdict{
		reason:  v1alpha1.ReasonRefreshBudgetExhausted,
		message: fmt.Sprintf("The forced refreshes are used up: %s; the next is possible at %s. The token is refreshed in its time all the same", limit, stamp(next.Add(time.Second))),
		ends:    byItself,
	}
}

func dayBudget() verdict {
	return verdict{
		reason:  v1alpha1.ReasonDayQuotaExceeded,
		message: fmt.Sprintf("%d calls of /cgi-bin/token were made today, as many as WeChat allows; the next is made after midnight in Beijing. Use mode Stable, or look for who asks for so many refreshes", classicPerDay),
		ends:    byItself,
	}
}

// failed is the verdict on a call that brought no new token.
func failed(f *failure, alive bool) verdict {
	v := verdict{reason: v1alpha1.ReasonRefreshRefused, ends: byItself}
	if f.err == nil {
		v.message = "WeChat gave the old token back on a forced refresh; somebody else may have used up the forced refreshes of this account. The operator tries again later"
	} else {
		v = refused(f.err)
	}
	if alive {
		v.message += ". The token in the Secret still works"
	}
	return v
}

func refused(err *wechat.Error) verdict {
	v := verdict{reason: err.Meaning().Reason, ends: byItself, err: &v1alpha1.WeChatError{Message: err.Message}}
	what := "WeChat gave no token: " + err.Message
	if err.Code != 0 {
		v.err.Code = &err.Code
		what = fmt.Sprintf("WeChat answered %d (%s)", err.Code, err.Message)
	}
	if err.CallerIP.IsValid() {
		v.err.CallerIP = err.CallerIP.String()
	}
	v.message = what + ". " + err.Remedy()
	if class := err.Class(); class == wechat.WrongRequest || class == wechat.Refused {
		v.ends = byPerson
	}
	return v
}

// conditions are the types of those that the operator sets.
var conditions = []string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, v1alpha1.ConditionTicketsReady, v1alpha1.ConditionConsumersCurrent}

// statusOf is the status that p leads to. It returns the old one, with Ready
// brought up to date, as long as p has nothing new to say.
func statusOf(wt *v1alpha1.WeChatToken, p plan, now time.Time) v1alpha1.WeChatTokenStatus {
	s := *wt.Status.DeepCopy()
	if p.verdict.pending {
		expireTickets(&s, now)
		ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
		if ready != nil && ready.Status == metav1.ConditionTrue && s.ExpirationTime != nil && !now.Before(s.ExpirationTime.Time) {
			ready.Status, ready.Reason = metav1.ConditionFalse, v1alpha1.ReasonTokenExpired
			ready.Message = "The token is dead; a new one is being fetched"
			ready.LastTransitionTime = metav1.NewTime(now)
		}
		return s
	}

	s.Conditions = slices.DeleteFunc(s.Conditions, func(c metav1.Condition) bool { return !slices.Contains(conditions, c.Type) })
	s.ObservedGeneration = wt.Generation
	s.SecretName, s.TokenFingerprint = "", ""
	s.ExpirationTime, s.RefreshTime, s.LastRefreshTime = nil, nil, nil
	if t := p.token; t != nil {
		s.SecretName, s.TokenFingerprint = wt.TokenSecretName(), t.fingerprint
		s.ExpirationTime = new(metav1.NewTime(t.end().Truncate(time.Second)))
		s.LastRefreshTime = new(metav1.NewTime(t.obtained))
		s.RefreshTime = new(metav1.NewTime(p.due.Truncate(time.Second)))
		s.LastHandledRefreshAt = t.handled
		if report, _ := reported(wt); t.handles(wt) {
			s.LastHandledDeadToken = report
		}
	}
	s.LastError = p.verdict.err

	ready := metav1.ConditionFalse
	if p.token.alive(now) {
		ready = metav1.ConditionTrue
	}
	set := func(kind string, status metav1.ConditionStatus) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: kind, Status: status, ObservedGeneration: wt.Generation,
			Reason: p.verdict.reason, Message: p.verdict.message,
			LastTransitionTime: metav1.NewTime(now),
		})
	}
	set(v1alpha1.ConditionReady, ready)
	for kind, ends := range map[string]end{v1alpha1.ConditionReconciling: byItself, v1alpha1.ConditionStalled: byPerson} {
		if p.verdict.ends == ends {
			set(kind, metav1.ConditionTrue)
		} else {
			meta.RemoveStatusCondition(&s.Conditions, kind)
		}
	}
	tellTickets(&s, wt, p, now)
	p.following.describe(&s, wt.Generation, now)
	return s
}

// describe puts into s what is told of the workloads that use the Secret.
func (f *following) describe(s *v1alpha1.WeChatTokenStatus, generation int64, now time.Time) {
	if f == nil {
		return
	}
	s.Consumers = f.consumers
	if f.reason == "" {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionConsumersCurrent)
		return
	}
	is := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionConsumersCurrent)
	if f.untouched && f.status == metav1.ConditionTrue && is != nil && is.Reason == v1alpha1.ReasonTouchRefused && is.ObservedGeneration == generation {
		return // as an earlier process found it
	}
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionConsumersCurrent, Status: f.status, ObservedGeneration: generation,
		Reason: f.reason, Message: short(f.message),
		LastTransitionTime: metav1.NewTime(now),
	})
}

// maxText bounds what is told of an error, in bytes: an event's note holds
// 1,024.
const maxText = 900

// short cuts a text that is too long to be shown.
func short(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
