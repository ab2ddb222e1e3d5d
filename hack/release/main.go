// Command release writes what only a release knows into files that others read:
//
//	release krew -version v1.2.3 -url https://... ARCHIVE.tar.gz... <TEMPLATE >MANIFEST
//	release chart -version v1.2.3 -url https://... CHANGELOG.md <Chart.yaml >Chart.yaml
//
// The manifest is for krew, which knows the archives of the plugin by their checksums. Chart.yaml has
// what catalogues show of the chart.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string, r io.Reader, w io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("say what to write: krew or chart")
	}
	flags := flag.NewFlagSet("release "+args[0], flag.ContinueOnError)
	version := flags.String("version", "", "the release's `version`")
	url := flags.String("url", "", "where the files of the release will be")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "krew":
		return manifest(w, r, *version, *url, flags.Args())
	case "chart":
		changelog, err := os.ReadFile(flags.Arg(0))
		if err != nil {
			return err
		}
		return catalogue(w, r, *version, *url, string(changelog))
	default:
		return fmt.Errorf("%q cannot be written: krew or chart can", args[0])
	}
}
