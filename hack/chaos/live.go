package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

// live makes the targets, waits until they have tokens, lets the events happen, and
// lets the operator put everything right in a time of calm.
func (w *world) live(ctx context.Context, events []event, calm time.Duration, screen io.Writer) error {
	var watchers sync.WaitGroup
	defer watchers.Wait()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	for _, c := range w.clusters {
		watchers.Go(func() { w.journal.follow(watching, c.number, c) })
	}
	if err := w.create(ctx); err != nil {
		return err
	}
	if ill := w.settle(ctx); len(ill) > 0 {
		return fmt.Errorf("the WeChatTokens have no tokens after %s: %v", longestCalm, ill)
	}
	for _, c := range w.clusters {
		watchers.Go(func() { w.watchOver(watching, c) })
	}
	watchers.Go(func() { w.progress(watching, screen) })
	w.happen(ctx, events)
	w.fake.ClearFaults()
	sleep(ctx, calm)
	for _, ill := range w.settle(ctx) {
		w.journal.findf("in the end: %s", ill)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.journal.ended = time.Now()
	return w.inspectAll(ctx)
}

// create creates the accounts at WeChat and the targets in the clusters.
func (w *world) create(ctx context.Context) error {
	for _, t := range w.journal.targets {
		w.fake.AddAccount(t.account.appID, appSecret(t.account.appID, 0))
		var err error
		if t.source == nil {
			secret := &corev1.Secret{ObjectMeta: t.meta(), StringData: map[string]string{"appsecret": appSecret(t.account.appID, 0)}}
			secret.Name += "-app"
			err = w.in(t).Create(ctx, secret)
		}
		if err = errors.Join(err, w.in(t).Create(ctx, &v1alpha1.WeChatToken{ObjectMeta: t.meta(), Spec: t.spec()})); err != nil {
			return err
		}
	}
	return nil
}

// progress prints a line every 5 s.
func (w *world) progress(ctx context.Context, screen io.Writer) {
	for begun := time.Now(); ctx.Err() == nil; sleep(ctx, 5*time.Second) {
		c, works := w.fake.Counts(""), [clusters]bool{}
		for i := range works {
			works[i] = w.clusters[i].works()
		}
		w.journal.write(func() {
			fmt.Fprintf(screen, "%4.0f s: leaders work %t, %d takeovers, %d stable and %d classic calls, %d forced, %d findings so far\n",
				time.Since(begun).Seconds(), works, len(w.journal.takeovers), c.Stable.Calls, c.Classic.Calls, c.Forced, len(w.journal.found))
		})
	}
}

// longestCalm is the time that the operator has to put everything right once nothing
// breaks any more. The longest wait of its own is a minute and a tenth.
const longestCalm = 2 * time.Minute

// settle waits until all is well. It returns what is not, after a while.
func (w *world) settle(ctx context.Context) []string {
	for begun := time.Now(); ; sleep(ctx, 100*time.Millisecond) {
		ill := w.ill(ctx)
		if len(ill) == 0 || time.Since(begun) > longestCalm || ctx.Err() != nil {
			return ill
		}
	}
}

// ill says which targets are not as they should be: Ready, with a token that WeChat
// accepts.
func (w *world) ill(ctx context.Context) []string {
	var ill []string
	for _, c := range w.clusters {
		var list v1alpha1.WeChatTokenList
		if err := c.List(ctx, &list); err != nil {
			return []string{err.Error()}
		}
		for _, wt := range list.Items {
			ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
			if ready == nil || ready.Status != metav1.ConditionTrue {
				ill = append(ill, fmt.Sprintf("%s is not Ready: %+v", wt.Name, ready))
			}
		}
	}
	for i, t := range w.journal.targets {
		if !w.fake.Valid(w.journal.held(i).value) {
			ill = append(ill, t.key()+" holds no valid token")
		}
	}
	return ill
}
