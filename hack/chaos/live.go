package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"wechattoken.io/operator/api/v1alpha1"
)

// live makes the targets, waits until they have tokens, and lets the events
// happen. Consumers and those who observe go on until quit.
func (r *run) live(ctx context.Context, events []event, screen io.Writer) error {
	var watching context.Context
	watching, r.stopWatching = context.WithCancel(ctx)
	r.watching.Go(func() { r.observe(watching) })
	if err := r.create(ctx); err != nil {
		return err
	}
	for end := time.Now().Add(2 * time.Minute); ; sleep(ctx, 100*time.Millisecond) {
		ill, err := r.ill(ctx)
		if err == nil && len(ill) == 0 {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(end) {
			return fmt.Errorf("the WeChatTokens have no tokens after 2 minutes: %v, %w", ill, err)
		}
	}
	r.watching.Go(func() { newConsumers(r).work(watching) })
	r.watching.Go(func() { r.progress(watching, screen) })
	r.ledger.locked(func() { r.ledger.begun = time.Now() })
	r.happen(ctx, events)
	r.ledger.notef("", "the events are over")
	return ctx.Err()
}

// progress prints a line every 10 s.
func (r *run) progress(ctx context.Context, screen io.Writer) {
	for begun := time.Now(); ; {
		sleep(ctx, 10*time.Second)
		if ctx.Err() != nil {
			return
		}
		leader := "none"
		if m := r.leader(); m != nil {
			leader = m.name
		}
		events := 0
		r.mu.Lock()
		for _, n := range r.happened {
			events += n
		}
		r.mu.Unlock()
		c := r.weChat.Counts("")
		r.ledger.locked(func() {
			fmt.Fprintf(screen, "%4.0f s: %d events, leader %s (%d processes so far), %d stable and %d classic calls, %d forced, %d calls of consumers, %d with an invalid token\n",
				time.Since(begun).Seconds(), events, leader, len(r.ledger.processes), c.Stable.Calls, c.Classic.Calls, c.Forced, r.ledger.uses, len(r.ledger.dead))
		})
	}
}

// The time that the operator has to put everything right once nothing breaks any
// more. The longest wait of its own is a minute, after an outage of WeChat that a
// token did not survive.
const (
	calm        = 30 * time.Second
	longestCalm = 2 * time.Minute
)

// settle ends all faults and lets the operator put everything right. It returns
// what is not well then.
func (r *run) settle(ctx context.Context) []string {
	r.weChat.ClearFaults()
	begun := time.Now()
	sleep(ctx, calm)
	for {
		ill, err := r.ill(ctx)
		if err != nil {
			ill = []string{err.Error()}
		}
		if len(ill) == 0 || time.Since(begun) > longestCalm || ctx.Err() != nil {
			return ill
		}
		sleep(ctx, time.Second)
	}
}

// ill says which targets are not as they should be: Ready, with a token that
// WeChat accepts.
func (r *run) ill(ctx context.Context) ([]string, error) {
	var list v1alpha1.WeChatTokenList
	if err := r.cluster.List(ctx, &list); err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	why := map[string]string{}
	for i := range list.Items {
		wt := &list.Items[i]
		key := wt.Namespace + "/" + wt.Name
		ready[key] = meta.IsStatusConditionTrue(wt.Status.Conditions, v1alpha1.ConditionReady)
		if c := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady); c != nil {
			why[key] = c.Reason + ": " + c.Message
		}
	}
	var ill []string
	for _, t := range r.targets {
		_, token := r.ledger.holds(t.index)
		switch {
		case !ready[t.key()]:
			ill = append(ill, fmt.Sprintf("%s is not Ready: %s", t.key(), why[t.key()]))
		case !r.weChat.Valid(token.value):
			ill = append(ill, t.key()+" is Ready with an invalid token")
		}
	}
	return ill, nil
}

// quit ends the consumers, those who observe, and the managers.
func (r *run) quit() {
	r.stopWatching()
	r.watching.Wait()
	for _, m := range r.managers {
		code, err := m.retire()
		if err == nil && code != 0 {
			err = fmt.Errorf("manager %s ended with exit code %d on SIGTERM", m.name, code)
		}
		if err != nil {
			r.wrong = append(r.wrong, err)
		}
	}
	for _, s := range r.servers { // whose last answers are to be noted
		last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_ = s.Shutdown(last) // what takes longer is told to nobody
		cancel()
	}
}

// secretForms is what a token, an AppSecret, or one of them in base64, looks like.
// "98_" is how the fake's tokens begin, and "OThf" is that in base64.
var secretForms = regexp.MustCompile(`98_[A-Za-z0-9_-]{20,}|OThf[A-Za-z0-9+/]{20,}|` + appSecretMark + `[0-9a-f]{26}|NWVjMmU3[A-Za-z0-9+/]{20,}`)

// leaks are the lines of the managers' logs that hold a secret or tell of a panic.
func (r *run) leaks() ([]string, error) {
	var found []string
	for _, m := range r.managers {
		log, err := os.Open(m.log.Name())
		if err != nil {
			return nil, err
		}
		defer log.Close()
		lines := bufio.NewScanner(log)
		lines.Buffer(nil, 16<<20)
		for n := 1; lines.Scan(); n++ {
			if secretForms.Match(lines.Bytes()) {
				found = append(found, fmt.Sprintf("%s, line %d", m.log.Name(), n))
			}
			if panics.Match(lines.Bytes()) {
				r.wrong = append(r.wrong, fmt.Errorf("a panic in %s, line %d", m.log.Name(), n))
			}
		}
		if err := lines.Err(); err != nil {
			return nil, err
		}
	}
	return slices.Compact(found), nil
}

var panics = regexp.MustCompile(`^panic: |^fatal error: |Observed a panic|WARNING: DATA RACE`)
