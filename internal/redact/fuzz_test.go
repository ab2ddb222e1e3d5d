package redact

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

const (
	secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	token  = "98_canary-token_canary-token"
)

// writings are ways in which somebody may write a secret.
var writings = []struct {
	name  string
	write func(string) string
}{
	{"AsItIs", func(s string) string { return s }},
	{"UpperCase", strings.ToUpper},
	{"Spaced", between(" ")},
	{"Dashes", between("-")},
	{"Colons", between(":")},
	{"Dots", between(".")},
	{"Underscores", between("_")},
	{"Lines", between("\r\n")},
	{"ZeroWidth", between("\u200b")},
	{"Unprintable", between("\x00\u202e\x1b")},
	{"Long", between(strings.Repeat(" .", 20))},
	{"Hex", func(s string) string { return hex.EncodeToString([]byte(s)) }},
	{"UpperHex", func(s string) string { return fmt.Sprintf("%X", s) }},
	{"SpacedHex", func(s string) string { return fmt.Sprintf("% x", s) }},
	{"ColonHex", func(s string) string { return strings.ReplaceAll(fmt.Sprintf("% x", s), " ", ":") }},
	{"GoBytes", func(s string) string { return fmt.Sprintf("%#v", []byte(s)) }},
	{"Base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
	{"Base64After1", func(s string) string { return base64.StdEncoding.EncodeToString([]byte("a" + s + "b")) }},
	{"Base64After2", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe" + s + "\xfb")) }},
	{"Base64Lines", func(s string) string {
		return regexp.MustCompile(".{1,10}").ReplaceAllString(base64.StdEncoding.EncodeToString([]byte(s)), "$0\r\n")
	}},
	{"ZeroWidthURLBase64", func(s string) string { return base64.URLEncoding.EncodeToString([]byte(between("\u200b")(s))) }},
	{"ZeroWidthStdBase64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(between("\u200b")(s))) }},
	{"UTF16Base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(between("\x00")(s))) }},
	{"Query", url.QueryEscape},
	{"Percent", each("%%%02x")},
	{"PercentTwice", each("%%25%02X")},
	{"PercentThrice", each("%%2525%02x")},
	{"PercentU", each("%%u%04x")},
	{"SomePercent", func(s string) string { return strings.ReplaceAll(s, s[2:3], fmt.Sprintf("%%%02x", s[2])) }},
	{"JSON", each(`\u%04x`)},
	{"JSONTwice", each(`\\u%04X`)},
	{"HTMLInURLs", each("%%2526%%2523%d;")},
	{"Go", each(`\x%02x`)},
	{"Quoted", strconv.Quote},
	{"Octal", each(`\%03o`)},
	{"HTML", each("&#%d;")},
	{"HexHTML", each("&#x%x;")},
	{"PaddedHTML", each("&#%07d;")},
	{"HTMLTwice", each("&amp;#%d;")},
}

func between(separator string) func(string) string {
	return func(s string) string { return strings.Join(strings.Split(s, ""), separator) }
}

func each(format string) func(string) string {
	return func(s string) string {
		var out strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&out, format, s[i])
		}
		return out.String()
	}
}

// In each writing a secret is hidden, and little else is.
func TestSecretIsHiddenInEachWriting(t *testing.T) {
	t.Parallel()
	for _, w := range writings {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			for _, secret := range []string{secret, token} {
				for _, part := range []string{secret, secret[:12], secret[len(secret)-12:]} {
					written := w.write(part)
					if shared(written, secret) == "" {
						t.Errorf("the test cannot read %q", written)
					}
					// Letters before it move what is written in several digits.
					for _, before := range []string{"", "a", "ab", "abc"} {
						got := Secrets(before+written+" rid", "another secret", secret)
						rest, found := strings.CutPrefix(got, before)
						if left := shared(got, secret); left != "" || !found || !strings.HasSuffix(rest, " rid") || len(rest) > len(mask)+20 {
							t.Errorf("%q became %q, which shows %s", before+written, got, left)
						}
					}
				}
			}
		})
	}
}

