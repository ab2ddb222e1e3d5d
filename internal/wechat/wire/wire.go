// Package wire has the form of an AppSecret, and the bounds of what WeChat gives: of
// tokens, tickets and how long they are valid. They hold for an answer, and for what
// is read back from a Secret.
package wire

import "time"

const (
	// MaxBody bounds an answer, in bytes. A real one stays below 1 KiB.
	MaxBody = 64 << 10

	// MaxValue bounds a token or a ticket, in bytes: WeChat asks for at least 512 bytes
	// of room for a token. Each one is held in memory, also one that somebody has put
	// into a Secret.
	MaxValue = 4 << 10

	// MaxLife bounds expires_in. WeChat says "at most 7200 s at present" and that it
	// may change; what lasts longer than a month is not an access_token.
	MaxLife = 30 * 24 * time.Hour
)

// Usable reports whether value can be a token or a ticket: not empty, not too
// long, and nothing in it that would break an environment variable or an HTTP
// header.
func Usable(value string) bool {
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			return false
		}
	}
	return value != "" && len(value) <= MaxValue
}

// UsableLife reports whether life can be an expires_in.
func UsableLife(life time.Duration) bool { return life > 0 && life <= MaxLife }
