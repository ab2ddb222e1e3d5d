package controllers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"regexp"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/controllers/secretcache"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// world is an operator in a bubble of testing/synctest, where a day passes at
// once: with a client in memory, and with a WeChat in memory that keeps time.
// It stands in for the queue: an object is reconciled when it was changed
// through the world, when a call ends, and when a reconcile asked for it.
type world struct {
	t       *testing.T
	client  client.Client
	r       *WeChatTokenReconciler
	secrets *secretcache.Cache
	weChat  *wechattest.Server
	window  time.Duration
	pods    map[string]map[string][]byte // what pods read in the Secrets: their data, by name

	mu    sync.Mutex
	queue map[types.NamespacedName]time.Time // when to reconcile
	woken chan struct{}                      // has one while run has not seen the last change of queue
	stop  context.CancelFunc                 // of the operator

	callsUnderWay              int // to WeChat
	secretWrites, statusWrites int
	reconciles                 int
	events                     []string
	log                        bytes.Buffer // all that the operator logs
	issued                     []string     // all tokens and tickets that WeChat sent

	// refuse makes the API server fail a write of a Secret, refuseRead a read.
	refuse, refuseRead func() error

	// effects are what the operator has done to the world so far, each before
	// and after. At the one with the number crashAt, counted from 1, it crashes.
	effects []string
	crashAt int
	crashed bool
}

// worldScheme knows as few types as there are in a world: the client in memory goes
// through all of them at each write.
var worldScheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}()

// bubbles are as many as there are processors: one keeps a processor busy, and tests
// with an API server, which wait, may run beside them.
var bubbles = make(chan struct{}, goruntime.GOMAXPROCS(0))

// inWorld runs a test in a world with the given WeChat, where testAppID has
// testAppSecret. Other tests run beside it.
func inWorld(t *testing.T, cfg wechattest.Config, test func(*world)) {
	t.Helper()
	t.Parallel()
	bubbles <- struct{}{}
	defer func() { <-bubbles }()
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, weChat: wechattest.New(cfg), window: testWindow, pods: map[string]map[string][]byte{},
			queue: map[types.NamespacedName]time.Time{}, woken: make(chan struct{}, 1),
		}
		if cfg.Window != 0 {
			w.window = cfg.Window
		}
		w.weChat.AddAccount(testAppID, testAppSecret)
		w.client = fake.NewClientBuilder().WithScheme(worldScheme).
			WithGlobalResourceVersionCounter(). // as of etcd
			WithStatusSubresource(&v1alpha1.WeChatToken{}).
			WithIndex(&v1alpha1.WeChatToken{}, indexTakers, takerKeys).
			WithInterceptorFuncs(interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
					if o := (&client.CreateOptions{}).ApplyOptions(opts); len(o.DryRun) > 0 && w.refuse != nil {
						return w.refuse()
					}
					return c.Create(ctx, obj, opts...)
				},
				Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
					if w.refuse != nil {
						if err := w.refuse(); err != nil {
							return err
						}
					}
					if err := w.checkImmutable(obj.(*application)); err != nil {
						return err
					}
					return w.effect("write of the Secret", func() error {
						w.secretWrites++
						defer w.watched(*obj.(*application).Name)
						return c.Apply(ctx, obj, opts...)
					})
				},
				Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
					return w.effect("delete of the old Secret", func() error {
						defer w.watched(obj.GetName())
						return c.Delete(ctx, obj, opts...)
					})
				},
				SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
					return w.effect("write of the status", func() error {
						err := c.SubResource(sub).Patch(ctx, obj, p, opts...)
						if err == nil {
							w.statusWrites++
						}
						return err
					})
				},
			}).Build()
		w.restart()
		test(w)
	})
}

// checkImmutable refuses what the API server refuses of an immutable Secret. The client
// in memory does not.
func (w *world) checkImmutable(a *application) error {
	is := w.secret(*a.Name)
	if is == nil || is.Immutable == nil || !*is.Immutable {
		return nil
	}
	for key, value := range a.Data {
		if !bytes.Equal(is.Data[key], value) {
			return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Secret").GroupKind(), *a.Name, nil)
		}
	}
	return nil
}

