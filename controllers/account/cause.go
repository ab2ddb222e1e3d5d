package account

import (
	"time"

	"wechattoken.io/operator/internal/wechat"
)

// CauseKind is why a WeChatToken does not have what it wants.
type CauseKind int

const (
	// NoCause says that all is well.
	NoCause CauseKind = iota
	// CallFailed says that the last call for a token failed.
	CallFailed
	// SameTokenReturned says that WeChat returned the same token on a forced call.
	SameTokenReturned
	// ForceDeferred says that WeChat wants a pause before the next forced call.
	ForceDeferred
	// ForceBudgetExhausted says that the forced calls are used up.
	ForceBudgetExhausted
	// DayBudgetExhausted says that the calls of mode Classic are used up.
	DayBudgetExhausted
	// Revoked says that WeChat has called the token invalid before its end, and
	// that its successor is on the way.
	Revoked
	// CheckFailed says that WeChat did not tell whether the token is valid.
	CheckFailed
	// ForceNotAllowed says that a forced call is wanted, and that the WeChatToken
	// forbids it.
	ForceNotAllowed
	// VerifyBudgetExhausted says that WeChat was asked so often today whether the
	// token is valid that it is not asked again.
	VerifyBudgetExhausted
)

// Cause is why a WeChatToken does not have what it wants. Two equal situations have
// equal causes.
type Cause struct {
	Kind CauseKind
	// Err is the error of CallFailed and CheckFailed.
	Err *wechat.Error
	// Next is when the next call is possible, of ForceDeferred, ForceBudgetExhausted
	// and VerifyBudgetExhausted.
	Next time.Time
	// Lasting says that WeChat has answered an errcode for an hour or more of which
	// nothing is known: it does not seem to pass by itself.
	Lasting bool
	// Reported says that a consumer waits for the check that failed.
	Reported bool
}

// lasting is how long an unknown errcode is taken for one that passes by itself.
const lasting = time.Hour

// causeOf is the cause that a failed call for a token is.
func causeOf(f *Failure) Cause {
	if f.Err == nil {
		return Cause{Kind: SameTokenReturned}
	}
	return Cause{Kind: CallFailed, Err: f.Err, Lasting: f.Err.Unknown() && f.At.Sub(f.Since) >= lasting}
}
