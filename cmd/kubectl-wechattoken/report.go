package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// level is how well something is.
type level string

const (
	pass    level = "pass"
	warn    level = "warn"
	fail    level = "FAIL"
	unknown level = "unknown"
)

// MarshalText is for scripts, which need no capital letters.
func (l level) MarshalText() ([]byte, error) { //nolint:unparam // encoding.TextMarshaler is so
	return []byte(strings.ToLower(string(l))), nil
}

// finding is what a check has found. Its JSON is API.
type finding struct {
	Check string `json:"check"`
	Level level  `json:"level"` // pass, warn, fail or unknown
	Text  string `json:"text"`
}

func passes(format string, args ...any) finding {
	return finding{Level: pass, Text: fmt.Sprintf(format, args...)}
}

func warns(format string, args ...any) finding {
	return finding{Level: warn, Text: fmt.Sprintf(format, args...)}
}

func fails(format string, args ...any) finding {
	return finding{Level: fail, Text: fmt.Sprintf(format, args...)}
}

func unknownf(format string, args ...any) finding {
	return finding{Level: unknown, Text: fmt.Sprintf(format, args...)}
}

// check looks at one part of what is known.
type check[F any] struct {
	name string
	look func(f *F, now time.Time) []finding
}

// look makes the checks, in their order.
func look[F any](checks []check[F], facts *F, now time.Time) []finding {
	all := []finding{}
	for _, check := range checks {
		for _, f := range check.look(facts, now) {
			f.Check = check.name
			all = append(all, f)
		}
	}
	return all
}

// report is what doctor and check print. Its JSON is API.
type report struct {
	Cluster      []finding     `json:"cluster"`
	WeChatTokens []tokenReport `json:"weChatTokens,omitempty"`
}

type tokenReport struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Findings  []finding `json:"findings"`
}

// print prints the report. The error says whether something fails.
func (r report) print(p *plugin, output string) error {
	if output != "" {
		if err := printAs(p.Out, output, r); err != nil {
			return err
		}
	} else {
		printFindings(p.Out, "The cluster", r.Cluster)
		for _, t := range r.WeChatTokens {
			printFindings(p.Out, fmt.Sprintf("WeChatToken %s/%s", t.Namespace, t.Name), t.Findings)
		}
	}
	all := slices.Clone(r.Cluster)
	for _, t := range r.WeChatTokens {
		all = append(all, t.Findings...)
	}
	if slices.ContainsFunc(all, func(f finding) bool { return f.Level == fail }) {
		return &exit{code: exitNo}
	}
	return nil
}

func printFindings(w io.Writer, title string, findings []finding) {
	fmt.Fprintln(w, title)
	for _, f := range findings {
		fmt.Fprintf(w, "  %-7s  %-20s  %s\n", f.Level, f.Check, f.Text)
	}
}

func reportFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "json or yaml; lines when left out")
	outputs := []cobra.Completion{"json", "yaml"}
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag
	}
}

func checkReportFlag(output string) error {
	if !slices.Contains([]string{"", "json", "yaml"}, output) {
		return exitf(exitUsage, "--output must be json or yaml, not %q", output)
	}
	return nil
}

func (p *plugin) operatorNamespaceFlag(cmd *cobra.Command, namespace *string) {
	cmd.Flags().StringVar(namespace, "operator-namespace", "", "namespace of the operator; left out, it is looked for")
	if err := cmd.RegisterFlagCompletionFunc("operator-namespace", p.completeNamespaces); err != nil {
		panic(err) // there is no such flag
	}
}
