package redact_test

import (
	"encoding/base64"
	"net/url"
	"testing"

	"wechattoken.io/operator/internal/redact"
)

func TestEveryFormIsHidden(t *testing.T) {
	secret := "a+b/c d%\"<"
	for _, form := range []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), `a+b/c d%\"<`,
		`a+b/c d%\"\u003c`, base64.RawStdEncoding.EncodeToString([]byte(secret)),
	} {
		if got := redact.Secrets("x "+form+" y", "", secret); got != "x [redacted] y" {
			t.Errorf("Secrets(%q) = %q", form, got)
		}
	}
}

// One secret does not save a part of another.
func TestSecretsAreHiddenWhole(t *testing.T) {
	cases := map[string]struct {
		reason  string
		s       string
		secrets []string
		want    string
	}{
		"Prefix":   {"One begins with the other.", "-abcdef-", []string{"abc", "abcdef"}, "-[redacted]-"},
		"Within":   {"One is within the other.", "-abcdef-", []string{"cd", "abcdef"}, "-[redacted]-"},
		"Overlap":  {"They overlap.", "-abcdef-", []string{"abcd", "cdef"}, "-[redacted]-"},
		"Escaped":  {"One form of a secret is within another.", "-a%25-", []string{"a%"}, "-[redacted]-"},
		"Revealed": {"What is around a secret is no new one.", "aXXb", []string{"XX", "ab"}, "a[redacted]b"},
		"Mask":     {"The mask is not masked.", "-e-", []string{"e", "d"}, "-[redacted]-"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := redact.Secrets(tc.s, tc.secrets...); got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
