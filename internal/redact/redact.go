// Package redact takes secrets out of texts that are logged or shown.
package redact

import "strings"

const (
	// mask replaces what a text shares with a secret.
	mask = "[redacted]"

	// share is how many characters in a row a text must not share with a secret.
	// By chance, not one in 100,000 texts of 1,000 hex digits shares as many
	// with an AppSecret.
	share = 8

	// nesting is how many encodings may lie around each other. One more makes the
	// work ten times as much.
	nesting = 2

	// longest bounds a text, in bytes, and so the work. No caller shows as much.
	longest = 4 << 10
)

// Secrets replaces by [redacted] what s shares with one of the secrets: 8
// characters in a row, or all of a shorter secret. Upper and lower case are the
// same; between the characters may be anything but letters and digits; and they
// may be written in hex, in base64, or as in a URL, JSON, Go or HTML. Of a long
// text only the first 4 KiB are left.
func Secrets(s string, secrets ...string) string {
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "")
	}
	m := masker{wanted: map[window]bool{}, hidden: make([]bool, len(s))}
	for _, secret := range secrets {
		m.want(secret)
	}
	if len(m.wanted) == 0 {
		return s
	}
	m.search(plain(s), nesting)

	var out strings.Builder
	for i := range len(s) {
		switch {
		case !m.hidden[i]:
			out.WriteByte(s[i])
		case i == 0 || !m.hidden[i-1]:
			out.WriteString(mask)
		}
	}
	return out.String()
}

// masker looks for secrets in a text and in all that it can be decoded to.
type masker struct {
	wanted map[window]bool
	sizes  [share + 1]bool // of the windows that are wanted
	hidden []bool          // by the byte of the text
}

// window is up to share characters in a row, the last one in the lowest byte.
type window struct {
	size  int
	chars uint64
}

// lastOf is the window at the end of what was read.
func lastOf(size int, chars uint64) window {
	return window{size, chars & (1<<(8*size) - 1)}
}

// readings are the ways to read a text: each byte of it, or without what could
// separate the characters of a secret. A false passes a byte over.
var readings = []func(byte) (byte, bool){
	func(c byte) (byte, bool) { return lower(c), true },
	func(c byte) (byte, bool) {
		c = lower(c)
		return c, '0' <= c && c <= '9' || 'a' <= c && c <= 'z'
	},
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// want adds the windows of a secret. If fewer characters of it than a share are
// letters and digits, these alone do not count: they may be a common word.
func (m *masker) want(secret string) {
	for _, read := range readings {
		var chars []byte
		for i := range len(secret) {
			if c, ok := read(secret[i]); ok {
				chars = append(chars, c)
			}
		}
		if len(chars) < min(share, len(secret)) {
			continue
		}
		size, seen := min(share, len(chars)), uint64(0)
		m.sizes[size] = size > 0
		for i, c := range chars {
			seen = seen<<8 | uint64(c)
			if i+1 >= size {
				m.wanted[lastOf(size, seen)] = true
			}
		}
	}
}

// search hides what v shares with the secrets, in itself and in what it decodes
// to.
func (m *masker) search(v view, nesting int) {
	for _, read := range readings {
		m.hide(v, read)
	}
	if nesting == 0 {
		return
	}
	for _, decoded := range v.decoded() {
		m.search(decoded, nesting-1)
	}
}

// hide hides each window of v that is wanted, and what lies between its
// characters.
func (m *masker) hide(v view, read func(byte) (byte, bool)) {
	var seen uint64
	var from [share]int // of the last characters
	for i, n := 0, 0; i < len(v); i++ {
		c, ok := read(v[i].is)
		if !ok {
			continue
		}
		seen, from[n%share] = seen<<8|uint64(c), v[i].from
		n++
		for size, used := range m.sizes {
			if !used || size > n || !m.wanted[lastOf(size, seen)] {
				continue
			}
			for at := from[(n-size)%share]; at < v[i].to; at++ {
				m.hidden[at] = true
			}
		}
	}
}
