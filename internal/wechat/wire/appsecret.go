package wire

import (
	"encoding/base64"
	"regexp"
	"strings"
	"unicode"
)

// appSecretForm is that of an AppSecret, as the WeChat console shows it.
var appSecretForm = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)

// ReadAppSecret takes the AppSecret out of what people have stored, without what
// cannot be seen: line feeds, byte-order marks. Anything that is not an AppSecret,
// such as the password of a database, must never be sent: odd then says what is
// wrong with its form, in words that show nothing of the value, and is empty
// otherwise. Nothing stored gives neither.
func ReadAppSecret(stored []byte) (secret, odd string) {
	value := strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(stored)))
	if value == "" || appSecretForm.MatchString(value) {
		return value, ""
	}
	const quotes = "\"'“”‘’`"
	decoded, err := base64.StdEncoding.DecodeString(value)
	_, last, _ := strings.Cut(value, "=")
	switch {
	case appSecretForm.MatchString(strings.Trim(value, quotes)):
		return "", "it is in quotation marks"
	case err == nil && appSecretForm.MatchString(strings.TrimSpace(string(decoded))):
		return "", "it is in base64 twice: use stringData, or encode it once"
	case appSecretForm.MatchString(strings.Trim(last, quotes+" ")):
		return "", "there is a name and = before it"
	default:
		return "", "it is not 32 hex digits"
	}
}
