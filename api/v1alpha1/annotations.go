package v1alpha1

// AnnotationRefreshRequestedAt asks for a new token at once. Any value that
// differs from the one handled last is a request; the time of day is a good
// one. status.lastHandledRefreshAt echoes the value once the Secret holds the
// result. Values longer than 256 bytes count, and are echoed, by their first
// 256.
const AnnotationRefreshRequestedAt = "wechattoken.io/refresh-requested-at"
