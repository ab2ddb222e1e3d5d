package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/console"
)

type revokeOptions struct {
	*plugin

	yes     bool
	timeout time.Duration
}

func newRevoke(p *plugin) *cobra.Command {
	o := &revokeOptions{plugin: p}
	cmd := &cobra.Command{
		Use:     "revoke NAME",
		Aliases: []string{"leak"},
		Short:   "End a token that has leaked",
		Long: `End a token that has leaked, as soon as WeChat allows it.

Stable: after one forced refresh WeChat takes the old token for up to 5 minutes more. So there are two, 30 s apart: the
second ends the overlap, and with it the leaked token. Consumers that have not read the new file by then fail with
40001 until they do. It costs 2 of the 20 forced refreshes of 24 hours.

Classic: one refresh; WeChat takes the old token for up to 5 minutes more, and there is no faster way that is
documented.

` + exitCodes,
		Example: `  kubectl wechattoken revoke shop -n web
  kubectl wechattoken revoke shop -n web --yes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeNames(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask for confirmation")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for each refresh")
	return cmd
}

// overlap is how long the old token works beside the new one, by WeChat's word.
const overlap = 5 * time.Minute

// drill is the number of forced refreshes that end a leaked token.
func drill(mode v1alpha1.Mode) int {
	if mode == v1alpha1.ModeClassic {
		return 1
	}
	return 2
}

// mayDrill says why the drill cannot begin; spent is nil if it is unknown.
func mayDrill(wt *v1alpha1.WeChatToken, spent *budget.Spent, now time.Time) error {
	switch {
	case wt.Spec.Suspend:
		return exitf(exitNo, "spec.suspend is true, so the operator does nothing. Run this again after: kubectl wechattoken resume %s -n %s", wt.Name, wt.Namespace)
	case wt.Spec.HasSource():
		return exitf(exitNo, "%s takes the token of WeChatToken %s in namespace %s, and may not end it: run this for that one", wt.Name, wt.Spec.SourceRef.Name, wt.Spec.SourceRef.Namespace)
	case wt.Spec.ForcedRefresh == v1alpha1.ForcedRefreshNever:
		return exitf(exitNo, "spec.forcedRefresh is Never, so the operator forces no refresh for this one. End the token where it may be forced, as in production, or set spec.forcedRefresh to Allowed and try again")
	case wt.Status.TokenFingerprint == "":
		return exitf(exitNo, "There is no token that could have leaked. Find out why: kubectl wechattoken doctor %s -n %s", wt.Name, wt.Namespace)
	case spent == nil:
		return nil
	}
	terms := budget.TermsOf(wt)
	if steps, left := drill(terms.Mode), spent.ForcedLeft(terms, now); left < steps {
		return exitf(exitLimit, "It takes %d forced refreshes, and %d are left; there is one more at the earliest at %s. %s", steps, left, stamp(oneMore(*spent, terms, now)), meanwhile)
	}
	return nil
}

// oneMore is when there is one more forced refresh than are left now: after those,
// it is the next.
func oneMore(spent budget.Spent, terms budget.Terms, now time.Time) time.Time {
	for range spent.ForcedLeft(terms, now) {
		spent = spent.Force(terms.Mode, now)
	}
	next, _ := spent.NextForced(terms, now)
	return next
}

// meanwhile is what is left without a forced refresh. WeChat documents nothing
// else that ends a token: to freeze the AppSecret keeps new ones back
// (developers.weixin.qq.com/doc/service/guide/dev/api), which does not say that
// the present one expires.
const meanwhile = "WeChat documents no other way to end a token before it expires. Make sure that the IP allow-list (IP 白名单) holds your addresses only, at " + console.Keys

func (o *revokeOptions) run(ctx context.Context, name string) error {
	if err := checkTimeout(o.timeout); err != nil {
		return err
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	wt, err := c.token(ctx, name)
	if err != nil {
		return err
	}
	var spent *budget.Spent
	if m, err := c.secretMeta(ctx, wt.Namespace, wt.TokenSecretName()); err == nil {
		spent = new(record.ReadSpent(m.Annotations))
	} else {
		fmt.Fprintf(o.ErrOut, "How many forced refreshes are left is unknown: Secret %q, %s.\n", wt.TokenSecretName(), sorry(err))
	}
	if err := mayDrill(wt, spent, c.clock.now()); err != nil {
		return err
	}
	if err := o.confirm(ctx, wt); err != nil {
		return err
	}
	return o.drill(ctx, c, wt)
}

// drill refreshes until the leaked token is invalid.
func (o *revokeOptions) drill(ctx context.Context, c *cluster, wt *v1alpha1.WeChatToken) error {
	steps := drill(wt.Spec.ModeOrDefault())
	leaked := wt.Status.TokenFingerprint
	var first, last time.Time
	for step := 1; step <= steps; step++ {
		fmt.Fprintf(o.ErrOut, "Step %d of %d: a forced refresh.\n", step, steps)
		if step > 1 {
			fmt.Fprintf(o.ErrOut, "WeChat wants %s between two of them: it is possible at about %s.\n", budget.ForcedSpacing, stamp(first.Add(budget.ForcedSpacing)))
		}
		before := wt.Status.TokenFingerprint
		a, err := c.requestRefresh(ctx, wt)
		if err != nil {
			return err
		}
		if wt, err = o.follow(ctx, c, wt, a, o.timeout); err != nil {
			return halfWay(err, step, leaked, first)
		}
		if wt.Status.TokenFingerprint == before {
			return halfWay(exitf(exitNo, "The token %s is still the same one", before), step, leaked, first)
		}
		last = c.clock.now()
		if wt.Status.LastRefreshTime != nil {
			last = wt.Status.LastRefreshTime.Time
		}
		if step == 1 {
			first = last
		}
		fmt.Fprintf(o.ErrOut, "Step %d of %d is done: the Secret holds %s.\n", step, steps, tokenText(wt))
	}
	fmt.Fprintf(o.Out, "%s: %s\n", wt.Name, invalidAt(wt.Spec.ModeOrDefault(), leaked, first, last))
	fmt.Fprint(o.Out, afterwards(wt))
	return nil
}

// halfWay says where the drill stands when a step did not work.
func halfWay(err error, step int, leaked string, first time.Time) error {
	if step == 1 {
		return err
	}
	e, ok := err.(*exit) //nolint:errorlint // it is ours, and not wrapped
	if !ok {
		return err
	}
	return exitf(e.code, "%s. The first refresh has worked: WeChat takes the leaked token %s until %s at the latest. %s", strings.TrimSuffix(e.text, "."), leaked, stamp(first.Add(overlap)), meanwhile)
}

// invalidAt says since when the leaked token is invalid.
func invalidAt(mode v1alpha1.Mode, leaked string, first, last time.Time) string {
	if mode == v1alpha1.ModeClassic {
		return fmt.Sprintf("the leaked token %s expires by %s, 5 minutes after the refresh. WeChat may take it until then.", leaked, stamp(first.Add(overlap)))
	}
	return fmt.Sprintf("the leaked token %s is invalid since %s, with the second refresh. Should WeChat not keep its word on that, it expires by %s, 5 minutes after the first.", leaked, stamp(last), stamp(first.Add(overlap)))
}

// afterwards is what else there is to do.
func afterwards(wt *v1alpha1.WeChatToken) string {
	return fmt.Sprintf(`
What else to do:
  - Remove the token from where it leaked, and find out how.
  - See that the consumers have the new one: kubectl wechattoken status %[1]s -n %[2]s -o wide. A file follows within
    90 s, env and subPath only with a restart.
  - If the AppSecret may have leaked, too: everyone who has it can get new tokens. Reset it, put the new one into
    Secret %[3]s, and run this command once more. The operator picks it up at once. It is reset at
    %[4]s.
  - See that the IP allow-list (IP 白名单) there holds your addresses only.
`, wt.Name, wt.Namespace, wt.Spec.AppSecretRef.Name, console.Keys)
}

// confirm asks a person.
func (o *revokeOptions) confirm(ctx context.Context, wt *v1alpha1.WeChatToken) error {
	if o.yes {
		return nil
	}
	in, is := o.terminal()
	if !is {
		return exitf(exitUsage, "There is no terminal to ask on: add --yes if the token %s of %s/%s is to be ended", wt.Status.TokenFingerprint, wt.Namespace, wt.Name)
	}
	fmt.Fprint(o.ErrOut, question(wt))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(in, 100)).ReadString('\n') // no answer is no
		answer <- line
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case line := <-answer:
		if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
			return exitf(exitNo, "Nothing was done")
		}
		return nil
	}
}

func question(wt *v1alpha1.WeChatToken) string {
	what := "This makes 2 of the 20 forced refreshes of 24 hours, about 30 s apart. With the second the token is invalid: consumers that\nhave not read the new one by then fail until they do. A file follows within 90 s, env and subPath only with a restart."
	if wt.Spec.ModeOrDefault() == v1alpha1.ModeClassic {
		what = "This makes one refresh. WeChat takes the old token for up to 5 minutes more."
	}
	return fmt.Sprintf("End the token %s of %s/%s (appid %s)?\n%s\nGo on? [y/N] ", wt.Status.TokenFingerprint, wt.Namespace, wt.Name, wt.Spec.AppID, what)
}
