// Package report is what the consumer of the end-to-end tests prints, and what
// the tests read in its log.
package report

import "time"

// Event is what has happened.
type Event string

// The events.
const (
	Token  Event = "token"  // there is another token than before
	Dead   Event = "dead"   // WeChat has called the token invalid
	Failed Event = "failed" // the token could not be read, or WeChat not be called
	Ended  Event = "ended"  // the consumer was told to end
)

// Line is one line of the log, as JSON.
type Line struct {
	At          time.Time `json:"at"`
	Event       Event     `json:"event"`
	Fingerprint string    `json:"fingerprint"` // of the token in use: 16 hex digits
	Calls       int       `json:"calls"`       // of WeChat so far
	Detail      string    `json:"detail,omitempty"`
}
