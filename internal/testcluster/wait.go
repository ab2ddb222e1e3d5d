package testcluster

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen in the end. That is no
// promise of the program's: it is long, for machines that are shared.
const Patience = 2 * time.Minute

// Eventually waits until holds returns nil. The end of the context of tb ends it, too,
// unless that is over already: it is while a test cleans up.
func Eventually(tb testing.TB, what string, holds func() error) {
	tb.Helper()
	interrupted := tb.Context().Done()
	if tb.Context().Err() != nil {
		interrupted = nil
	}
	late := time.After(Patience)
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-interrupted:
			tb.Fatal(tb.Context().Err())
		case <-late:
			tb.Fatalf("%s: not within %s: %v", what, Patience, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
