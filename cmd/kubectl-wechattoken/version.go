package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"wechattoken.io/operator/internal/build"
)

// versionTime bounds how long the plugin looks for an operator to print its own version.
const versionTime = 10 * time.Second

func newVersion(p *plugin) *cobra.Command {
	var operatorNS string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of the plugin and of the operator",
		Long: `Print the version of the plugin, and the image of each operator in the cluster: that of its Deployment. Without a
cluster, or without permission to see Deployments, it says so on stderr, and prints its own version.`,
		Example:           "  kubectl wechattoken version",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(p.Out, "kubectl-wechattoken", build.This())
			ctx, cancel := context.WithTimeout(cmd.Context(), versionTime)
			defer cancel()
			if err := p.printOperators(ctx, operatorNS); err != nil {
				fmt.Fprintf(p.ErrOut, "The operator's version is unknown. %v\n", err)
			}
			return nil
		},
	}
	p.operatorNamespaceFlag(cmd, &operatorNS)
	return cmd
}

func (p *plugin) printOperators(ctx context.Context, namespace string) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	g := gatherer{cluster: c, operatorNS: namespace}
	installs, err := g.installs(ctx)
	if err != nil {
		return fmt.Errorf("the Deployments: %s. --operator-namespace says where it is", sorry(err))
	}
	if len(installs) == 0 {
		return fmt.Errorf("there is no Deployment with the label app.kubernetes.io/name=%s", operatorName)
	}
	for i := range installs {
		fmt.Fprintf(p.Out, "operator %s, image %s\n", &installs[i], installs[i].images())
	}
	return nil
}
