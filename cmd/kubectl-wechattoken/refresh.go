package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/duration"

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
--wait it reports the progress on stderr, and ends when the Secret holds the new token, or when waiting is of no use:
the budget is used up, or a person must act.

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
	if o.ifInvalid {
		return o.reportInvalid(ctx, c, wt)
	}
	if wt.Spec.HasSource() {
		return exitf(exitNo, "%s takes the token of WeChatToken %s in namespace %s, and forces no refresh: run this for that one", name, wt.Spec.SourceRef.Name, wt.Spec.SourceRef.Namespace)
	}
	fmt.Fprint(o.ErrOut, tooSoonForFiles(wt, time.Now()))
	a, err := c.requestRefresh(ctx, wt)
	if err != nil {
		return err
	}
	if !o.wait {
		fmt.Fprintf(o.Out, "%s: a new token was asked for (%s). Whether it is there: kubectl wechattoken status %s -n %s\n", name, a.request, name, wt.Namespace)
		if wt.Spec.Suspend {
			fmt.Fprintf(o.ErrOut, "spec.suspend is true: the request waits until kubectl wechattoken resume %s -n %s.\n", name, wt.Namespace)
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

// kubeletDelay is how long the kubelet takes at most to update a mounted file.
const kubeletDelay = 90 * time.Second

// tooSoonForFiles warns of a refresh that ends the token that files still hold: WeChat
// keeps one old token in mode Stable. It is empty where the files have the present one.
func tooSoonForFiles(wt *v1alpha1.WeChatToken, now time.Time) string {
	last := wt.Status.LastRefreshTime
	if last == nil || now.Sub(last.Time) >= kubeletDelay || wt.Spec.ModeOrDefault() == v1alpha1.ModeClassic || wt.Spec.Propagation == v1alpha1.PropagationTouch {
		return ""
	}
	if wt.Spec.Suspend || wt.Spec.ForcedRefresh == v1alpha1.ForcedRefreshNever { // nothing is forced now
		return ""
	}
	return fmt.Sprintf("The last refresh was %s ago. Files that hold the token before it fail with 40001 until the kubelet updates them, within %.0f s.\n", duration.HumanDuration(now.Sub(last.Time)), kubeletDelay.Seconds())
}

func (o *refreshOptions) reportInvalid(ctx context.Context, c *cluster, wt *v1alpha1.WeChatToken) error {
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
