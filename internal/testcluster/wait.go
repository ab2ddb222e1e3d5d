package testcluster

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen in the end. That is no
// promise of the program's: it is long, for machines that are shared.
const Patience = 2 * time.Minute

// Eventually waits until holds returns nil.
func Eventually(tb testing.TB, what string, holds func() error) {
	tb.Helper()
	var err error
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	tb.Fatalf("%s: not within %s: %v", what, Patience, err)
}
