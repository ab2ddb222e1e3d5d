//go:build integration

package attack

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// An attacker is one of those in the comment of the package.
type attacker string

const (
	editor    attacker = "editor"
	writer    attacker = "writer"
	refresher attacker = "refresher"
	reader    attacker = "reader"
	pod       attacker = "pod"
	peer      attacker = "peer"
	liar      attacker = "liar"
	thief     attacker = "thief"
)

var attackers = []attacker{editor, writer, refresher, reader, pod, peer, liar, thief}

// A row is an attack, and what came of it.
type row struct {
	by         attacker
	what, held string
}

var (
	rowsMu sync.Mutex
	rows   []row
)

// tried puts an attack into the table. Whether it held is the result of the test.
func tried(t *testing.T, by attacker, what string, args ...any) {
	t.Helper()
	r := row{by, fmt.Sprintf(what, args...), "yes"}
	t.Cleanup(func() {
		if t.Failed() {
			r.held = "NO"
		}
		rowsMu.Lock()
		defer rowsMu.Unlock()
		rows = append(rows, r)
	})
}

// printTable prints what was tried, by attacker.
func printTable() {
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Compare(slices.Index(attackers, a.by), slices.Index(attackers, b.by))
	})
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nattacker\ttried\theld\n%s\t%s\t%s\n", strings.Repeat("-", 9), strings.Repeat("-", 40), strings.Repeat("-", 9))
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.by, r.what, r.held)
	}
	_ = w.Flush() // to stdout
}
