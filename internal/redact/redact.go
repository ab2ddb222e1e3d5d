// Package redact takes secrets out of texts that are logged or shown.
package redact

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// mask replaces a secret.
const mask = "[redacted]"

// Secrets replaces each of the secrets in s, in every form of it, by [redacted].
// Secrets that overlap in s become one. Empty secrets are passed over.
func Secrets(s string, secrets ...string) string {
	hidden := make([]bool, len(s))
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			at := 0
			for before := range strings.SplitSeq(s, form) {
				at += len(before)
				for i := at; i < min(at+len(form), len(s)); i++ {
					hidden[i] = true
				}
				at += len(form)
			}
		}
	}

	var out strings.Builder
	for i := range len(s) {
		switch {
		case !hidden[i]:
			out.WriteByte(s[i])
		case i == 0 || !hidden[i-1]:
			out.WriteString(mask)
		}
	}
	return out.String()
}

// forms are the ways in which a secret is written: as it is, in a URL, in JSON,
// as Go quotes it, and in base64, as in the data of a Secret.
func forms(secret string) []string {
	if secret == "" {
		return nil
	}
	quoted := strconv.Quote(secret)
	all := []string{
		secret,
		url.QueryEscape(secret),
		url.PathEscape(secret),
		quoted[1 : len(quoted)-1],
		base64.RawStdEncoding.EncodeToString([]byte(secret)), // without the padding, which reveals nothing
		base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
	if b, err := json.Marshal(secret); err == nil {
		all = append(all, string(b[1:len(b)-1]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
