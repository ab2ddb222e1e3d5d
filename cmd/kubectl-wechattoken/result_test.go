package main

import (
	"fmt"
	"strings"
	"testing"
)

// result is how a run of the plugin ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string { return fmt.Sprintf("exit code %d\n%s%s", r.code, r.stdout, r.stderr) }

// wants checks the exit code and what is printed; each text that begins with !
// must not be.
func (r result) wants(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("got exit code %d, want %d", r.code, code)
	}
	for _, text := range texts {
		text, not := strings.CutPrefix(text, "!")
		if strings.Contains(r.stdout+r.stderr, text) == not {
			t.Errorf("%q must be there: %t", text, !not)
		}
	}
	if t.Failed() {
		t.Fatalf("%s", r)
	}
}
