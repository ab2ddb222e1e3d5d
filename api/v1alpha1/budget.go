package v1alpha1

import "time"

// What WeChat allows of an account, as its pages say (getStableAccessToken, API
// Call Limits). The operator stops itself before WeChat does.
const (
	// ForcedRefreshesPerDay is how many forced refreshes there are in 24 hours,
	// in mode Stable.
	ForcedRefreshesPerDay = 20
	// ForcedRefreshSpacing is the least time between two of them.
	ForcedRefreshSpacing = 30 * time.Second
	// ClassicCallsPerDay is how many calls of mode Classic there are in a day.
	ClassicCallsPerDay = 2000
	// ClassicCallsReserved are the last calls of a day, which are not for forced
	// refreshes, so that no flood of them keeps a token from being replaced in
	// time.
	ClassicCallsReserved = 200
)

// The operator keeps what was spent on the Secret that holds the token. These
// annotations are for reading: an edited one makes the operator ask WeChat for
// the token anew.
const (
	// AnnotationForcedCalls are the times of the forced refreshes that still
	// count, as Unix seconds with commas between, oldest first.
	AnnotationForcedCalls = "wechattoken.io/forced-calls"
	// AnnotationClassicCalls is the last day with calls of mode Classic, in
	// Beijing, and their number, such as "2026-11-22 37".
	AnnotationClassicCalls = "wechattoken.io/classic-calls"
)
