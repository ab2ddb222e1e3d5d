package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// What is held after a write is what stands in the cluster, and not what was
// meant to stand there.
func TestTheAnswerIsHeld(t *testing.T) {
	n := newNamespace(t)
	n.create(weChatToken())
	o := observed{wt: n.token("shop")}
	r := &WeChatTokenReconciler{Client: client.WithFieldOwner(n.Client, managedBy)}
	r.secrets.replace(n.name, nil, "1")
	r.secrets.name(client.ObjectKeyFromObject(o.wt), names{target: "shop", appSecret: "shop-app"})
	write := func(token string) {
		t.Helper()
		if err := r.write(t.Context(), o, &issued{value: token, fingerprint: fingerprint(token)}); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	// A person adds an owner before ours.
	update(n, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, func(s *corev1.Secret) {
		theirs := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "theirs", UID: "theirs"}
		s.OwnerReferences = append([]metav1.OwnerReference{theirs}, s.OwnerReferences...)
	})
	o.secret = n.secret("shop")
	write("two")

	want, got := n.secret("shop"), r.secrets.recall(client.ObjectKeyFromObject(o.wt))
	want.ManagedFields = nil
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(metav1.TypeMeta{})); diff != "" {
		t.Errorf("what is held (-there +held):\n%s", diff)
	}
}

// front is a proxy before the API server that can cut the watch of Secrets. Reads
// of one Secret pass.
type front struct {
	mu      sync.Mutex
	mended  chan struct{} // closed unless the watch is cut
	cuts    []context.CancelFunc
	expired bool // the next watch is told that its version is too old
}

// behindFront makes the operator see the API server through a front.
func (n *namespace) behindFront() (*front, func(*operation)) {
	n.t.Helper()
	transport, err := rest.TransportFor(n.Config)
	if err != nil {
		n.t.Fatal(err)
	}
	target, err := url.Parse(n.Config.Host)
	if err != nil {
		n.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1 // a watch is told at once
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	f := &front{mended: make(chan struct{})}
	close(f.mended)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/secrets") {
			ctx, cut := context.WithCancel(r.Context())
			defer cut()
			if r = r.WithContext(ctx); !f.pass(r, cut) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusGone)
				_ = json.NewEncoder(w).Encode(apierrors.NewResourceExpired("too old").ErrStatus)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	n.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return f, func(o *operation) { o.cluster = &rest.Config{Host: server.URL, QPS: -1} }
}

// pass holds a request until the watch is mended, and reports whether it may go on.
func (f *front) pass(r *http.Request, cut context.CancelFunc) bool {
	for {
		f.mu.Lock()
		mended := f.mended
		select {
		case <-mended:
			gone := f.expired && r.URL.Query().Has("watch")
			f.expired = f.expired && !gone
			f.cuts = append(f.cuts, cut)
			f.mu.Unlock()
			return !gone
		default:
			f.mu.Unlock()
		}
		select {
		case <-mended:
		case <-r.Context().Done():
			return true // nobody waits for an answer
		}
	}
}

func (f *front) cut(expired bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mended, f.expired = make(chan struct{}), expired
	for _, cut := range f.cuts {
		cut()
	}
	f.cuts = nil
}

func (f *front) mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.mended)
}

// P8: a foreign Secret that the watch has not shown yet is left as it is.
func TestForeignSecretIsLeftAloneUnseen(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	_, url := fakeWeChat(t, wechattest.Config{OpenAccounts: true})
	f, behind := n.behindFront()
	n.operate(url, behind)
	n.create(appSecret(testAppSecret), weChatToken())
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)

	f.cut(false)
	defer f.mend()
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Data: map[string][]byte{"theirs": []byte("x")}}
	n.create(theirs, weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Name = theirs.Name }))
	n.isReady(theirs.Name, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if diff := cmp.Diff(theirs, n.secret(theirs.Name)); diff != "" {
		t.Errorf("theirs has changed (-want +got):\n%s", diff)
	}
}

