package main

import (
	"context"
	"fmt"
	"io"
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
  unknown  you may not see it, or nothing tells; no reason to worry by itself

It reads with your permissions and changes nothing. The AppSecret's Secret is read to check the form of the AppSecret;
it is not printed. The exit code is 0 if nothing fails, and 1 if something does.

` + exitCodes,
		Example: `  kubectl wechattoken doctor
  kubectl wechattoken doctor shop -n web
  kubectl wechattoken doctor shop -n web --dial`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeNames(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVarP(&o.everywhere, "all-namespaces", "A", false, "look at the WeChatTokens of all namespaces")
	cmd.Flags().BoolVar(&o.dial, "dial", false, "also connect to WeChat from this machine; no token is asked for")
	cmd.Flags().StringVar(&o.operatorNS, "operator-namespace", "", "namespace of the operator; left out, it is looked for")
	if err := cmd.RegisterFlagCompletionFunc("operator-namespace", p.completeNamespaces); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

// level is how well something is.
type level string

const (
	pass    level = "pass"
	warn    level = "warn"
	fail    level = "FAIL"
	unknown level = "unknown"
)

// finding is a line of the doctor.
type finding struct {
	level level
	text  string
}

func passes(format string, args ...any) finding {
	return finding{pass, fmt.Sprintf(format, args...)}
}

func warns(format string, args ...any) finding {
	return finding{warn, fmt.Sprintf(format, args...)}
}

func fails(format string, args ...any) finding {
	return finding{fail, fmt.Sprintf(format, args...)}
}

func unknownf(format string, args ...any) finding {
	return finding{unknown, fmt.Sprintf(format, args...)}
}

// check looks at one part of what was found.
type check[F any] struct {
	name string
	look func(f *F, now time.Time) []finding
}

func (o *doctorOptions) run(ctx context.Context, names []string) error {
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
		crd := clusterChecks[:1] // without it the others have nothing to look at
		tell(o.Out, "The cluster", crd, &clusterFacts{schema: schema}, time.Time{})
		return &exit{code: exitNo}
	}
	tokens, err := c.tokens(ctx, names, labels.Everything(), o.everywhere)
	if err != nil {
		return err
	}
	facts := g.clusterFacts(ctx, schema, tokens)
	failed := tell(o.Out, "The cluster", clusterChecks, facts, c.clock.now())
	for i := range tokens {
		title := fmt.Sprintf("WeChatToken %s/%s", tokens[i].Namespace, tokens[i].Name)
		failed = tell(o.Out, title, tokenChecks, g.tokenFacts(ctx, &tokens[i], facts), c.clock.now()) || failed
	}
	if len(tokens) == 0 {
		fmt.Fprintln(o.ErrOut, "There are no WeChatTokens here: -n chooses the namespace, -A takes all.")
	}
	if failed {
		return &exit{code: exitNo}
	}
	return nil
}

// tell prints what the checks find, and reports whether something fails.
func tell[F any](out io.Writer, title string, checks []check[F], facts *F, now time.Time) (failed bool) {
	fmt.Fprintln(out, title)
	for _, check := range checks {
		for _, f := range check.look(facts, now) {
			fmt.Fprintf(out, "  %-7s  %-20s  %s\n", f.level, check.name, f.text)
			failed = failed || f.level == fail
		}
	}
	return failed
}

// operatorName is that of the Deployment, its ServiceAccount and its lease.
const operatorName = "wechat-token-operator"

// kindOf is said in messages.
var kindOf = v1alpha1.GroupVersion.WithKind("WeChatToken")
