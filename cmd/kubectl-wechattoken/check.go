package main

import (
	"context"

	"github.com/spf13/cobra"
)

type checkOptions struct {
	*plugin

	pre        bool
	operatorNS string
	output     string
}

func newCheck(p *plugin) *cobra.Command {
	o := &checkOptions{plugin: p}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the install, or with --pre what it needs",
		Long: `Check the install: the part of "doctor" that is about the cluster.

With --pre, before an install: is the version of Kubernetes new enough, does the cluster have admission policies, is
there a CRD or an operator already, and may you create what an install creates. It changes nothing.

The exit code is 0 if nothing fails, and 1 if something does.

` + exitCodes,
		Example: `  kubectl wechattoken check --pre
  kubectl wechattoken check -o json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.pre, "pre", false, "check what an install needs")
	p.operatorNamespaceFlag(cmd, &o.operatorNS)
	reportFlag(cmd, &o.output)
	return cmd
}

func (o *checkOptions) run(ctx context.Context) error {
	if err := checkReportFlag(o.output); err != nil {
		return err
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	g := gatherer{cluster: c, operatorNS: o.operatorNS}
	if o.pre {
		facts := g.preFacts(ctx)
		if away(facts.version.err) {
			return facts.version.err
		}
		return report{Cluster: look(preChecks, facts, c.clock.now())}.print(o.plugin, o.output)
	}
	checks, facts := clusterChecks, &clusterFacts{schema: g.schema(ctx)}
	switch err := explain(facts.schema.err); {
	case away(err):
		return err
	case err == nil && !facts.schema.value.served():
		checks = clusterChecks[:1] // the others have nothing to look at
	default:
		facts = g.clusterFacts(ctx, facts.schema, nil)
	}
	return report{Cluster: look(checks, facts, c.clock.now())}.print(o.plugin, o.output)
}
