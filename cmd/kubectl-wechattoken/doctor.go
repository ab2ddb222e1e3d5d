package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"wechattoken.io/operator/api/v1alpha1"
)

type doctorOptions struct {
	*plugin

	everywhere bool
	dial       bool
	operatorNS string
	output     string
}

func newDoctor(p *plugin) *cobra.Command {
	o := &doctorOptions{plugin: p}
	cmd := &cobra.Command{
		Use:   "doctor [NAME]",
		Short: "Find out what is wrong",
		Long: `Find out what is wrong: look at the whole chain from the CRD to the pods that use the token, and say of each part
whether it is well, and what to do if not. Without a NAME it looks at each WeChatToken of the namespace.

  pass     it is well
  warn     it works, but look at it
  FAIL     do what the line says
  unknown  you may not see it, or nothing shows it; no reason to worry by itself

It reads with your permissions and changes nothing. The AppSecret's Secret is read to check the form of the AppSecret;
it is not printed. The exit code is 0 if nothing fails, and 1 if something does.

` + exitCodes,
		Example: `  kubectl wechattoken doctor
  kubectl wechattoken doctor shop -n web
  kubectl wechattoken doctor shop -n web --dial
  kubectl wechattoken doctor -A -o json | jq '.weChatTokens[] | select(any(.findings[]; .level == "fail"))'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeNames(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVarP(&o.everywhere, "all-namespaces", "A", false, "look at the WeChatTokens of all namespaces")
	cmd.Flags().BoolVar(&o.dial, "dial", false, "also connect to WeChat from this machine; no token is asked for")
	p.operatorNamespaceFlag(cmd, &o.operatorNS)
	reportFlag(cmd, &o.output)
	return cmd
}

func (o *doctorOptions) run(ctx context.Context, names []string) error {
	if err := checkReportFlag(o.output); err != nil {
		return err
	}
	if len(names) > 0 && o.everywhere {
		return exitf(exitUsage, "Name a WeChatToken, or take all with -A: not both")
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	g := gatherer{cluster: c, operatorNS: o.operatorNS, dial: o.dial}
	schema := g.schema(ctx)
	if !schema.value.served() && schema.err == nil {
		// Without the CRD the other checks have nothing to look at.
		return report{Cluster: look(clusterChecks[:1], &clusterFacts{schema: schema}, time.Time{})}.print(o.plugin, o.output)
	}
	tokens, err := c.tokens(ctx, names, labels.Everything(), o.everywhere)
	if err != nil {
		return err
	}
	facts := g.clusterFacts(ctx, schema, tokens)
	r := report{Cluster: look(clusterChecks, facts, c.clock.now()), WeChatTokens: []tokenReport{}}
	for i := range tokens {
		found := look(tokenChecks, g.tokenFacts(ctx, &tokens[i], facts), c.clock.now())
		r.WeChatTokens = append(r.WeChatTokens, tokenReport{tokens[i].Namespace, tokens[i].Name, found})
	}
	if len(tokens) == 0 {
		fmt.Fprintln(o.ErrOut, "There are no WeChatTokens here: -n chooses the namespace, -A takes all.")
	}
	return r.print(o.plugin, o.output)
}

// operatorName is that of the Deployment, its ServiceAccount and its lease.
const operatorName = "wechat-token-operator"

// kindOf is said in messages.
var kindOf = v1alpha1.GroupVersion.WithKind("WeChatToken")
