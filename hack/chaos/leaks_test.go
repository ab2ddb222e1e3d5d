package main

import (
	"encoding/base64"
	"strings"
	"testing"
)

// Secrets are seen in what the operator tells, whatever form they have, and fingerprints
// are none.
func TestSecretsAreSeen(t *testing.T) {
	token, secret := "98_"+strings.Repeat("aZ-_", 32), appSecret("wx0123456789abcdef", 1)
	for told, want := range map[string]int{
		`{"msg":"wrote a new token","tokenFingerprint":"0123456789abcdef"}`: 0,
		"a token: " + token + ".":                         1,
		"secret=" + secret:                                1,
		base64.StdEncoding.EncodeToString([]byte(token)):  1,
		base64.StdEncoding.EncodeToString([]byte(secret)): 1,
		"panic: nil map":                                  1,
	} {
		w := &world{journal: newJournal(0, nil)}
		w.inspect("a log", []byte(told))
		if len(w.journal.found) != want {
			t.Errorf("%q: found %v, want %d", told, w.journal.found, want)
		}
	}
}
