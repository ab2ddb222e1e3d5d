package main

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// plugin is what all subcommands share.
type plugin struct {
	genericiooptions.IOStreams

	flags *genericclioptions.ConfigFlags
}

const exitCodes = `Exit codes:
  0    all is well, or done
  1    something is not Ready or there already, a check fails, or the refresh failed
  2    the command line or the AppSecret is wrong
  3    the cluster cannot be asked: not reachable, not allowed, no such object
  4    --timeout has passed
  5    WeChat's limits are used up
  130  interrupted`

func newRoot(streams genericiooptions.IOStreams) *cobra.Command {
	p := &plugin{IOStreams: streams, flags: genericclioptions.NewConfigFlags(true)}
	root := &cobra.Command{
		Use:   "wechattoken",
		Short: "Look after the WeChat access_tokens of wechat-token-operator",
		Long: `Look after the WeChat access_tokens of wechat-token-operator.

It never reads or prints a token. It never prints an AppSecret: "create" puts one
into its Secret, and "doctor" reads it, with your permissions, to check its form.

` + exitCodes,
		Example: `  kubectl wechattoken create shop -n web --appid=wx0123456789abcdef
  kubectl wechattoken status -A
  kubectl wechattoken doctor shop -n web
  kubectl wechattoken refresh shop -n web --wait
  kubectl wechattoken revoke shop -n web`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl wechattoken"},
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// That would make scripts for a command called wechattoken, and there is none.
	// kubectl has a way of its own to complete plugins, see main.
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	p.flags.AddFlags(root.PersistentFlags())
	root.AddCommand(newStatus(p), newRefresh(p), newDoctor(p), newCheck(p), newRevoke(p), newCreate(p), newSuspend(p), newResume(p), newVersion(p))
	if err := root.RegisterFlagCompletionFunc("namespace", p.completeNamespaces); err != nil {
		panic(err) // there is no such flag
	}
	return root
}
