package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"wechattoken.io/operator/api/v1alpha1"
)

// pause is the time between two looks.
const pause = 500 * time.Millisecond

// awaited is what somebody waits for.
type awaited interface {
	look(wt *v1alpha1.WeChatToken, now time.Time) progress

	// late is what is said when the time is up.
	late(wt *v1alpha1.WeChatToken, timeout time.Duration) error
}

// follow waits until a is done, and reports the progress on stderr. It
// looks again and again rather than watch, so that an API server that is away
// for a moment does not matter.
func (p *plugin) follow(ctx context.Context, c *cluster, wt *v1alpha1.WeChatToken, a awaited, timeout time.Duration) (*v1alpha1.WeChatToken, error) {
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

func checkTimeout(timeout time.Duration) error {
	if timeout <= 0 {
		return exitf(exitUsage, "--timeout must be more than 0")
	}
	return nil
}
