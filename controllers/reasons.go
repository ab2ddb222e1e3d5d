package controllers

import (
	"fmt"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// finding is what the conditions say beside the token. Two equal situations have
// equal findings: no clock reading, no counter, no request id is in one.
type finding struct {
	reason  string
	message string
	ends    end
	err     *v1alpha1.WeChatError
}

// end is what ends a situation that is not well.
type end int

const (
	well end = iota
	byItself
	byPerson
)

// normalReasons are those of which nobody needs to be warned by an event.
var normalReasons = []string{
	v1alpha1.ReasonTokenValid, v1alpha1.ReasonSuspended, v1alpha1.ReasonRefreshDeferred,
	v1alpha1.ReasonTicketsValid, v1alpha1.ReasonTicketPending,
}

var valid = finding{reason: v1alpha1.ReasonTokenValid, message: "The Secret holds a valid token"}

// contested says that somebody fights over the Secret. Ready follows the token in it.
var contested = finding{
	reason: v1alpha1.ReasonSecretContested,
	message: "Somebody changes the Secret back again and again. The operator repairs it with a growing pause, at most 3 times a minute: " +
		"find who does by kubectl get secret --show-managed-fields, and have them leave alone what spec.secret asks for",
}

// findingOf is what there is to say of a WeChatToken. pending says that there is
// nothing new: the first answer for this account has not come yet.
func findingOf(o *observation, out outcome, now time.Time) (f finding, pending bool) {
	if f, is := ofCluster(o, out); is {
		return f, false
	}
	switch {
	case o.wt.Spec.Suspend:
		return ofSuspension(o), false
	case o.account == nil:
		return o.missing, false
	}
	next := o.account.Next(now)
	switch {
	case next.Cause.Kind != account.NoCause:
		return ofCause(next.Cause, budget.TermsOf(o.wt), out.holds != nil && now.Before(o.endOf(&out.holds.Token))), false
	case out.paused && out.holds == nil, out.holds != nil && o.last.repairs.Contested(now, repairMetadata):
		return contested, false
	case next.NoToken || out.holds == nil:
		return finding{}, true
	default:
		return ofToken(o, out.holds), false
	}
}

// ofCluster is what the cluster keeps from being done, if anything.
func ofCluster(o *observation, out outcome) (f finding, is bool) {
	switch {
	case out.gone:
		return finding{
			reason:  v1alpha1.ReasonNamespaceTerminating,
			message: "The namespace is being deleted, so the Secret is not written any more",
			ends:    byItself,
		}, true
	case out.unread:
		return finding{
			reason:  v1alpha1.ReasonSecretRefused,
			message: "The API server does not let the operator read a Secret: " + out.refused + ". The operator's role or its binding is missing: docs/runbooks/reasons.md#how-it-is-installed. It tries again every 30 s",
			ends:    byPerson,
		}, true
	case o.conflict == ofEarlier:
		return finding{
			reason:  v1alpha1.ReasonSecretConflict,
			message: fmt.Sprintf("Secret %q %s. The operator writes it anew then", o.wt.TokenSecretName(), o.conflict),
			ends:    byItself,
		}, true
	case o.conflict != "":
		return finding{
			reason:  v1alpha1.ReasonSecretConflict,
			message: fmt.Sprintf("Secret %q %s. Set spec.secret.name to another name, or remove that Secret", o.wt.TokenSecretName(), o.conflict),
			ends:    byPerson,
		}, true
	case out.refused != "":
		return finding{reason: v1alpha1.ReasonSecretRefused, message: "The API server refused the Secret: " + out.refused, ends: byPerson}, true
	default:
		return finding{}, false
	}
}

func ofSuspension(o *observation) finding {
	where := ""
	if o.source != nil {
		where = ", here or at the source"
	}
	return finding{reason: v1alpha1.ReasonSuspended, message: "spec.suspend is true" + where + ": the token is not refreshed"}
}

// ofToken is what there is to say of a valid token in the Secret.
func ofToken(o *observation, holds *record.Record) finding {
	if o.source != nil && requestOn(o.wt) != "" {
		return refreshAtSource
	}
	t := &holds.Token
	if at := t.PredecessorInvalidAt; !at.IsZero() {
		return finding{
			reason:  v1alpha1.ReasonTokenRevoked,
			message: fmt.Sprintf("The Secret holds a valid token. WeChat called the one before it invalid at %s, before its end. %s", record.Time(at), whoElse(o.wt.Spec.ModeOrDefault())),
		}
	}
	if at := lastElsewhere(holds); !at.IsZero() && at.Equal(t.ObtainedAt) {
		f := valid
		f.message += fmt.Sprintf(". It replaces one that was replaced elsewhere, as a check found at %s", record.Time(at))
		return f
	}
	return valid
}

// lastElsewhere is when a call has found last that somebody else had replaced the
// token; zero if none has, of the last day that r was written on.
func lastElsewhere(r *record.Record) time.Time {
	if n := len(r.Spent.Elsewhere); n > 0 {
		return r.Spent.Elsewhere[n-1]
	}
	return time.Time{}
}

// sourceNotAllowed is one sentence for all: who may write WeChatTokens here need not
// know what there is elsewhere.
func sourceNotAllowed(wt *v1alpha1.WeChatToken) finding {
	ref := wt.Spec.SourceRef
	return finding{
		reason: v1alpha1.ReasonSourceNotAllowed,
		message: fmt.Sprintf("There is no WeChatToken %q in namespace %q that has an AppSecret and names namespace %q in spec.allowedNamespaces. "+
			"A token that is in the Secret stays until it expires, and no other comes", ref.Name, ref.Namespace, wt.Namespace),
		ends: byPerson,
	}
}

// sourceWithoutAppSecret does not say which Secret it is: it is another namespace's.
var sourceWithoutAppSecret = finding{
	reason:  v1alpha1.ReasonAppSecretMissing,
	message: "The source in spec.sourceRef has no AppSecret: its own condition Ready says more",
	ends:    byPerson,
}

// refreshAtSource is what there is to say of a refresh request on a taker.
var refreshAtSource = finding{
	reason:  v1alpha1.ReasonRefreshNotAllowed,
	message: "A WeChatToken with sourceRef forces no refresh: request it at the source, and take the annotation wechattoken.io/refresh-requested-at off here",
}

// ofAppSecret says that there is no AppSecret where ref says. odd is what is odd
// about what is there; empty if nothing is there. Who may write WeChatTokens need
// not have permission to read Secrets, so that a missing Secret and a missing key
// are one message.
func ofAppSecret(ref v1alpha1.AppSecretReference, odd string) finding {
	if odd != "" {
		return finding{
			reason:  v1alpha1.ReasonAppSecretInvalid,
			message: fmt.Sprintf("What Secret %q has under the key %q is no AppSecret, and was not sent: %s. Put there what the WeChat console shows: 32 hex digits", ref.Name, ref.KeyOrDefault(), odd),
			ends:    byPerson,
		}
	}
	return finding{
		reason:  v1alpha1.ReasonAppSecretMissing,
		message: fmt.Sprintf("There is no AppSecret in Secret %q of this namespace under the key %q: create the Secret, or the key in it", ref.Name, ref.KeyOrDefault()),
		ends:    byPerson,
	}
}

// ofCause says what keeps a WeChatToken from what it wants. stillValid says that
// the token in the Secret works all the same.
func ofCause(c account.Cause, terms budget.Terms, stillValid bool) finding {
	f := finding{ends: byItself}
	switch c.Kind {
	case account.CallFailed:
		f = ofError(c.Err)
		if c.Lasting {
			f.ends = byPerson
			f.message += ". It has answered so for an hour, so it may not pass: look the errcode up in WeChat's table of return codes (全局返回码)"
		}
	case account.SameTokenReturned:
		f.reason = v1alpha1.ReasonRefreshRefused
		f.message = "WeChat returned the same token on a forced refresh; somebody else may have used up the forced refreshes of this account. The operator tries again later"
	case account.ForceDeferred, account.ForceBudgetExhausted, account.ForceNotAllowed:
		return ofNoForce(c, terms, stillValid)
	case account.VerifyBudgetExhausted:
		return ofNoAnswer(c, finding{message: fmt.Sprintf("It was asked as often today as an account may be, and is asked again at %s: look for who reports valid tokens", roundedUp(c.Next))})
	case account.CheckFailed:
		return ofNoAnswer(c, ofError(c.Err))
	case account.DayBudgetExhausted:
		f.reason = v1alpha1.ReasonDayQuotaExceeded
		f.message = fmt.Sprintf("%d calls of /cgi-bin/token were made today, as many as WeChat allows; the next is made after midnight in Beijing. Use mode Stable, or look for who asks for so many refreshes", terms.PerDay())
		return f
	case account.Revoked:
		f.reason = v1alpha1.ReasonTokenRevoked
		f.message = "WeChat says that the token in the Secret is invalid before its end; a new one is being fetched. " + whoElse(terms.Mode)
		return f
	case account.NoCause:
	}
	if stillValid {
		f.message += ". The token in the Secret still works"
	}
	return f
}

// ofNoForce says what keeps a forced refresh from being made now.
func ofNoForce(c account.Cause, terms budget.Terms, stillValid bool) finding {
	switch c.Kind {
	case account.ForceDeferred:
		return finding{
			reason:  v1alpha1.ReasonRefreshDeferred,
			message: fmt.Sprintf("The forced refresh waits until %s: there must be %s between two of them", roundedUp(c.Next), budget.ForcedSpacing),
			ends:    byItself,
		}
	case account.ForceBudgetExhausted:
		limit := fmt.Sprintf("WeChat allows %d in 24 hours", budget.ForcedPerDay)
		if terms.Mode == v1alpha1.ModeClassic {
			limit = fmt.Sprintf("the last %d of the %d calls of a day are for refreshes that are due", terms.Reserve(), terms.PerDay())
		}
		return finding{
			reason:  v1alpha1.ReasonRefreshBudgetExhausted,
			message: fmt.Sprintf("The forced refreshes are used up: %s; the next is possible at %s. The token is refreshed in its time all the same", limit, roundedUp(c.Next)),
			ends:    byItself,
		}
	default:
		f := finding{
			reason:  v1alpha1.ReasonRefreshNotAllowed,
			message: "spec.forcedRefresh is Never, so that no refresh is forced. The token is refreshed in its time, and when somebody else has forced a refresh",
		}
		if !stillValid {
			f.ends = byPerson
		}
		return f
	}
}

// ofNoAnswer says that WeChat did not tell about the token, and why.
func ofNoAnswer(c account.Cause, why finding) finding {
	f := why
	f.reason, f.ends = v1alpha1.ReasonCheckFailed, well
	f.message = "WeChat did not say whether the token in the Secret is valid. " + why.message
	if c.Reported {
		f.ends = byItself // a consumer waits for the answer
	}
	return f
}

// ofError says what a failed call means, and what somebody has to do.
func ofError(err *wechat.Error) finding {
	f := finding{reason: err.Meaning().Reason, ends: byPerson, err: &v1alpha1.WeChatError{Message: err.Message, RID: err.RID}}
	what := "WeChat gave no token: " + err.Message
	if err.Code != 0 {
		f.err.Code = &err.Code
		what = fmt.Sprintf("WeChat answered %d (%s)", err.Code, err.Message)
	}
	if err.CallerIP.IsValid() {
		f.err.CallerIP = err.CallerIP.String()
	}
	if class := err.Class(); class != wechat.WrongRequest && class != wechat.Refused {
		f.ends = byItself
	}
	f.message = what + ". " + err.Remedy()
	return f
}

// whoElse says where to look for who has ended a token.
func whoElse(mode v1alpha1.Mode) string {
	if mode == v1alpha1.ModeClassic {
		return "Something else calls /cgi-bin/token for this appid, which revokes this token: find it, or use mode Stable"
	}
	return "Something else calls stable_token with force_refresh for this appid: another program, or another cluster or environment of yours, which needs spec.forcedRefresh: Never"
}

// roundedUp is a time that is not earlier than t, in whole seconds.
func roundedUp(t time.Time) string { return record.Time(t.Add(time.Second)) }