// P1: what has changed while the watch was cut is noticed when it is back, whether
// it goes on where it was or lists anew.
func TestCutWatchMissesNothing(t *testing.T) {
	t.Parallel()
	for name, expired := range map[string]bool{"GoesOn": false, "ListsAnew": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const another, appID = "canary0another0secret0canary0ano", "wx00000000000000aa"
			n := newNamespace(t)
			fake, url := fakeWeChat(t, wechattest.Config{})
			fake.AddAccount(testAppID, testAppSecret)
			fake.AddAccount(appID, testAppSecret)
			f, behind := n.behindFront()
			n.operate(url, behind)
			token := func(name string) {
				t.Helper()
				n.create(weChatToken(func(wt *v1alpha1.WeChatToken) {
					if wt.Name = name; name == "rotated" {
						wt.Spec.AppID, wt.Spec.AppSecretRef.Name = appID, "rotated-app"
					}
				}))
				n.isReady(name, metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
			}
			remove := func(name string) {
				t.Helper()
				if err := n.Delete(t.Context(), n.secret(name)); err != nil {
					t.Fatal(err)
				}
			}
			rotated := appSecret(testAppSecret)
			rotated.Name = "rotated-app"
			n.create(appSecret(testAppSecret), rotated)
			for _, name := range []string{"edited", "deleted", "rotated"} {
				token(name)
			}
			want := n.secret("edited").Data

			f.cut(expired)
			update(n, n.secret("edited"), func(s *corev1.Secret) { s.Data["access_token"] = []byte("edited") })
			remove("deleted")
			fake.SetSecret(appID, another)
			update(n, rotated, setAppSecret(another))
			token("made") // and deleted again, before the watch has told of it
			remove("made")
			f.mend()

			for _, name := range []string{"edited", "deleted", "made"} {
				eventually(t, name+": the token is back", func() error {
					var s corev1.Secret
					if err := n.Get(t.Context(), client.ObjectKey{Name: name}, &s); err != nil {
						return err
					}
					if !maps.EqualFunc(want, s.Data, bytes.Equal) {
						return errors.New("it is another one")
					}
					return nil
				})
			}
			account := accountOf(wechat.Credentials{AppID: appID, AppSecret: another}, v1alpha1.ModeStable)
			eventually(t, "the AppSecret is taken up", func() error {
				if got := n.secret("rotated").Annotations[annotationAccount]; got != string(account) {
					return fmt.Errorf("the account is %s, want %s", got, account)
				}
				return nil
			})
		})
	}
}

