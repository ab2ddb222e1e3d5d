package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// happen lets all events of a plan happen, each in its time, and returns when the
// last has ended.
func (w *world) happen(ctx context.Context, events []event) {
	var all sync.WaitGroup
	begin := time.Now()
	for _, e := range events {
		sleep(ctx, time.Until(begin.Add(e.At)))
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			w.journal.notef(e.AppID, "event %s", e)
			if err := w.do(ctx, e); err != nil && ctx.Err() == nil {
				w.journal.findf("event %s: %v", e, err)
			}
		})
	}
	all.Wait()
}

// do lets one event happen, from its beginning to its end.
func (w *world) do(ctx context.Context, e event) error {
	t, c := w.journal.targets[e.Target], w.clusters[e.Cluster]
	switch e.Kind {
	case killManager:
		return end(w.pick(c, e.Leader), syscall.SIGKILL)
	case killMidCall:
		return w.strike(ctx, w.pick(c, e.Leader))
	case pauseManager:
		w.pick(c, e.Leader).pause(ctx, e.For)
		return nil
	case endManager:
		return end(w.pick(c, e.Leader), syscall.SIGTERM)
	case restartAPI:
		return w.disturbAPIServer(ctx, c, e.For, c.plane.KillAPIServer, c.plane.StartAPIServer)
	case pauseAPI:
		return w.disturbAPIServer(ctx, c, e.For,
			func() error { return c.plane.SignalAPIServer(syscall.SIGSTOP) },
			func() error { return c.plane.SignalAPIServer(syscall.SIGCONT) })
	case breakWeChat:
		return w.breakWeChat(ctx, e)
	case forceRefresh:
		return w.many(t, e.Writers, func(t target) error { return w.request(ctx, t) })
	case lie:
		return w.report(ctx, t, e.Writers, w.journal.held(t.index))
	case endToken, fetchOutside:
		defer w.journal.obstruct(t.account.appID, time.Now(), prompt)
		return w.endOutside(ctx, t, e)
	}
	defer w.journal.obstruct(t.account.appID, time.Now(), patience)
	if e.Kind == resetAppSecret {
		return w.resetAppSecret(ctx, t.account.appID, e.For)
	}
	return w.damage(ctx, t, e)
}

// strike kills a process when WeChat has carried out its next call, or after a while.
func (w *world) strike(ctx context.Context, p *process) error {
	struck, done := context.WithTimeout(ctx, 15*time.Second)
	defer done()
	w.strikes.Store(addressOf(p.number), func() { p.Signal(syscall.SIGKILL); done() })
	<-struck.Done()
	return end(p, syscall.SIGKILL)
}

