package attack

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

var heavy = flag.Bool("heavy", false, "make the attacks that take a minute or more, too")

// An attacker is one of those in the comment of the package.
type attacker string

const (
	editor    attacker = "editor"
	writer    attacker = "writer"
	refresher attacker = "refresher"
	pod       attacker = "pod"
	peer      attacker = "peer"
	liar      attacker = "liar"
	thief     attacker = "thief"
)

var attackers = []attacker{editor, writer, refresher, pod, peer, liar, thief}

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
		switch {
		case t.Failed():
			r.held = "NO"
		case t.Skipped():
			r.held = "not tried"
		}
		rowsMu.Lock()
		defer rowsMu.Unlock()
		rows = append(rows, r)
	})
}

// onlyHeavy skips an attack that takes long, unless it was asked for.
func onlyHeavy(t *testing.T) {
	t.Helper()
	if !*heavy {
		t.Skip("it takes a minute or more: `make attack` tries it")
	}
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

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if err := startWorld(); err != nil {
			fmt.Fprintln(os.Stderr, err, endWorld())
			return 1
		}
		code := m.Run()
		if err := endWorld(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		printTable()
		return code
	}())
}
