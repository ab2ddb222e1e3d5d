//go:build integration

package secretcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"wechattoken.io/operator/internal/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m, 32)) }

// cluster is a namespace on a real API server, and a Cache that watches it.
type cluster struct {
	client.Client
	*Cache

	t           *testing.T
	namespace   string
	front       *front
	writer, all *woken
}

// newCluster starts a Cache that sees the API server through a front. The object
// "thing" names the given Secrets.
func newCluster(t *testing.T, names Names, secrets ...string) *cluster {
	t.Helper()
	ns := testcluster.NewNamespace(t)
	front, config := newFront(t, ns.Config)
	m, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	n := &cluster{
		Client: ns.All, Cache: New(ns.All, ours), t: t, namespace: ns.Name, front: front,
		writer: &woken{keys: map[types.NamespacedName]bool{}}, all: &woken{keys: map[types.NamespacedName]bool{}},
	}
	for _, name := range secrets {
		n.create(name)
	}
	n.SetNames(n.id("thing"), names)
	watch, changes := n.Source(m, []string{n.namespace}), n.Changes()
	for s, queue := range map[source.SyncingSource]*woken{watch: n.writer, changes: n.all} {
		if err := s.Start(t.Context(), queue); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Patience)
	defer cancel()
	if err := changes.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *cluster) id(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: n.namespace, Name: name}
}

func (n *cluster) create(name string, mods ...func(*corev1.Secret)) *corev1.Secret {
	n.t.Helper()
	s := secretAt("", append(mods, in(n.namespace), called(name))...)
	if err := n.Client.Create(n.t.Context(), s); err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *cluster) delete(name string) {
	n.t.Helper()
	if err := n.Client.Delete(n.t.Context(), secretAt("", in(n.namespace), called(name))); err != nil {
		n.t.Fatal(err)
	}
}

func (n *cluster) edit(name, value string) *corev1.Secret {
	n.t.Helper()
	s := n.onServer(name)
	s.Data["version"] = []byte(value)
	if err := n.Client.Update(n.t.Context(), s); err != nil {
		n.t.Fatal(err)
	}
	return s
}

// onServer is a Secret as the API server has it; nil if it has none.
func (n *cluster) onServer(name string) *corev1.Secret {
	n.t.Helper()
	var s corev1.Secret
	if err := n.Client.Get(n.t.Context(), n.id(name), &s); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		n.t.Fatal(err)
	}
	s.ManagedFields = nil
	return &s
}

func (n *cluster) get(name string) *corev1.Secret {
	n.t.Helper()
	s, err := n.Cache.Get(n.t.Context(), n.id(name), "")
	if err != nil {
		n.t.Fatal(err)
	}
	if s != nil {
		s.ManagedFields = nil
	}
	return s
}

// isKnown waits until the Cache has of a Secret what the API server has.
func (n *cluster) isKnown(name string) {
	n.t.Helper()
	testcluster.Eventually(n.t, name+" is known", func() error {
		want := n.onServer(name)
		if diff := cmp.Diff(want, n.get(name), cmpopts.IgnoreTypes(metav1.TypeMeta{})); diff != "" {
			return fmt.Errorf("got (-want +got):\n%s", diff)
		}
		if absent := n.Absent(n.id(name)); absent && want != nil {
			return errors.New("it is taken to be absent")
		}
		return nil
	})
}

// isWoken waits until a queue has exactly these names, and empties it.
func (n *cluster) isWoken(q *woken, want ...string) {
	n.t.Helper()
	testcluster.Eventually(n.t, "queued", func() error {
		if got := q.names(); !slices.Equal(got, want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.keys)
}

// front is a proxy before the API server that can cut the watch of Secrets.
type front struct {
	mu      sync.Mutex
	fixed   chan struct{} // closed unless the watch is cut
	cuts    []func()      // each ends a request, and waits until it has ended
	expired bool          // the next watch is answered that its version is too old
}

// newFront returns a front, and the configuration that leads through it.
func newFront(t *testing.T, config *rest.Config) (*front, *rest.Config) {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1 // events pass at once
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	f := &front{fixed: make(chan struct{})}
	close(f.fixed)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/secrets") {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			ended := make(chan struct{})
			defer close(ended)
			if r = r.WithContext(ctx); !f.pass(r, func() { cancel(); <-ended }) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusGone)
				_ = json.NewEncoder(w).Encode(apierrors.NewResourceExpired("too old").ErrStatus)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return f, &rest.Config{Host: server.URL, QPS: -1}
}

// pass holds a request until the watch is fixed, and reports whether it may go on.
func (f *front) pass(r *http.Request, cut func()) bool {
	for {
		f.mu.Lock()
		fixed := f.fixed
		select {
		case <-fixed:
			gone := f.expired && r.URL.Query().Has("watch")
			f.expired = f.expired && !gone
			f.cuts = append(f.cuts, cut)
			f.mu.Unlock()
			return !gone
		default:
			f.mu.Unlock()
		}
		select {
		case <-fixed:
		case <-r.Context().Done():
			return true // nobody waits for an answer
		}
	}
}

func (f *front) cut(expired bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fixed, f.expired = make(chan struct{}), expired
	for _, cut := range f.cuts {
		cut()
	}
	f.cuts = nil
}

func (f *front) fix() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.fixed)
}