// restart replaces the operator by one that remembers nothing, as after a
// SIGKILL.
func (w *world) restart() {
	if w.stop != nil {
		w.stop()
	}
	ctx, stop := context.WithCancel(w.t.Context())
	w.stop = stop
	w.secrets = secretcache.New(liveReader{w}, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind).GroupKind())
	w.r = New(client.WithFieldOwner(w.client, record.ManagedBy), w.secrets, w, Options{
		WeChat:       wechat.NewClientWithTransports("https://wechat", 10*time.Second, line{w}, line{w}),
		StableWindow: w.window,
	})
	w.r.wake = func(key types.NamespacedName, _ bool) {
		if ctx.Err() == nil { // one that has ended wakes nobody
			w.wake(key)
		}
	}
	go func(a *account.Accounts) { _ = a.Start(ctx) }(w.r.Accounts)
	w.secrets.Replace("", nil, "1")
	var secrets corev1.SecretList
	if err := w.client.List(w.t.Context(), &secrets); err != nil {
		w.t.Fatal(err)
	}
	for i := range secrets.Items {
		w.watched(secrets.Items[i].Name)
	}
	var all v1alpha1.WeChatTokenList
	if err := w.client.List(w.t.Context(), &all); err != nil {
		w.t.Fatal(err)
	}
	for i := range all.Items {
		w.wake(client.ObjectKeyFromObject(&all.Items[i]))
	}
}

// errCrashed is what an operator that is gone gets to see: nothing that it could act on.
var errCrashed = apierrors.NewServiceUnavailable("the operator has ended")

// effect lets the operator do something to the world, or die before or after.
func (w *world) effect(what string, do func() error) error {
	if !w.reach("before the " + what) {
		return errCrashed
	}
	err := do()
	if !w.reach("after the " + what) {
		return errCrashed
	}
	return err
}

// reach notes that the operator has come to a point, and reports whether it
// goes on.
func (w *world) reach(point string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crashed {
		return false
	}
	w.effects = append(w.effects, point)
	w.crashed = len(w.effects) == w.crashAt
	return !w.crashed
}

// Eventf makes the world an events.EventRecorder.
func (w *world) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	w.events = append(w.events, kind+" "+reason+" "+fmt.Sprintf(note, args...))
}

func (w *world) wake(key types.NamespacedName) {
	w.mu.Lock()
	w.queue[key] = time.Now()
	w.mu.Unlock()
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// line is what the operator calls.
type line struct{ w *world }

func (t line) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.w.RoundTrip(req)
}

// liveReader reads Secrets as the operator does.
type liveReader struct{ w *world }

func (r liveReader) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if r.w.refuseRead != nil {
		if err := r.w.refuseRead(); err != nil {
			return err
		}
	}
	return r.w.client.Get(ctx, key, obj, opts...)
}

func (r liveReader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return r.w.client.List(ctx, list, opts...)
}

// RoundTrip makes the world the wire between the operator and WeChat, and notes
// the tokens and tickets that go over it.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.callsUnderWay++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.callsUnderWay--
		w.mu.Unlock()
	}()
	var resp *http.Response
	err := w.effect("call of "+path.Base(req.URL.Path), func() (err error) {
		resp, err = w.weChat.Transport().RoundTrip(req)
		return err
	})
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 128<<10))
	if token := regexp.MustCompile(`"(?:access_token|ticket)":"([^"]+)`).FindSubmatch(body); token != nil {
		w.mu.Lock()
		w.issued = append(w.issued, string(token[1]))
		w.mu.Unlock()
	}
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), errReader{err}))
	return resp, nil
}

// errReader ends a body as it ended on the wire.
type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, cmp.Or(r.err, io.EOF) }

