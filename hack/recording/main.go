// Command recording draws docs/trial.svg, a terminal in which the trial runs, from
// trial.cast. With -record it first runs the commands of commands.txt in a pseudo
// terminal, on the cluster of KUBECONFIG, and keeps what they print. It runs in the
// folder hack.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"strings"
)

//go:embed commands.txt
var list string

// commands are those of the recording, one a line.
func commands() []string { return strings.Split(strings.TrimSpace(list), "\n") }

const (
	cast = "recording/trial.cast"
	svg  = "../docs/trial.svg"
)

func main() {
	again := flag.Bool("record", false, "run the commands again")
	flag.Parse()
	if err := run(*again); err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
}

func run(again bool) error {
	if again {
		if err := record(cast); err != nil {
			return err
		}
	}
	drawn, err := drawFile(cast)
	if err != nil {
		return err
	}
	return os.WriteFile(svg, drawn, 0o644)
}
