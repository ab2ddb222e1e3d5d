package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"

	"wechattoken.io/operator/api/v1alpha1"
)

type refreshOptions struct {
	*plugin

	wait      bool
	timeout   time.Duration
	ifInvalid bool
}

func newRefresh(p *plugin) *cobra.Command {
	o := &refreshOptions{plugin: p}
	cmd := &cobra.Command{
		Use:   "refresh NAME",
		Short: "Ask for a new token at once",
		Long: `Ask for a new token at once. The old one works for up to 5 minutes more.

WeChat allows 20 forced refreshes in 24 hours, 30 s apart: a request that comes too early waits for its turn. With
--wait, the progress is told on stderr, and the end comes when the Secret holds the new token, or when waiting is of
no use: the budget is used up, or a person must act.

--if-invalid spares the budget: it reports the present token as invalid, by its fingerprint. The operator asks WeChat, and
replaces the token only if it is invalid. It always waits for the answer.

` + exitCodes,
		Example: `  kubectl wechattoken refresh shop -n web --wait
  kubectl wechattoken refresh shop -n web --if-invalid`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeNames(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until the Secret holds the new token")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait")
	cmd.Flags().BoolVar(&o.ifInvalid, "if-invalid", false, "replace the token only if WeChat says that it is invalid, and wait for that")
	return cmd
}

func (o *refreshOptions) run(ctx context.Context, name string) error {
	if o.timeout <= 0 {
		return exitf(exitUsage, "--timeout must be more than 0")
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	wt, err := c.token(ctx, name)
	if err != nil {
		return err
	}
	if o.ifInvalid {
		return o.reportDead(ctx, c, wt)
	}
	a, err := c.requestRefresh(ctx, wt)
	if err != nil {
		return err
	}
	if !o.wait {
		fmt.Fprintf(o.Out, "%s: a new token was asked for (%s). Whether it is there: kubectl wechattoken status %s -n %s\n", name, a.request, name, wt.Namespace)
		if wt.Spec.Suspend {
			fmt.Fprintln(o.ErrOut, "spec.suspend is true: the request waits until it is false.")
		}
		return nil
	}
	wt, err = o.follow(ctx, c, wt, a, o.timeout)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "%s: the Secret %s holds %s.\n", name, wt.TokenSecretName(), tokenText(wt))
	return nil
}

func (o *refreshOptions) reportDead(ctx context.Context, c *cluster, wt *v1alpha1.WeChatToken) error {
	if wt.Status.TokenFingerprint == "" {
		return exitf(exitNo, "There is no token yet that could be invalid. Find out why: kubectl wechattoken doctor %s -n %s", wt.Name, wt.Namespace)
	}
	a := ask(wt)
	a.report = a.fingerprint + "@" + newValue()
	if err := c.annotate(ctx, wt, v1alpha1.AnnotationInvalidToken, a.report); err != nil {
		return err
	}
	wt, err := o.follow(ctx, c, wt, a, o.timeout)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "%s: %s\n", wt.Name, a.verdict(wt))
	return nil
}

// newValue is one that nobody has used before: it fits into both annotations.
func newValue() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z") }

// ask notes what wt is like before something is asked.
func ask(wt *v1alpha1.WeChatToken) *asked {
	a := &asked{fingerprint: wt.Status.TokenFingerprint, at: time.Now()}
	if ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		a.ready = *ready
	}
	return a
}

// requestRefresh asks for a new token.
func (c *cluster) requestRefresh(ctx context.Context, wt *v1alpha1.WeChatToken) (*asked, error) {
	a := ask(wt)
	a.request = newValue()
	return a, c.annotate(ctx, wt, v1alpha1.AnnotationRefreshRequestedAt, a.request)
}

// pause is the time between two looks.
const pause = 500 * time.Millisecond

// follow waits until what was asked is done, and tells of the way on stderr. It
// looks again and again rather than watch, so that an API server that is away
// for a moment does not matter.
func (p *plugin) follow(ctx context.Context, c *cluster, wt *v1alpha1.WeChatToken, a *asked, timeout time.Duration) (*v1alpha1.WeChatToken, error) {
	said := ""
	say := func(text string) {
		if text != "" && text != said {
			fmt.Fprintf(p.ErrOut, "%s  %s\n", time.Now().Format(time.TimeOnly), text)
			said = text
		}
	}
	// The timeout ends no call under way: c.token gets a context without it.
	err := wait.PollUntilContextTimeout(ctx, pause, timeout, true, func(context.Context) (bool, error) {
		now, err := c.token(ctx, wt.Name)
		if away(err) && ctx.Err() == nil {
			say(err.Error())
			return false, nil
		}
		if err != nil {
			return false, err
		}
		wt = now
		is := a.look(wt, time.Now())
		say(is.say)
		return is.done, is.stop
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return nil, a.late(wt, timeout)
	}
	return wt, err
}

// away reports whether the API server may be back soon.
func away(err error) bool {
	var gone *unreachable
	return errors.As(err, &gone)
}