// wantNoSecrets looks for AppSecrets and tokens everywhere but in the Secrets
// (P6).
func (w *world) wantNoSecrets() {
	w.t.Helper()
	wt, err := json.Marshal(w.get("shop"))
	if err != nil {
		w.t.Fatal(err)
	}
	libraries, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	told := map[string]string{
		"log":     w.log.String(),
		"events":  strings.Join(w.events, "\n"),
		"object":  string(wt),
		"metrics": fmt.Sprint(libraries, w.metrics()),
	}
	for where, text := range told {
		for _, secret := range append([]string{testAppSecret, wrongSecret}, w.issued...) {
			if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
				w.t.Errorf("%s: an AppSecret or a token is there", where)
			}
		}
	}
	if w.log.Len() == 0 || len(w.events) == 0 {
		w.t.Error("nothing was logged or told, so nothing could have leaked")
	}
}

// next is the object to reconcile next, and when.
func (w *world) next() (types.NamespacedName, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var first types.NamespacedName
	var at time.Time
	for key, t := range w.queue {
		if at.IsZero() || t.Before(at) {
			first, at = key, t
		}
	}
	return first, at
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(d); ; {
		synctest.Wait() // until all that can be done at this time is done
		if w.crashed {
			w.crashed = false
			w.restart()
		}
		key, at := w.next()
		if !at.IsZero() && !at.After(time.Now()) {
			w.reconcile(key)
			continue
		}
		if !time.Now().Before(end) {
			return
		}
		if at.IsZero() || at.After(end) {
			at = end
		}
		select {
		case <-time.After(time.Until(at)):
		case <-w.woken:
		}
	}
}

func (w *world) reconcile(key types.NamespacedName) {
	w.t.Helper()
	w.mu.Lock()
	delete(w.queue, key)
	w.mu.Unlock()
	log := logr.FromSlogHandler(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.reconciles++
	result, err := w.r.Reconcile(ctrl.LoggerInto(w.t.Context(), log), ctrl.Request{NamespacedName: key})
	after := result.RequeueAfter
	if err != nil {
		log.Error(err, "Reconciler error") // as controller-runtime does
		after = time.Second                // the queue's backoff
	}
	if after > 0 {
		w.mu.Lock()
		if _, woken := w.queue[key]; !woken {
			w.queue[key] = time.Now().Add(after)
		}
		w.mu.Unlock()
	}
}

// create adds objects, and lets a new WeChatToken be seen.
func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, obj := range objects {
		obj.SetNamespace("web")
		if wt, ok := obj.(*v1alpha1.WeChatToken); ok && wt.UID == "" {
			wt.UID, wt.Generation = types.UID("uid-of-"+wt.Name), 1
			wt.CreationTimestamp = metav1.Now()
		}
		if err := w.client.Create(w.t.Context(), obj); err != nil {
			w.t.Fatal(err)
		}
		w.seen(obj)
	}
}

// watched does what the watch of Secrets does, but for waking.
func (w *world) watched(name string) {
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: name}}
	if s := w.secret(name); s != nil {
		m.ObjectMeta, w.pods[name] = s.ObjectMeta, s.Data
		w.secrets.Observe(m)
	} else {
		delete(w.pods, name)
		m.ResourceVersion = "later"
		w.secrets.Gone("", m)
	}
}

// seen does what the watches do.
func (w *world) seen(obj client.Object) {
	if _, ok := obj.(*corev1.Secret); ok {
		w.watched(obj.GetName())
	}
	if _, ok := obj.(*v1alpha1.WeChatToken); ok {
		w.wake(client.ObjectKeyFromObject(obj))
		return
	}
	for _, key := range w.secrets.UsersOf(obj) {
		w.wake(key)
	}
}

// change edits the WeChatToken "shop".
func (w *world) change(mods ...func(*v1alpha1.WeChatToken)) {
	w.t.Helper()
	w.changeOf("shop", mods...)
}

// changeOf edits the WeChatToken of the given name; a changed spec is a new
// generation.
func (w *world) changeOf(name string, mods ...func(*v1alpha1.WeChatToken)) {
	w.t.Helper()
	wt := w.get(name)
	before := wt.DeepCopy()
	for _, mod := range mods {
		mod(wt)
	}
	if !specEqual(before, wt) {
		wt.Generation++
	}
	if err := w.client.Update(w.t.Context(), wt); err != nil {
		w.t.Fatal(err)
	}
	w.seen(wt)
}