// At the start all WeChatTokens are queued, and nobody else is to be. Later those
// are woken whose Secret has changed.
func TestChangedSecretsWakeTheirUsers(t *testing.T) {
	named := func(name, target, appSecret string) *v1alpha1.WeChatToken {
		return weChatToken(func(wt *v1alpha1.WeChatToken) {
			wt.Name, wt.UID = name, types.UID("uid-of-"+name)
			wt.Spec.Secret, wt.Spec.AppSecretRef.Name = &v1alpha1.TokenSecret{Name: target}, appSecret
		})
	}
	a, b, c := named("a", "one", "app"), named("b", "two", "app"), named("c", "one", "three")
	called := func(name, version string, mods ...func(*corev1.Secret)) *metav1.PartialObjectMetadata {
		return metaOf(secretAt(version, append(mods, func(s *corev1.Secret) { s.Name = name })...))
	}
	replace := func(at string, all ...*metav1.PartialObjectMetadata) func(*secretWatch) error {
		items := make([]any, len(all))
		for i, m := range all {
			items[i] = m
		}
		return func(w *secretWatch) error { return w.Replace(items, at) }
	}
	update := func(m *metav1.PartialObjectMetadata) func(*secretWatch) error {
		return func(w *secretWatch) error { return w.Update(m) }
	}
	// wrote is a write of a's target, of which the event is to come.
	wrote := func(w *secretWatch) {
		w.r.secrets.name(client.ObjectKeyFromObject(a), names{target: "one", appSecret: "app"})
		w.r.secrets.wrote(client.ObjectKeyFromObject(a), secretAt("20", func(s *corev1.Secret) { s.Name = "one" }))
	}
	cases := map[string]struct {
		reason string
		before func(*secretWatch)
		event  func(*secretWatch) error
		want   []string
	}{
		"Unchanged":      {"", nil, replace("15", called("one", "11"), called("app", "12"), called("theirs", "13")), nil},
		"ChangedUnseen":  {"", nil, replace("15", called("one", "14"), called("app", "12"), called("theirs", "13")), []string{"a", "c"}},
		"AppearedUnseen": {"", nil, replace("15", called("one", "11"), called("two", "14"), called("app", "12")), []string{"b"}},
		"VanishedUnseen": {"", nil, replace("15", called("one", "11"), called("theirs", "13")), []string{"a", "b"}},
		"StillUnordered": {"it may have changed", func(w *secretWatch) { w.r.secrets.note(called("one", "x")) },
			replace("15", called("one", "x"), called("app", "12"), called("theirs", "13")), []string{"a", "c"}},
		"OwnUnordered": {"nothing tells which is the later one", func(w *secretWatch) {
			wrote(w)
			w.r.secrets.wrote(client.ObjectKeyFromObject(a), secretAt("x", func(s *corev1.Secret) { s.Name = "one" }))
		}, update(called("one", "x", controlledBy(a))), []string{"a", "c"}},
		"Unordered": {"it may have changed", nil, replace("15", called("one", "x"), called("app", "12")), []string{"a", "c"}},
		"MadeAndGoneUnseen": {"the list has never had what was written", wrote,
			replace("25", called("app", "12"), called("theirs", "13")), []string{"a", "c"}},
		"Added":     {"", nil, func(w *secretWatch) error { return w.Add(called("two", "20")) }, []string{"b"}},
		"Changed":   {"", nil, update(called("app", "20")), []string{"a", "b"}},
		"Theirs":    {"nobody names it", nil, update(called("theirs", "20")), nil},
		"Deleted":   {"", nil, func(w *secretWatch) error { return w.Delete(called("one", "20")) }, []string{"a", "c"}},
		"OwnWrite":  {"a knows; c names it too", wrote, update(called("one", "20", controlledBy(a))), []string{"c"}},
		"AfterOwn":  {"somebody else has changed it", wrote, update(called("one", "21", controlledBy(a))), []string{"a", "c"}},
		"BeforeOwn": {"what came before was not ours", wrote, update(called("one", "19", controlledBy(a))), []string{"a", "c"}},
		"OldTarget": {"b has another one by now, and is to remove it", nil, update(called("old", "20", controlledBy(b))), []string{"b"}},
		"LeftBehind": {"a has another one by now, and is to remove it", func(w *secretWatch) {
			wrote(w)
			w.r.secrets.name(client.ObjectKeyFromObject(c), names{target: "one", appSecret: "three"})
			w.r.secrets.name(client.ObjectKeyFromObject(a), names{target: "two", appSecret: "app"})
		}, update(called("one", "20", controlledBy(a))), []string{"a", "c"}},
		"OwnGone": {"somebody else has deleted it", wrote, func(w *secretWatch) error { return w.Delete(called("one", "21")) }, []string{"a", "c"}},
	}
	for name, tc := range cases {
		for _, namespace := range []string{metav1.NamespaceAll, "web"} {
			t.Run(name+namespace, func(t *testing.T) {
				w, _, q := newWatch(namespace, a, b, c)
				if w.isSynced() {
					t.Error("the Secrets are said to be known before they are listed")
				}
				if err := replace("13", called("one", "11"), called("app", "12"), called("theirs", "13"))(w); err != nil {
					t.Fatal(err)
				}
				if len(q.keys) > 0 || !w.isSynced() {
					t.Errorf("woken at the start: %v; synced: %t", q.keys, w.isSynced())
				}
				if tc.before != nil {
					tc.before(w)
				}
				if err := tc.event(w); err != nil {
					t.Fatal(err)
				}
				var got []string
				for key := range q.keys {
					got = append(got, key.Name)
				}
				if slices.Sort(got); !slices.Equal(got, tc.want) {
					t.Errorf("%s: woken %v, want %v", tc.reason, got, tc.want)
				}
			})
		}
	}
}

// What is listed of 50,000 Secrets is small, and namespaces come and go.
func TestWatchKeepsNoMoreThanItNeeds(t *testing.T) {
	m := metaOf(secretAt("5", controlledBy(weChatToken(func(wt *v1alpha1.WeChatToken) { wt.UID = "uid" }))))
	m.Labels, m.Annotations = map[string]string{"a": "b"}, map[string]string{"a": "b"}
	m.ManagedFields = []metav1.ManagedFieldsEntry{{}}
	w, _, _ := newWatch(metav1.NamespaceAll)
	got, err := w.Transformer()(m)
	if err != nil {
		t.Fatal(err)
	}
	want := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop", ResourceVersion: "5", OwnerReferences: m.OwnerReferences}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, do := range []func() error{
		func() error { return w.Replace(nil, "1") },
		func() error { return w.Update(got) },
		func() error { return w.Delete(metaOf(secretAt("6"))) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if k := &w.r.secrets; len(k.listed)+len(k.owned) > 0 {
		t.Errorf("left: %v, %v", k.listed, k.owned)
	}
}
