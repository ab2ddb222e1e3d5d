package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker: -X main.version=v0.1.0.
var version string

func newVersion(p *plugin) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of the plugin",
		Example: "  kubectl wechattoken version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			revision := "unknown"
			info, ok := debug.ReadBuildInfo()
			if ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = s.Value
					}
				}
			}
			fmt.Fprintf(p.Out, "kubectl-wechattoken %s, revision %s, %s %s/%s\n", cmp.Or(version, "dev"), revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