// edit changes the Secret of the given name.
func (w *world) edit(name string, change func(*corev1.Secret)) {
	w.t.Helper()
	s := w.secret(name)
	if s == nil {
		w.t.Fatalf("there is no Secret %s", name)
	}
	change(s)
	if err := w.client.Update(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	w.seen(s)
}

// remove deletes the Secret of the given name.
func (w *world) remove(name string) {
	w.t.Helper()
	s := w.secret(name)
	if err := w.client.Delete(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	w.seen(s)
}

func (w *world) get(name string) *v1alpha1.WeChatToken {
	w.t.Helper()
	var wt v1alpha1.WeChatToken
	if err := w.client.Get(w.t.Context(), types.NamespacedName{Namespace: "web", Name: name}, &wt); err != nil {
		w.t.Fatal(err)
	}
	return &wt
}

// secret is the Secret of the given name; nil if there is none.
func (w *world) secret(name string) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	err := w.client.Get(w.t.Context(), types.NamespacedName{Namespace: "web", Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// token is the token in the Secret "shop"; empty if there is none.
func (w *world) token() string { return string(w.pods["shop"]["access_token"]) }

// consume reads the Secret "shop" every pause for d, as a pod does, while the
// operator works. It returns how many reads found no live token.
func (w *world) consume(d, pause time.Duration) (invalid int) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.run(pause)
		if !w.weChat.Valid(w.token()) {
			invalid++
		}
	}
	return invalid
}

// ready is the condition Ready of "shop"; zero if there is none.
func (w *world) ready() metav1.Condition {
	w.t.Helper()
	if c := meta.FindStatusCondition(w.get("shop").Status.Conditions, v1alpha1.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func (w *world) wantReady(status metav1.ConditionStatus, reason string) {
	w.t.Helper()
	if got := w.ready(); got.Status != status || got.Reason != reason {
		w.t.Errorf("Ready = %s %s (%s), want %s %s", got.Status, got.Reason, got.Message, status, reason)
	}
}

// other is the condition beside Ready; empty if there is none.
func (w *world) other() string {
	w.t.Helper()
	for _, c := range w.get("shop").Status.Conditions {
		if c.Type != v1alpha1.ConditionReady {
			return c.Type
		}
	}
	return ""
}

// calls counts the calls to the token endpoints.
func (w *world) calls() int {
	c := w.weChat.Counts("")
	return c.Stable.Calls + c.Classic.Calls
}

func specEqual(a, b *v1alpha1.WeChatToken) bool {
	return equality.Semantic.DeepEqual(a.Spec, b.Spec)
}

// metrics are those of the operator, as Prometheus would scrape them.
func (w *world) metrics() []*dto.MetricFamily {
	w.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(w.r.Metrics); err != nil {
		w.t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	return families
}

// lastIssued is the token or ticket that WeChat has sent last.
func (w *world) lastIssued() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.issued[len(w.issued)-1]
}

// recordOf is what the Secret of the given name remembers; nil if there is none.
func (w *world) recordOf(name string) *record.Record {
	w.t.Helper()
	return record.Read(w.secret(name), record.NewKey(testAppSecret))
}

// store makes the Secret "shop" remember r, as the operator would have written it.
func (w *world) store(r record.Record, mods ...func(*corev1.Secret)) {
	w.t.Helper()
	w.edit("shop", func(s *corev1.Secret) {
		want := record.Render(w.get("shop"), r, record.NewKey(testAppSecret))
		maps.Copy(s.Annotations, want.Annotations)
		maps.Copy(s.Data, want.Data)
		for _, mod := range mods {
			mod(s)
		}
	})
}

// unproven spoils the MAC of the record, as any edit of it does.
func unproven(s *corev1.Secret) {
	s.Annotations[record.Annotation] = strings.Replace(s.Annotations[record.Annotation], `"mac":"`, `"mac":"0`, 1)
}
