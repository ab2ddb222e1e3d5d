package wire_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"wechattoken.io/operator/internal/wechat/wire"
)

// What is not 32 hex digits is no AppSecret, and what is odd about it shows
// nothing of it.
func TestOnlyThirtyTwoHexDigitsAreAnAppSecret(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	cases := map[string]struct {
		reason, stored, want, odd string
	}{
		"Plain":         {"As the console shows it.", secret, secret, ""},
		"LineFeed":      {"echo adds one.", secret + "\n", secret, ""},
		"ByteOrderMark": {"An editor of Windows adds one.", "\ufeff" + secret + "\r\n", secret, ""},
		"ZeroWidth":     {"A web page may have some.", secret[:16] + "\u200b" + secret[16:], secret, ""},
		"Nothing":       {"", "", "", ""},
		"Blank":         {"It counts as nothing.", " \n\ufeff", "", ""},
		"Quoted":        {"", `"` + secret + `"`, "", "in quotation marks"},
		"ChineseQuotes": {"", "“" + secret + "”", "", "in quotation marks"},
		"Base64Twice":   {"data wants base64, stringData does not.", base64.StdEncoding.EncodeToString([]byte(secret + "\n")), "", "in base64 twice"},
		"KeyAndValue":   {"A line of a .env file.", "WECHAT_APPSECRET=" + secret, "", "a name and = before it"},
		"Short":         {"How long it is, nobody learns.", secret[1:], "", "not 32 hex digits"},
		"Space":         {"", secret[:16] + " " + secret[16:], "", "not 32 hex digits"},
		"Password":      {"The password of a database.", "correct horse battery staple", "", "not 32 hex digits"},
		"PrivateKey":    {"", "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n", "", "not 32 hex digits"},
		"Huge":          {"", strings.Repeat("a", 900<<10), "", "not 32 hex digits"},
		"Binary":        {"", "\x00\xff\xfe" + secret[1:], "", "not 32 hex digits"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, odd := wire.ReadAppSecret([]byte(tc.stored))
			if got != tc.want || !strings.Contains(odd, tc.odd) || (odd == "") != (tc.odd == "") {
				t.Errorf("%s\ngot %q, %q; want %q, %q", tc.reason, got, odd, tc.want, tc.odd)
			}
		})
	}
}
