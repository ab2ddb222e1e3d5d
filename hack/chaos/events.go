package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
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
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// run is one run of the chaos.
type run struct {
	*world

	targets      []target
	events       sync.WaitGroup
	watching     sync.WaitGroup
	stopWatching context.CancelFunc

	mu        sync.Mutex
	requests  map[int]int    // by target, how often the refresh annotation was changed
	rotations map[string]int // by appid, how often its AppSecret was reset
	resetting sync.Map       // appid to *sync.Mutex: one reset at a time
	happened  map[kind]int
	wrong     []error // what of the run itself did not work
}

func newRun(w *world, targets []target) *run {
	return &run{world: w, targets: targets, requests: map[int]int{}, rotations: map[string]int{}, happened: map[kind]int{}}
}

// create creates the accounts at WeChat and the targets in the cluster.
func (r *run) create(ctx context.Context) error {
	for _, t := range r.targets {
		r.weChat.AddAccount(t.account.appID, appSecret(t.account.appID, 0))
	}
	return r.forEach(ctx, r.targets, func(ctx context.Context, t target) error {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: t.namespace, Name: t.name + "-app"},
			StringData: map[string]string{"appsecret": appSecret(t.account.appID, 0)},
		}
		wt := &v1alpha1.WeChatToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: t.namespace, Name: t.name},
			Spec: v1alpha1.WeChatTokenSpec{
				AppID:        t.account.appID,
				AppSecretRef: v1alpha1.AppSecretReference{Name: secret.Name},
				Mode:         t.account.mode,
			},
		}
		return errors.Join(r.cluster.Create(ctx, secret), r.cluster.Create(ctx, wt))
	})
}

