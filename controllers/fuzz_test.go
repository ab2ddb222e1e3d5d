package controllers

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever people write into the annotations of a WeChatToken: what is taken from
// there fits into the status and the Secret, and a report is nothing but one.
func FuzzAnnotations(f *testing.F) {
	for _, value := range []string{"", "1", "0123456789abcdef", "0123456789abcdef@2026-11-22T10:00:00Z", "0123456789ABCDEF", "0123456789abcdef@", "0123456789abcdef@" + strings.Repeat("x", 60), "0123456789abcdef\n", "98_token", strings.Repeat("é", 200)} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		value = strings.ToValidUTF8(value, "") // as the API server has it
		wt := weChatToken(requesting(value), reporting(value))
		if got := requestOn(wt); len(got) > maxRequest || !utf8.ValidString(got) || !strings.HasPrefix(value, got) || (got == "") != (value == "") {
			t.Errorf("the refresh request %q is taken for %q", value, got)
		}
		report, named := reportOn(wt)
		if report == "" && named == "" {
			return
		}
		if report != value || len(report) > 64 || len(named) != 16 || !strings.HasPrefix(report, named) || strings.Trim(named, "0123456789abcdef") != "" {
			t.Errorf("%q is taken for the report %q of %q", value, report, named)
		}
		if rest := report[16:]; rest != "" && (rest[0] != '@' || strings.ContainsFunc(rest[1:], func(r rune) bool { return r <= ' ' || r > '~' })) {
			t.Errorf("%q is taken for a report", value)
		}
	})
}
