package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

func newSuspend(p *plugin) *cobra.Command {
	return &cobra.Command{
		Use:   "suspend NAME...",
		Short: "Stop refreshing a token",
		Long: `Stop refreshing a token: set spec.suspend. The Secret stays as it is, and its token expires in its time. Take spec.suspend
into your manifests, too, where a GitOps tool applies them.

` + exitCodes,
		Example:           "  kubectl wechattoken suspend shop -n web",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: p.completeNames(1000),
		RunE: func(cmd *cobra.Command, names []string) error {
			_, tokens, err := p.setSuspend(cmd.Context(), names, true)
			for _, wt := range tokens {
				until := "."
				if wt.Status.ExpirationTime != nil {
					until = ", and is valid until " + stamp(wt.Status.ExpirationTime.Time) + "."
				}
				fmt.Fprintf(p.Out, "%s: suspended. The token is not refreshed%s To go on: kubectl wechattoken resume %s -n %s\n", wt.Name, until, wt.Name, wt.Namespace)
			}
			return err
		},
	}
}

type resumeOptions struct {
	*plugin

	wait    bool
	timeout time.Duration
}

func newResume(p *plugin) *cobra.Command {
	o := &resumeOptions{plugin: p}
	cmd := &cobra.Command{
		Use:   "resume NAME...",
		Short: "Refresh a suspended token again",
		Long: `Refresh a suspended token again: take spec.suspend back. With --wait it ends when the Secret holds a valid token, or
when a person must act.

` + exitCodes,
		Example:           "  kubectl wechattoken resume shop -n web --wait",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: p.completeNames(1000),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until the Secret holds a valid token")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for each")
	return cmd
}

func (o *resumeOptions) run(ctx context.Context, names []string) error {
	if err := checkTimeout(o.timeout); err != nil {
		return err
	}
	c, tokens, err := o.setSuspend(ctx, names, false)
	for _, wt := range tokens {
		fmt.Fprintf(o.Out, "%s: resumed.\n", wt.Name)
	}
	if err != nil || !o.wait {
		return err
	}
	for _, wt := range tokens {
		if err := o.awaitReady(ctx, c, wt, o.timeout); err != nil {
			return err
		}
	}
	return nil
}

// awaitReady waits for a valid token, and says which there is.
func (p *plugin) awaitReady(ctx context.Context, c *cluster, wt *v1alpha1.WeChatToken, timeout time.Duration) error {
	wt, err := p.follow(ctx, c, wt, &readying{since: time.Now()}, timeout)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.Out, "%s: the Secret %s holds %s.\n", wt.Name, wt.TokenSecretName(), tokenText(wt))
	return nil
}

// setSuspend returns the WeChatTokens that it has written, or that were so before.
// All must be there before it writes one.
func (p *plugin) setSuspend(ctx context.Context, names []string, suspend bool) (c *cluster, done []*v1alpha1.WeChatToken, err error) {
	if c, err = p.connect(); err != nil {
		return nil, nil, err
	}
	var tokens []*v1alpha1.WeChatToken
	for _, name := range names {
		wt, err := c.token(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		tokens = append(tokens, wt)
	}
	for _, wt := range tokens {
		before := wt.DeepCopy()
		wt.Spec.Suspend = suspend
		if err := explain(c.Patch(ctx, wt, client.MergeFrom(before))); err != nil {
			return nil, done, err
		}
		done = append(done, wt)
	}
	return c, done, nil
}
