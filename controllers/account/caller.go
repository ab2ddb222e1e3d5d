package account

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/redact"
	"wechattoken.io/operator/internal/wechat"
)

// maxCalls bounds the calls that are under way at once, and with them goroutines
// and connections. Calls that time out hold a place for 10 s each.
const maxCalls = 1024

// behindOthers is the priority of an account whose last call has failed: it comes
// behind those that work.
const behindOthers = -1

// Start calls WeChat until ctx ends, and then until the calls under way have ended.
// It makes Accounts a manager.Runnable of the leader.
func (a *Accounts) Start(ctx context.Context) error {
	stop := context.AfterFunc(ctx, a.queue.ShutDown)
	defer stop()
	go wait.Until(func() { a.pulse.note(time.Now()) }, beat, ctx.Done())
	var calls sync.WaitGroup
	defer calls.Wait()
	places := make(chan struct{}, maxCalls)
	for {
		places <- struct{}{}
		id, _, shutdown := a.queue.GetWithPriority()
		if shutdown {
			return nil
		}
		calls.Go(func() {
			defer func() { <-places }()
			defer a.queue.Done(id)
			a.work(ctx, id)
		})
	}
}

// work makes the call that the account needs next, if it is time.
func (a *Accounts) work(ctx context.Context, id ID) {
	now := time.Now()
	if from := a.pulse.note(now); from.After(now) {
		a.callAt(id, from, now, 0)
		return
	}
	c, wanted := a.next(id, now)
	if !wanted {
		return
	}
	answer := a.do(ctx, c)
	a.options.Called(c, answer, time.Since(c.Start))
	a.done(id, c, answer, time.Now())
}

// next is the earliest call that a member needs, if it is time and the pace allows
// it. Otherwise the account is queued for then.
func (a *Accounts) next(id ID, now time.Time) (Call, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.byID[id]
	if acc == nil {
		return Call{}, false
	}
	first, namespace := acc.next(now)
	at := first.At
	payer := acc.payer(namespace)
	switch {
	case at.IsZero() || at.After(now):
	case first.Kind.ForToken() && a.expected.holds(id, acc, now):
		at = a.expected.until
	case payer != "":
		at = a.pace.from(payer, now)
	}
	if at.IsZero() || at.After(now) {
		a.callAt(id, at, now, acc.priority())
		return Call{}, false
	}
	c := Call{Kind: first.Kind, Mode: acc.Mode, Credentials: acc.credentials, Start: now, known: acc.Known.Secrets()}
	if payer != "" {
		c.payer = payer
		a.pace.begin(payer, now)
	}
	if t := acc.Token(now); t != nil {
		c.Token = *t
	}
	return c, true
}

// next is the earliest of what the members need, and the namespace of the AppSecret
// of the one that does.
func (acc *account) next(now time.Time) (first Next, namespace string) {
	for _, m := range acc.members {
		if n := acc.Next(&m.Wants, now); !n.At.IsZero() && (first.At.IsZero() || n.At.Before(first.At)) {
			first, namespace = n, cmp.Or(m.AppSecretIn, m.key.Namespace)
		}
	}
	return first, namespace
}

// payer is who pays for a call that WeChat refuses, as pace counts; empty if WeChat has
// given this process a token for the account. A record on a Secret is no proof of it:
// who makes up an AppSecret can make up a record. But it is better than nothing, so
// those without do not hold up those with one after a start.
func (acc *account) payer(namespace string) string {
	switch {
	case !acc.tokenAt().IsZero():
		return ""
	case acc.Known.Token.Value != "":
		return namespace + "/recorded"
	default:
		return namespace
	}
}

func (acc *account) priority() int {
	if f, _ := acc.tokenFailure(); f != nil {
		return behindOthers
	}
	return 0
}

// done notes the answer, wakes the members, and queues the account for its next
// call.
func (a *Accounts) done(id ID, c Call, answer Answer, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.payer != "" {
		a.pace.end(c.payer, c.Start, now, answer.refused())
	}
	acc := a.byID[id]
	if acc == nil {
		return // nobody uses it any more
	}
	news, token, elsewhere := acc.isNews(c, answer), acc.Known.Token, acc.Known.Spent.Elsewhere
	acc.Done(c, answer, now)
	if !slices.Equal(acc.Known.Spent.Elsewhere, elsewhere) {
		a.options.Elsewhere()
	}
	if c.New(answer) {
		for _, m := range acc.members {
			m.tokenSince = now
			if m.Request != "" && !m.requestSince.After(c.Start) && !m.holds(&acc.Known.Token) {
				m.handled = m.Request
			}
		}
	}
	if news || acc.Known.Token != token {
		a.wakeAll(acc, types.NamespacedName{}, answer.Err != nil)
	}
	next, _ := acc.next(now)
	a.callAt(id, next.At, now, acc.priority())
}

// isNews reports whether the answer changes anything for a member: a Check that has
// brought the token in use, after others that did, changes nothing. 10,000 accounts
// are checked each minute.
func (acc *account) isNews(c Call, a Answer) bool {
	if c.Kind != Check || a.Err != nil || c.New(a) || acc.last[Check].failure != nil || acc.last[Refresh].failure != nil {
		return true
	}
	return slices.ContainsFunc(acc.members, func(m *member) bool {
		_, _, doubted := acc.doubt(&m.Wants, &c.Token)
		return doubted || m.pending() != ""
	})
}

// callAt queues the account for a call at a time; zero is never.
func (a *Accounts) callAt(id ID, at, now time.Time, priority int) {
	if !at.IsZero() {
		a.queue.AddWithOpts(priorityqueue.AddOpts{After: max(at.Sub(now), 0), Priority: &priority}, id)
	}
}

// do makes the call.
func (a *Accounts) do(ctx context.Context, c Call) (answer Answer) {
	var err error
	switch w := a.options.WeChat; {
	case c.Kind == Verify:
		answer.Valid, err = w.Valid(ctx, c.Token.Value)
	case c.Kind.ForTicket():
		answer.Ticket, err = w.Ticket(ctx, c.Token.Value, record.TicketTypes[c.Kind.place()].Wire)
	case c.Mode == v1alpha1.ModeClassic:
		answer.Token, err = w.ClassicToken(ctx, c.Credentials)
	default:
		answer.Token, err = w.StableToken(ctx, c.Credentials, c.Kind == Force)
	}
	if err != nil {
		failed, ok := errors.AsType[*wechat.Error](err)
		if !ok {
			failed = &wechat.Error{Message: "the call failed"}
		}
		failed.Message = redact.Secrets(failed.Message, c.known...)
		answer.Err = failed
	}
	return answer
}

// Endpoint is the last part of the path that a call asks.
func (c Call) Endpoint() string {
	switch {
	case c.Kind == Verify:
		return "get_api_domain_ip"
	case c.Kind.ForTicket():
		return "getticket"
	case c.Mode == v1alpha1.ModeClassic:
		return "token"
	default:
		return "stable_token"
	}
}