// forEach does something for targets, eight at a time.
func (r *run) forEach(ctx context.Context, targets []target, do func(context.Context, target) error) error {
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		errs   []error
		atOnce = make(chan struct{}, 8)
	)
	for _, t := range targets {
		atOnce <- struct{}{}
		all.Go(func() {
			defer func() { <-atOnce }()
			if err := do(ctx, t); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("%s: %w", t.key(), err))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// happen lets all events of a plan happen, each in its time, and returns when the
// last has ended.
func (r *run) happen(ctx context.Context, events []event) {
	begin := time.Now()
	for _, e := range events {
		sleep(ctx, time.Until(begin.Add(e.At)))
		if ctx.Err() != nil {
			break
		}
		r.events.Go(func() {
			if err := r.do(ctx, e); err != nil && ctx.Err() == nil {
				r.mu.Lock()
				r.wrong = append(r.wrong, fmt.Errorf("%s: %w", e, err))
				r.mu.Unlock()
			}
		})
	}
	r.events.Wait()
}

// do lets one event happen, from its beginning to its end.
func (r *run) do(ctx context.Context, e event) error {
	r.mu.Lock()
	r.happened[e.Kind]++
	r.mu.Unlock()
	t := r.targets[e.Target]
	switch e.Kind {
	case killManager, pauseManager, endManager, restartAPIServer, pauseAPIServer:
		r.ledger.notef("", "event %s", e)
	default:
		r.ledger.notef(t.account.appID, "event %s", e)
	}
	switch e.Kind {
	case killManager:
		m := r.pick(e.Leader)
		if e.MidCall {
			r.weChat.strike(ctx, int(m.present.Load()), m.kill, 15*time.Second)
		}
		return m.stop(ctx, syscall.SIGKILL, e.For)
	case pauseManager:
		r.pick(e.Leader).pause(ctx, e.For)
		return nil
	case endManager:
		return r.pick(e.Leader).stop(ctx, syscall.SIGTERM, e.For)
	case restartAPIServer:
		return r.restartAPIServer(ctx, e.For)
	case pauseAPIServer:
		return r.pauseAPIServer(ctx, e.For)
	case breakWeChat:
		return r.breakWeChat(ctx, e)
	case deleteSecret, editToken, editMemory, removeOwner:
		return r.damage(ctx, t, e)
	case forceRefresh:
		return r.many(ctx, t, e.Writers, r.requestRefresh)
	case endToken, fetchOutside:
		return r.endOutside(ctx, t, e)
	case lie:
		held, _ := r.ledger.holds(t.index)
		return r.many(ctx, t, e.Writers, func(ctx context.Context, t target) error { return r.report(ctx, t, held.token) })
	case rotateAppSecret:
		return r.rotate(ctx, t.account.appID, e.For)
	default:
		return fmt.Errorf("no such event")
	}
}

// sharing are the targets that share the token of a.
func (r *run) sharing(a account) []target {
	var all []target
	for _, t := range r.targets {
		if t.account == a {
			all = append(all, t)
		}
	}
	return all
}

// many lets count writers do something at once, to the targets that share the
// token of t in turn.
func (r *run) many(ctx context.Context, t target, count int, do func(context.Context, target) error) error {
	targets := r.sharing(t.account)
	var all sync.WaitGroup
	errs := make([]error, count)
	for i := range count {
		all.Go(func() { errs[i] = do(ctx, targets[(t.index+i)%len(targets)]) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// written tries a write until it works: the API server may be away. An object
// that is not there ends it too.
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

// merge patches an object of t's namespace.
func (r *run) merge(ctx context.Context, obj client.Object, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return written(ctx, func(ctx context.Context) error {
		return r.cluster.Patch(ctx, obj, client.RawPatch(types.MergePatchType, body), client.FieldOwner("chaos"))
	})
}

func annotations(values map[string]any) map[string]any {
	return map[string]any{"metadata": map[string]any{"annotations": values}}
}

func (t target) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: t.namespace, Name: t.name}
}

// requestRefresh asks for a new token.
func (r *run) requestRefresh(ctx context.Context, t target) error {
	r.mu.Lock()
	r.requests[t.index]++
	value := fmt.Sprintf("%06d", r.requests[t.index])
	r.mu.Unlock()
	asked := span{from: time.Now()}
	wt := &v1alpha1.WeChatToken{ObjectMeta: t.meta()}
	if err := r.merge(ctx, wt, annotations(map[string]any{v1alpha1.AnnotationRefreshRequestedAt: value})); err != nil {
		return err
	}
	asked.to = time.Now()
	order, err := strconv.ParseUint(wt.ResourceVersion, 10, 64)
	r.ledger.locked(func() {
		r.ledger.requests = append(r.ledger.requests, request{account: t.account, target: t.index, value: value, order: order, asked: asked})
	})
	return err
}

// report says that a token is dead.
func (r *run) report(ctx context.Context, t target, fingerprint string) error {
	value := fingerprint + "@" + time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	return r.merge(ctx, &v1alpha1.WeChatToken{ObjectMeta: t.meta()}, annotations(map[string]any{v1alpha1.AnnotationInvalidToken: value}))
}

// breakWeChat lets WeChat fail for a while. Where the operator then waits for a
// person to act, the person acts.
func (r *run) breakWeChat(ctx context.Context, e event) error {
	f := *e.Fault
	f.For = e.For
	from := time.Now()
	r.weChat.SetFault(f)
	sleep(ctx, e.For)
	r.ledger.locked(func() {
		r.ledger.faults = append(r.ledger.faults, fault{span{from, time.Now(), "WeChat failed (" + string(f.Kind) + ")"}, f})
	})
	if f.Kind != wechattest.FaultErrcode || !needsPerson(f.Code) {
		return nil
	}
	visited := map[account]bool{}
	for _, t := range r.targets {
		if visited[t.account] || (f.AppID != "" && f.AppID != t.account.appID) {
			continue
		}
		visited[t.account] = true
		if err := r.visit(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// visit changes the spec of t, as somebody does who has put things right: it
// ends the operator's wait.
func (r *run) visit(ctx context.Context, t target) error {
	err := r.merge(ctx, &v1alpha1.WeChatToken{ObjectMeta: t.meta()}, map[string]any{"spec": map[string]any{
		"secret": map[string]any{"annotations": map[string]any{"example.com/visited": time.Now().Format(time.RFC3339Nano)}},
	}})
	r.ledger.locked(func() { r.ledger.visits = append(r.ledger.visits, visit{time.Now(), t.account}) })
	r.ledger.notef(t.account.appID, "somebody changes the spec of %s", t.key())
	return err
}

// damage does something to the Secret of t.
func (r *run) damage(ctx context.Context, t target, e event) error {
	secret := &corev1.Secret{ObjectMeta: t.meta()}
	from := time.Now()
	var err error
	switch e.Kind {
	case deleteSecret:
		err = written(ctx, func(ctx context.Context) error { return r.cluster.Delete(ctx, secret) })
	case editToken:
		wrong := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "98_edited_by_chaos_%020d", from.UnixNano()))
		err = r.merge(ctx, secret, map[string]any{"data": map[string]any{"access_token": wrong}})
	case editMemory:
		err = r.editRecord(ctx, secret)
	default:
		err = r.merge(ctx, secret, map[string]any{"metadata": map[string]any{"ownerReferences": nil}})
		sleep(ctx, e.For)
		// The remedy that the operator names.
		err = errors.Join(err, written(ctx, func(ctx context.Context) error { return r.cluster.Delete(ctx, secret) }))
	}
	r.ledger.locked(func() {
		r.ledger.damages = append(r.ledger.damages, damage{span{from, time.Now(), "the Secret was damaged"}, t.index, e.Kind})
	})
	return err
}

// editRecord makes the record on a Secret say that its token ends much later.
func (r *run) editRecord(ctx context.Context, secret *corev1.Secret) error {
	err := written(ctx, func(ctx context.Context) error {
		return client.IgnoreNotFound(r.cluster.Get(ctx, client.ObjectKeyFromObject(secret), secret))
	})
	if err != nil || secret.UID == "" {
		return err
	}
	edited := expiresAt.ReplaceAllString(secret.Annotations[record.Annotation], `"expiresAt":"2099-01-01T00:00:00Z"`)
	return r.merge(ctx, secret, annotations(map[string]any{record.Annotation: edited}))
}

var expiresAt = regexp.MustCompile(`"expiresAt":"[^"]*"`)

// endOutside ends the token in the Secret of t, as somebody does who uses the
// same appid, and reports it a while later.
func (r *run) endOutside(ctx context.Context, t target, e event) error {
	held, token := r.ledger.holds(t.index)
	if token.value == "" {
		return nil // the Secret is away
	}
	ended := ending{account: t.account, token: held.token}
	if e.Kind == fetchOutside {
		r.weChat.Rotate(t.account.appID)
		ended.at = time.Now().Add(r.pace.overlap)
	} else {
		if !r.weChat.Revoke(token.value) {
			return nil // it was dead already
		}
		ended.at = time.Now()
	}
	n := 0
	r.ledger.locked(func() {
		r.ledger.endings = append(r.ledger.endings, ended)
		n = len(r.ledger.endings)
	})
	sleep(ctx, e.For)
	r.ledger.notef(t.account.appID, "%s is reported dead by %d", held.token, e.Writers)
	err := r.many(ctx, t, e.Writers, func(ctx context.Context, t target) error { return r.report(ctx, t, held.token) })
	r.ledger.locked(func() { r.ledger.endings[n-1].reported = time.Now() })
	return err
}

// rotate resets the AppSecret of an appid at WeChat, and a while later in the
// cluster.
func (r *run) rotate(ctx context.Context, appID string, after time.Duration) error {
	one, _ := r.resetting.LoadOrStore(appID, &sync.Mutex{})
	one.(*sync.Mutex).Lock()
	defer one.(*sync.Mutex).Unlock()
	r.mu.Lock()
	r.rotations[appID]++
	secret := appSecret(appID, r.rotations[appID])
	r.mu.Unlock()

	from := time.Now()
	r.weChat.SetSecret(appID, secret)
	sleep(ctx, after)
	var errs []error
	for _, t := range r.targets {
		if t.account.appID == appID {
			source := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: t.namespace, Name: t.name + "-app"}}
			errs = append(errs, r.merge(ctx, source, map[string]any{"stringData": map[string]any{"appsecret": secret}}))
		}
	}
	r.ledger.locked(func() {
		r.ledger.resets = append(r.ledger.resets, reset{span{from, time.Now(), "the cluster had an old AppSecret"}, appID})
	})
	return errors.Join(errs...)
}
