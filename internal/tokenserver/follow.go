package tokenserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// follower keeps held up to date with the API server. While that is away, held stays as it
// is.
type follower struct {
	clients Clients
	held    *held
	log     *slog.Logger
	missing chan types.NamespacedName // WeChatTokens whose Secret was dropped

	mu     sync.Mutex
	states map[string]*states // by namespace; "" is all
}

// states are what the API server has last said to the lists and watches of a namespace.
type states struct {
	of         map[string]state
	haveTokens chan struct{} // closed once the WeChatTokens were listed
}

type state int

const (
	asking state = iota
	listed
	forbidden
)

// restoredPerSecond is how many Secrets that were dropped are read again in a second.
const restoredPerSecond = 50

// What is followed.
const (
	theTokens  = "WeChatTokens"
	theSecrets = "Secrets"
)

func newFollower(c Clients, h *held, namespaces []string, log *slog.Logger) *follower {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	f := &follower{clients: c, held: h, log: log, missing: make(chan types.NamespacedName, remembered), states: map[string]*states{}}
	for _, ns := range namespaces {
		f.states[ns] = &states{map[string]state{theTokens: asking, theSecrets: asking}, make(chan struct{})}
	}
	return f
}

// run follows until ctx ends. The Secrets come after the WeChatTokens that name them:
// of others only some are held.
func (f *follower) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { f.restore(ctx) })
	for ns, s := range f.states {
		all.Go(func() {
			follow(ctx, f, ns, theTokens, f.clients.WeChatTokens, labels.Everything(), stripObject,
				store[*v1alpha1.WeChatToken]{put: f.put, drop: f.held.dropObject, replace: f.held.replaceObjects})
		})
		all.Go(func() {
			select {
			case <-s.haveTokens:
			case <-ctx.Done():
				return
			}
			follow(ctx, f, ns, theSecrets, f.clients.Secrets, ours, stripSecret,
				store[*corev1.Secret]{put: f.held.putSecret, drop: f.held.dropSecret, replace: f.held.replaceSecrets})
		})
	}
	all.Wait()
}

// ours selects the Secrets that the operator has written.
var ours = labels.SelectorFromSet(labels.Set{record.LabelManagedBy: record.ManagedBy})

// put takes a WeChatToken. Its Secret may have come long before it, and was dropped then.
func (f *follower) put(wt *v1alpha1.WeChatToken) {
	f.held.putObject(wt)
	id := types.NamespacedName{Namespace: wt.Namespace, Name: wt.Name}
	if f.held.lacks(id) == "" {
		return
	}
	select {
	case f.missing <- id:
	default: // it is served when the operator writes the next one
	}
}

// restore reads the Secrets that were dropped, apart from the watches: who edits a
// namespace can have it drop some again and again, and delays nobody else by that.
func (f *follower) restore(ctx context.Context) {
	pace := rate.NewLimiter(restoredPerSecond, restoredPerSecond)
	for pace.Wait(ctx) == nil {
		var id types.NamespacedName
		select {
		case id = <-f.missing:
		case <-ctx.Done():
			return
		}
		name := f.held.lacks(id)
		if name == "" {
			continue
		}
		var one corev1.SecretList // a get would be one more permission
		if err := f.clients.Secrets.Get().Namespace(id.Namespace).Resource("secrets").VersionedParams(&metav1.ListOptions{
			LabelSelector: ours.String(), FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String(),
		}, metav1.ParameterCodec).Do(ctx).Into(&one); err != nil {
			f.log.Error("A Secret could not be read; its token is served when the operator writes the next one", "namespace", id.Namespace, "name", id.Name, "error", err)
		}
		for i := range one.Items {
			f.held.restore(&one.Items[i])
		}
	}
}

// synced is nil once all was listed, but for namespaces that may not be read, unless these
// are all.
func (f *follower) synced() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	readable := 0
	for ns, s := range f.states {
		if !s.readable() {
			continue
		}
		readable++
		for what, is := range s.of {
			if is == asking {
				return fmt.Errorf("the list of the %s of %s has not come yet", what, nameOf(ns))
			}
		}
	}
	if readable == 0 {
		return errors.New("the token-server may list WeChatTokens and Secrets in none of its namespaces: give it the Role of config/token-server there")
	}
	return nil
}

func (s *states) readable() bool {
	return s.of[theTokens] != forbidden && s.of[theSecrets] != forbidden
}

// follows reports whether the WeChatTokens of a namespace can be known.
func (f *follower) follows(namespace string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.states[metav1.NamespaceAll]; ok {
		return true
	}
	s, ok := f.states[namespace]
	return ok && s.readable()
}

// heard notes what the API server has said.
func (f *follower) heard(namespace, what string, is state) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.states[namespace]
	if s.of[what] == is {
		return
	}
	if is == listed && what == theTokens {
		select {
		case <-s.haveTokens:
		default:
			close(s.haveTokens)
		}
	}
	if s.of[what] = is; is == forbidden {
		f.log.Error("The API server does not let the token-server list "+what+". It goes on asking", "namespace", nameOf(namespace))
	}
}

func nameOf(namespace string) string {
	if namespace == metav1.NamespaceAll {
		return "all namespaces"
	}
	return "namespace " + namespace
}

// follow lists and watches objects of one type into a store until ctx ends.
func follow[T metav1.Object](ctx context.Context, f *follower, namespace, what string, c rest.Interface, selector labels.Selector, strip func(T) T, into store[T]) {
	note := func(err error) error {
		if apierrors.IsForbidden(err) {
			f.heard(namespace, what, forbidden)
		}
		return err
	}
	into.namespace, into.strip = namespace, strip
	into.listed = func() { f.heard(namespace, what, listed) }
	lw := cache.NewFilteredListWatchFromClient(c, strings.ToLower(what), namespace, func(o *metav1.ListOptions) { o.LabelSelector = selector.String() })
	noting := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			all, err := lw.ListWithContext(ctx, o)
			return all, note(err)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := lw.WatchWithContext(ctx, o)
			return w, note(err)
		},
	}
	var expected T
	cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(noting, c), expected, into, cache.ReflectorOptions{Name: what}).RunWithContext(ctx)
}

// store is where a reflector puts what it sees: into held.
type store[T metav1.Object] struct {
	namespace string // "" for all
	strip     func(T) T
	put       func(T)
	drop      func(namespace, name string)
	replace   func(namespace string, all []T)
	listed    func()
}

// Add takes an object that is new.
func (s store[T]) Add(obj any) error { return s.Update(obj) }

// Update takes an object that has changed.
func (s store[T]) Update(obj any) error {
	s.put(obj.(T)) //nolint:forcetypeassert // the reflector makes sure
	return nil
}

// Delete takes an object that was deleted.
func (s store[T]) Delete(obj any) error {
	gone := obj.(T) //nolint:forcetypeassert // the reflector makes sure
	s.drop(gone.GetNamespace(), gone.GetName())
	return nil
}

// Replace takes all objects that there are.
func (s store[T]) Replace(items []any, _ string) error {
	all := make([]T, len(items))
	for i, item := range items {
		all[i] = item.(T) //nolint:forcetypeassert // the reflector makes sure
	}
	s.replace(s.namespace, all)
	s.listed()
	return nil
}

// Resync does nothing: nobody else reads this store.
func (store[T]) Resync() error { return nil }

// Transformer makes the reflector keep no more than is needed of the objects that it
// collects for Replace: an object may be as large as 1 MiB.
func (s store[T]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		if o, ok := obj.(T); ok {
			return s.strip(o), nil
		}
		return obj, nil
	}
}
