// Package refusal says which errors of the API server are its last word, and what
// may be shown of them. Each controller reports a refusal to its user instead of
// trying again at once.
package refusal

import (
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"wechattoken.io/operator/internal/redact"
)

// Is reports whether the API server has said no to what was written, and would
// again. A webhook that does not answer is an internal error.
func Is(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInternalError(err)
}

// Text is what may be shown of an error: without the secrets, which a policy may
// quote, and short.
func Text(err error, secrets ...string) string {
	return Short(redact.Secrets(err.Error(), secrets...))
}

// longest bounds a text, in bytes: the note of an event holds 1,024.
const longest = 900

// Short cuts a text that is too long to be shown.
func Short(s string) string {
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
