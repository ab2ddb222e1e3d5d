package redact

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	secret = "canary0secret0canary0secret0cana"
	token  = "98_canary-token_canary-token"
)

// FuzzSecrets hides two secrets in a text that has them, in any relation.
func FuzzSecrets(f *testing.F) {
	for _, text := range []string{
		"<html>\n<pre>/cgi-bin/token?secret=" + secret + "</pre></html>\n",
		`{"errcode":-1,"errmsg":"busy, keep ` + token + `","access_token":"` + token + `","expires_in":7200}`,
		`{"errcode":-1,"errmsg":"a\u0085b\u2028c\u202ed\u009b2Je\u200bf\u0000g\n"}`,
		"\x1f\x8b\x00<not json>{\"access_token\":",
		"",
	} {
		f.Add(text, secret, token)
	}
	f.Add("abcdef", "abc", "abcdef")           // one begins with the other
	f.Add("abcdef", "bcd", "abcdef")           // one is within the other
	f.Add("abcdef", "abcd", "cdef")            // they overlap
	f.Add("aXXbaXXb", "XX", "ab")              // without one, the other is there
	f.Add("x[redacted]y", "redacted", "x")     // the mask is in one
	f.Add("a%2Bb a+b a%252Bb", "a+b", "a%2Bb") // one is a form of the other
	f.Add(`"a\"b" "a\u003cb"`, `a"b`, "a<b")
	f.Fuzz(func(t *testing.T, s, a, b string) {
		for _, text := range []string{
			s, s + a + s + b + s, a + b, b + a,
			s + url.QueryEscape(a) + s + url.PathEscape(b), base64.StdEncoding.EncodeToString([]byte(a)) + s + base64.URLEncoding.EncodeToString([]byte(b)),
		} {
			got := Secrets(text, a, b)
			for _, secret := range []string{a, b} {
				if secret != "" && shows(got, secret) {
					t.Errorf("Secrets(%q, %q, %q) = %q", text, a, b, got)
				}
			}
			if diff := cmp.Diff(visible(text, a, b), strings.ReplaceAll(got, mask, "")); diff != "" && !strings.Contains(text, mask) {
				t.Errorf("what of Secrets(%q, %q, %q) is left (-want +got):\n%s", text, a, b, diff)
			}
		}
	})
}

// visible is s without every byte that belongs to a form of a secret.
func visible(s string, secrets ...string) string {
	hidden := map[int]bool{}
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			for rest := 0; rest < len(s); {
				at := strings.Index(s[rest:], form)
				if at < 0 {
					break
				}
				for i := range len(form) {
					hidden[rest+at+i] = true
				}
				rest += at + len(form)
			}
		}
	}
	var left []byte
	for i := range len(s) {
		if !hidden[i] {
			left = append(left, s[i])
		}
	}
	return string(left)
}

// shows reports whether s shows the secret in a form that people or programs
// write. What the mask itself is made of reveals nothing.
func shows(s, secret string) bool {
	for _, form := range []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
	} {
		inMask := strings.ContainsAny(form, mask[:1]+mask[len(mask)-1:]) || strings.Contains(mask, form)
		if !inMask && strings.Contains(s, form) {
			return true
		}
	}
	return false
}
