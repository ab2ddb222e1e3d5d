package controllers

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// What is held after a write is what stands in the cluster, and not what was
// meant to stand there.
func TestTheAnswerIsHeld(t *testing.T) {
	n := newNamespace(t)
	n.create(weChatToken())
	o := observed{wt: n.token("shop")}
	r := &WeChatTokenReconciler{Client: client.WithFieldOwner(n.Client, managedBy)}
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

// front is a proxy before the API server whose watch of Secrets can be cut, as by
// a restart of the server.
type front struct {
	mu    sync.Mutex
	isCut bool
	cuts  []context.CancelFunc
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
	f := &front{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Lists too: a reflector lists by a watch, or when it finds none.
		if strings.HasSuffix(r.URL.Path, "/secrets") {
			ctx, cut := context.WithCancel(r.Context())
			defer cut()
			if !f.pass(cut) {
				http.Error(w, "cut", http.StatusServiceUnavailable)
				return
			}
			r = r.WithContext(ctx)
		}
		proxy.ServeHTTP(w, r)
	}))
	n.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return f, func(o *operation) { o.cluster = &rest.Config{Host: server.URL, QPS: -1} }
}

func (f *front) pass(cut context.CancelFunc) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts = append(f.cuts, cut)
	return !f.isCut
}

func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isCut = true
	for _, cut := range f.cuts {
		cut()
	}
	f.cuts = nil
}

func (f *front) mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isCut = false
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

	f.cut()
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Data: map[string][]byte{"theirs": []byte("x")}}
	n.create(theirs, weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Name = theirs.Name }))
	n.isReady(theirs.Name, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if diff := cmp.Diff(theirs, n.secret(theirs.Name)); diff != "" {
		t.Errorf("theirs has changed (-want +got):\n%s", diff)
	}
	f.mend()
}
