package v1alpha1

// AnnotationRefreshRequestedAt asks for a new token at once. Any value that
// differs from the one handled last is a request; the time of day is a good
// one. status.lastHandledRefreshAt echoes the value once the Secret holds the
// result. Values longer than 256 bytes count, and are echoed, by their first
// 256.
const AnnotationRefreshRequestedAt = "wechattoken.io/refresh-requested-at"

// AnnotationInvalidToken reports that a business call found the token invalid: errcode
// 40001, 40014 or 42001. Its value is the fingerprint of that token, the first
// 16 hex digits of its SHA-256, and optionally an @ and up to 40 letters,
// digits, and : . + - _ that make the report a new one, such as the time of day:
//
//	3f1c9a0b55d2e871@2026-11-22T10:00:00Z
//
// A report of a token that is not the current one has nothing to do. Otherwise
// WeChat is asked whether the token is valid (get_api_domain_ip), and it is replaced
// if not. status.lastHandledInvalidToken echoes the value when the report has been
// dealt with. A value of another form is ignored, and never echoed: it may be a
// token.
const AnnotationInvalidToken = "wechattoken.io/invalid-token"

// AnnotationTouchedFor is on pods that mount the Secret of a WeChatToken with
// propagation Touch: a fingerprint of what the Secret holds. The operator
// writes it, and the kubelet looks at the Secret when it changes.
const AnnotationTouchedFor = "wechattoken.io/touched-for"

// AnnotationRestartPrefix and the name of a WeChatToken behind it are on a workload that
// the operator restarted for its token, and for no other one since. The value is the
// fingerprint of the token, the time, and the turn of the pod template:
//
//	3f1c9a0b55d2e871@2026-11-22T10:00:00Z/1
const AnnotationRestartPrefix = "restart.wechattoken.io/"

// AnnotationRestartTurn is on the pod template of a workload that the operator has restarted,
// every other time. It makes the template the one before the last restart again, which is
// no new revision: so restarts do not push other revisions out of the history of rollouts.
const AnnotationRestartTurn = "wechattoken.io/restart-turn"
