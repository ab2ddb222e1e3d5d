package redact

import (
	"cmp"
	"html"
	"regexp"
	"strconv"
	"strings"
)

// view is a text, or what one decodes to.
type view []char

// char is a byte of a view, and the bytes of the text that it is written with.
type char struct {
	is       byte
	from, to int
}

func plain(s string) view {
	v := make(view, len(s))
	for i := range len(s) {
		v[i] = char{s[i], i, i + 1}
	}
	return v
}

// decoded is all that a view decodes to. Where in it something encoded begins is
// not known: nothing and everything may be, from any place on.
func (v view) decoded() []view {
	var all []view
	for u, n := v.unescaped(), 0; u != nil && n < mostEscapes; u, n = u.unescaped(), n+1 {
		all = append(all, u)
	}
	for _, p := range packings {
		for skipped := range p.period {
			all = append(all, v.unpacked(p, skipped))
		}
	}
	return all
}

// packing is a way to write bytes with digits of less than 8 bits.
type packing struct {
	bits   int    // of a digit
	period int    // so many digits are whole bytes
	digits string // by their value; what comes again has the value without the bits too many
}

var packings = []packing{
	{4, 2, "0123456789abcdef0123456789ABCDEF"},
	{6, 4, letters + "+/"},
	{6, 4, letters + "-_"},
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// unpacked is what the digits of v stand for, but for the first ones. All else is
// passed over, such as the line breaks in base64.
func (v view) unpacked(p packing, skipped int) view {
	var out view
	value, bits, from := 0, 0, 0
	for _, c := range v {
		digit := strings.IndexByte(p.digits, c.is)
		switch {
		case digit < 0:
			continue
		case skipped > 0:
			skipped--
			continue
		}
		value = (value<<p.bits | digit&(1<<p.bits-1)) & 0xffff
		if bits += p.bits; bits >= 8 {
			bits -= 8
			out = append(out, char{byte(value >> bits & 0xff), from, c.to})
		}
		from = c.from
	}
	return out
}

// mostEscapes bounds how often escapes are escaped, as in a URL within a URL.
const mostEscapes = 4

// escape is one byte or character as a URL, JSON, Go or HTML may write it.
// Backslashes double where a text is quoted again.
var escape = regexp.MustCompile(strings.ReplaceAll(`(?s)(?:%|0[xX])H{2}|%uH{4}`+
	`|\\+(?:xH{2}|uH{4}|[0-3][0-7]{2}|.)`+
	`|&(?:#[0-9]{1,8};?|#[xX]H{1,8};?|[A-Za-z]{2,8};)`, "H", "[0-9A-Fa-f]"))

// unescaped is v without its escapes, nil if it has none.
func (v view) unescaped() view {
	text := make([]byte, len(v))
	for i, c := range v {
		text[i] = c.is
	}
	var out view
	end := 0
	for _, at := range escape.FindAllIndex(text, -1) {
		out = append(out, v[end:at[0]]...)
		end = at[1]
		meant := unescape(string(text[at[0]:end]))
		for i := range len(meant) {
			out = append(out, char{meant[i], v[at[0]].from, v[end-1].to})
		}
	}
	if end == 0 {
		return nil
	}
	return append(out, v[end:]...)
}

// unescape is what an escape stands for.
func unescape(s string) string {
	switch {
	case s[0] == '&':
		return html.UnescapeString(s)
	case s[0] == '\\':
		s = strings.TrimLeft(s, `\`)
	case s[1] == 'u':
		s = s[1:]
	default:
		s = "x" + s[len(s)-2:]
	}
	c, wide, _, err := strconv.UnquoteChar(`\`+s, 0)
	switch {
	case err != nil: // what is quoted stands for itself
		return cmp.Or(s, `\`)
	case wide:
		return string(c)
	default:
		return string([]byte{byte(c & 0xff)})
	}
}
