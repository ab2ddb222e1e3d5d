package controllers

import (
	"regexp"
	"strings"

	"wechattoken.io/operator/api/v1alpha1"
)

// maxRequest bounds the value of the refresh annotation that counts, in bytes,
// so that no value makes the Secret or the status too large to be written.
const maxRequest = 256

// requestOn is the refresh request on wt; empty if there is none.
func requestOn(wt *v1alpha1.WeChatToken) string {
	value := wt.Annotations[v1alpha1.AnnotationRefreshRequestedAt]
	if len(value) > maxRequest {
		value = strings.ToValidUTF8(value[:maxRequest], "")
	}
	return value
}

// reportForm is the form of a report. Another value may be a token by mistake, and
// is not copied anywhere.
var reportForm = regexp.MustCompile(`^([0-9a-f]{16})(@[0-9A-Za-z:.+_-]{1,40})?$`)

// reportOn is the report of an invalid token on wt, and the fingerprint that it
// names; both are empty if there is none.
func reportOn(wt *v1alpha1.WeChatToken) (report, fingerprint string) {
	m := reportForm.FindStringSubmatch(wt.Annotations[v1alpha1.AnnotationDeadToken])
	if m == nil {
		return "", ""
	}
	return m[0], m[1]
}
