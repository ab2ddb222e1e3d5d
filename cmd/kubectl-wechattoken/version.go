package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"wechattoken.io/operator/internal/build"
)

func newVersion(p *plugin) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of the plugin",
		Example: "  kubectl wechattoken version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(p.Out, "kubectl-wechattoken", build.This())
			return nil
		},
	}
}