// FuzzSecrets writes a secret, or a part of it, in one way and that in another,
// and puts it into a text.
func FuzzSecrets(f *testing.F) {
	for i := range writings {
		f.Add("invalid appsecret ", ", rid: 67b81456-7783352d-44cb33e5", secret, uint8(0), uint8(0), uint8(i), uint8(0))
		f.Add(`{"errmsg":"busy, keep `, `","expires_in":7200}`, token, uint8(3), uint8(5), uint8(i), uint8(len(writings)-1-i))
	}
	f.Fuzz(func(t *testing.T, before, after, secret string, front, end, inner, outer uint8) {
		secret = strings.Map(func(r rune) rune {
			if r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' {
				return -1 // no AppSecret, token or ticket has that
			}
			return r
		}, secret)
		cut := min(int(front), len(secret))
		part := secret[cut:max(cut, len(secret)-int(end))]
		if len(bare(part)) < share {
			return
		}
		in, out := writings[int(inner)%len(writings)], writings[int(outer)%len(writings)]
		text := before + out.write(in.write(part)) + after
		if len(text) > longest {
			return
		}
		got := Secrets(text, secret)
		if left := shared(got, secret); left != "" {
			t.Errorf("%s in %s: Secrets(%q, %q) = %q, which shows %s", in.name, out.name, text, secret, got, left)
		}
	})
}

// bare is s in lower case, without what could separate its characters.
func bare(s string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if strings.ContainsRune(letters, r) {
			return r
		}
		return -1
	}, s))
}

var (
	hexRun     = regexp.MustCompile(`(?:[0-9A-Fa-f]{2}[ :]?){8,}`)
	base64Run  = regexp.MustCompile(`[A-Za-z0-9+/\r\n]{10,}`)
	percented  = regexp.MustCompile(`(%u00|%|0x)[0-9A-Fa-f]{2}`)
	backslashd = regexp.MustCompile(`\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[01][0-7]{2}`)
)

// decoders read a text as one who looks for a secret would.
var decoders = map[string]func(string) []string{
	"hex": func(s string) (all []string) {
		for _, run := range hexRun.FindAllString(s, -1) {
			run = strings.NewReplacer(" ", "", ":", "").Replace(run)
			for skip := range 2 {
				run := run[skip:]
				if b, err := hex.DecodeString(run[:len(run)/2*2]); err == nil {
					all = append(all, string(b))
				}
			}
		}
		return all
	},
	"base64": func(s string) (all []string) {
		for _, run := range base64Run.FindAllString(strings.NewReplacer("-", "+", "_", "/").Replace(s), -1) {
			run = strings.NewReplacer("\r", "", "\n", "").Replace(run)
			for skip := range min(4, len(run)) {
				run := run[skip:]
				if b, err := base64.RawStdEncoding.DecodeString(run[:len(run)/4*4]); err == nil {
					all = append(all, string(b))
				}
			}
		}
		return all
	},
	"percent": func(s string) []string {
		for range 3 {
			s = percented.ReplaceAllStringFunc(s, func(m string) string {
				b, _ := hex.DecodeString(m[len(m)-2:]) // two digits
				return string(b)
			})
		}
		return []string{s}
	},
	"JSON": func(s string) []string {
		return []string{backslashd.ReplaceAllStringFunc(s, func(m string) string {
			c, _, _, _ := strconv.UnquoteChar(m, 0) // it is one
			return string(c)
		})}
	},
	"HTML": func(s string) []string { return []string{html.UnescapeString(s)} },
}

// shared says what of a secret somebody can read who decodes s up to two times;
// empty if that is nothing.
func shared(s, secret string) string {
	secrets := []string{strings.ToLower(secret), bare(secret)}
	var look func(text, how string, more int) string
	look = func(text, how string, more int) string {
		for _, text := range []string{strings.ToLower(text), bare(text)} {
			for _, secret := range secrets {
				for i := 0; i+share <= len(secret); i++ {
					if strings.Contains(text, secret[i:i+share]) {
						return fmt.Sprintf("%q (%s)", secret[i:i+share], how)
					}
				}
			}
		}
		if more == 0 {
			return ""
		}
		for name, decode := range decoders {
			for _, decoded := range slices.Compact(decode(text)) {
				if left := look(decoded, name+" in "+how, more-1); left != "" {
					return left
				}
			}
		}
		return ""
	}
	for piece := range strings.SplitSeq(s, mask) {
		if left := look(piece, "the text", 2); left != "" {
			return left
		}
	}
	return ""
}
