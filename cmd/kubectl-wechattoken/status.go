package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/printers"
)

type statusOptions struct {
	*plugin

	everywhere bool
	selector   string
	output     string
}

func newStatus(p *plugin) *cobra.Command {
	o := &statusOptions{plugin: p}
	cmd := &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Show how the tokens stand",
		Long: `Show how the tokens stand: whether each is valid, how long, when the next refresh is due, the last error of
WeChat, and which workloads use the Secret. (!) marks those that never see a new token: they have it as env or
through subPath, and nobody restarts them.

The exit code is 0 if all are Ready, and 1 if not.

` + exitCodes,
		Example: `  kubectl wechattoken status -A
  kubectl wechattoken status shop -n web -o wide
  kubectl wechattoken status -A -o json | jq '.items[] | select(.ready != "True")'`,
		Args:              o.check,
		ValidArgsFunction: p.completeNames(1000),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVarP(&o.everywhere, "all-namespaces", "A", false, "show those of all namespaces")
	cmd.Flags().StringVarP(&o.selector, "selector", "l", "", "label selector, as of kubectl get")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "wide, json or yaml; a table when left out")
	outputs := []cobra.Completion{"wide", "json", "yaml"}
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

// check says what of the command line cannot be.
func (o *statusOptions) check(_ *cobra.Command, names []string) error {
	if !slices.Contains([]string{"", "wide", "json", "yaml"}, o.output) {
		return exitf(exitUsage, "--output must be wide, json or yaml, not %q", o.output)
	}
	if len(names) > 0 && (o.everywhere || o.selector != "") {
		return exitf(exitUsage, "Name WeChatTokens, or choose them with -A and -l: not both")
	}
	return nil
}

func (o *statusOptions) run(ctx context.Context, names []string) error {
	selector, err := labels.Parse(o.selector)
	if err != nil {
		return exitf(exitUsage, "--selector: %v", err)
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	tokens, err := c.tokens(ctx, names, selector, o.everywhere)
	if err != nil {
		return err
	}
	w := watchers{cluster: c}
	rows := []row{}
	var unknown []string
	for i := range tokens {
		found := w.of(ctx, &tokens[i])
		if found.unknown != "" && !slices.Contains(unknown, found.unknown) {
			unknown = append(unknown, found.unknown)
		}
		rows = append(rows, rowOf(&tokens[i], found, c.clock.now()))
	}
	if err := o.print(c, rows); err != nil {
		return err
	}
	for _, why := range unknown {
		fmt.Fprintf(o.ErrOut, "Who uses the Secrets is unknown: %s.\n", why)
	}
	if !allReady(rows) {
		return &exit{code: exitNo}
	}
	return nil
}

func (o *statusOptions) print(c *cluster, rows []row) error {
	switch o.output {
	case "json", "yaml":
		return printAs(o.Out, o.output, map[string]any{"items": rows})
	}
	if len(rows) == 0 {
		fmt.Fprintln(o.ErrOut, "There are no WeChatTokens here.")
		return nil
	}
	wide := o.output == "wide"
	table := &metav1.Table{ColumnDefinitions: columns(o.everywhere)}
	for _, r := range rows {
		table.Rows = append(table.Rows, metav1.TableRow{Cells: r.cells(o.everywhere, wide, c.clock.now())})
	}
	return printers.NewTablePrinter(printers.PrintOptions{Wide: wide}).PrintObj(table, o.Out)
}