// many lets count writers do something at once, to the targets that share the token
// of t in turn.
func (w *world) many(t target, count int, do func(target) error) error {
	sharing := slices.DeleteFunc(slices.Clone(w.journal.targets), func(other target) bool { return other.account != t.account })
	var all sync.WaitGroup
	errs := make([]error, count)
	for i := range count {
		all.Go(func() { errs[i] = do(sharing[(t.index+i)%len(sharing)]) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// written tries a write until it works: the API server may be away. An object that is
// not there ends it too.
func written(ctx context.Context, write func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := write(try)
		cancel()
		if err == nil || apierrors.IsNotFound(err) || ctx.Err() != nil {
			return client.IgnoreNotFound(err)
		}
		sleep(ctx, 100*time.Millisecond)
	}
}

// object is what a patch sets, by its path.
type object = map[string]any

func (c *cluster) merge(ctx context.Context, obj client.Object, patch object) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return written(ctx, func(ctx context.Context) error {
		return c.Patch(ctx, obj, client.RawPatch(types.MergePatchType, body), client.FieldOwner("chaos"))
	})
}

func (c *cluster) annotate(ctx context.Context, obj client.Object, key, value string) error {
	return c.merge(ctx, obj, object{"metadata": object{"annotations": object{key: value}}})
}

// request asks for a new token. On a taker, that is no reason for a call.
func (w *world) request(ctx context.Context, t target) error {
	now := time.Now()
	if t.source == nil {
		w.journal.write(func() { w.journal.requests = append(w.journal.requests, request{now, t.account}) })
	}
	return w.in(t).annotate(ctx, &v1alpha1.WeChatToken{ObjectMeta: t.meta()}, v1alpha1.AnnotationRefreshRequestedAt, now.Format(time.RFC3339Nano))
}

// report lets many report a token.
func (w *world) report(ctx context.Context, t target, writers int, v version) error {
	return w.many(t, writers, func(t target) error {
		w.journal.write(func() { w.journal.reports = append(w.journal.reports, request{time.Now(), t.account}) })
		value := v.token() + "@" + time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
		return w.in(t).annotate(ctx, &v1alpha1.WeChatToken{ObjectMeta: t.meta()}, v1alpha1.AnnotationInvalidToken, value)
	})
}

// breakWeChat lets WeChat fail for a while. Where the operator then waits for a person,
// one comes and changes the spec, as somebody does who has put things right.
func (w *world) breakWeChat(ctx context.Context, e event) error {
	f := e.Fault
	f.For = e.For
	w.fake.SetFault(f)
	sleep(ctx, e.For)
	var errs []error
	for _, t := range w.journal.targets {
		if slices.Contains([]int{45009, 40013, 40164, 89503}, f.Code) && t.account.appID == f.AppID {
			visited := object{"example.com/visited": time.Now().Format(time.RFC3339Nano)}
			errs = append(errs, w.in(t).merge(ctx, &v1alpha1.WeChatToken{ObjectMeta: t.meta()}, object{"spec": object{"secret": object{"annotations": visited}}}))
		}
	}
	return errors.Join(errs...)
}

// damage does something to the Secret of t.
func (w *world) damage(ctx context.Context, t target, e event) error {
	secret := &corev1.Secret{ObjectMeta: t.meta()}
	var err error
	switch e.Kind {
	case editToken:
		return w.in(t).merge(ctx, secret, object{"stringData": object{"access_token": fmt.Sprintf("98_edited_by_chaos_%020d", time.Now().UnixNano())}})
	case editMemory:
		return w.in(t).annotate(ctx, secret, record.Annotation, `{"expiresAt":"2099-01-01T00:00:00Z"}`)
	case removeOwner: // the operator takes it back; then it goes all the same
		err = w.in(t).merge(ctx, secret, object{"metadata": object{"ownerReferences": nil}})
		sleep(ctx, e.For)
	default:
	}
	return errors.Join(err, written(ctx, func(ctx context.Context) error { return w.in(t).Delete(ctx, secret) }))
}

// endOutside ends the token in the Secret of t, as somebody does who uses the same
// appid, and reports it a while later.
func (w *world) endOutside(ctx context.Context, t target, e event) error {
	held := w.journal.held(t.index)
	if e.Kind == fetchOutside {
		w.fake.Rotate(t.account.appID)
	} else if !w.fake.Revoke(held.value) {
		return nil // the Secret is away, or its token invalid already
	}
	sleep(ctx, e.For)
	for w.fake.Valid(held.value) && ctx.Err() == nil { // in its overlap
		sleep(ctx, 100*time.Millisecond)
	}
	return w.report(ctx, t, e.Writers, held)
}

// resetAppSecret resets the AppSecret of an appid at WeChat, and a while later in the
// clusters.
func (w *world) resetAppSecret(ctx context.Context, appID string, after time.Duration) error {
	w.resets.Lock()
	defer w.resets.Unlock()
	secret := appSecret(appID, time.Now().UnixNano())
	w.fake.SetSecret(appID, secret)
	sleep(ctx, after)
	var errs []error
	for _, t := range w.journal.targets {
		if t.account.appID == appID && t.source == nil {
			source := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: t.namespace, Name: t.name + "-app"}}
			errs = append(errs, w.in(t).merge(ctx, source, object{"stringData": object{"appsecret": secret}}))
		}
	}
	return errors.Join(errs...)
}
