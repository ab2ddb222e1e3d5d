//go:build integration

package controllers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/secretcache"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A reconcile that finds nothing to do must stay cheap: each of 10,000 WeChatTokens
// has one when the operator starts. What is allowed is half as much again as was
// measured before the record on the Secret had a MAC, by
//
//	go test -tags integration ./controllers -run '^$' -bench Reconcile
//
// which does not depend on the machine, and hardly on -race.
func TestReconcileAllocatesLittle(t *testing.T) {
	// By default a benchmark runs for a second, in which a busy machine reconciles once.
	usual := flag.Lookup("test.benchtime").Value.String()
	defer flag.Set("test.benchtime", usual) //nolint:errcheck // it was there before
	if err := flag.Set("test.benchtime", "500x"); err != nil {
		t.Fatal(err)
	}
	for name, measured := range map[string]struct {
		run           func(*testing.B)
		allocs, bytes int64
	}{
		"OfNothing": {run: BenchmarkReconcileOfNothing, allocs: 186, bytes: 15_800},
		"AtStart":   {run: BenchmarkReconcileAtStart, allocs: 181, bytes: 20_500},
	} {
		t.Run(name, func(t *testing.T) {
			got := testing.Benchmark(measured.run)
			if got.N == 0 {
				t.Fatalf("it failed; why, says: go test -tags integration ./controllers -run '^$' -bench Reconcile%s", name)
			}
			t.Log(got, got.MemString())
			if most := measured.allocs * 3 / 2; got.AllocsPerOp() > most {
				t.Errorf("%d allocations, want at most %d", got.AllocsPerOp(), most)
			}
			if most := measured.bytes * 3 / 2; got.AllocedBytesPerOp() > most {
				t.Errorf("%d bytes allocated, want at most %d", got.AllocedBytesPerOp(), most)
			}
		})
	}
}

// BenchmarkReconcileOfNothing is what all WeChatTokens cost all the time: one
// whose token is valid is looked at, and there is nothing to do.
func BenchmarkReconcileOfNothing(b *testing.B) {
	settled := newSettled(b)
	settled.reconcile(b) // the first time it is new
	b.ReportAllocs()
	for b.Loop() {
		settled.reconcile(b)
	}
}

// BenchmarkReconcileAtStart is what each costs at a start of the operator: its
// Secrets are read, and there is nothing to do.
func BenchmarkReconcileAtStart(b *testing.B) {
	settled := newSettled(b)
	b.ReportAllocs()
	for b.Loop() {
		settled.forget()
		settled.reconcile(b)
	}
}

// settled is a reconciler on the operator's cache, filled from a real API server,
// and a WeChatToken that has a valid token. Nothing else runs.
type settled struct {
	*WeChatTokenReconciler

	shop types.NamespacedName
	wt   *v1alpha1.WeChatToken
}

var appIDs atomic.Int64

// bystanders are the other WeChatTokens in the cache. To go through all of them
// for one would show.
const bystanders = 50

func newSettled(b *testing.B) *settled {
	b.Helper()
	n := newNamespace(b)
	// The cache is that of the whole cluster, as the manager's is by default: in
	// one of a namespace, each read asks first whether its kind is namespaced. So
	// this appid must be that of nobody else there.
	appID := fmt.Sprintf("wxbe9c%012x", appIDs.Add(1))
	fake, url := testcluster.FakeWeChat(b, wechattest.Config{})
	fake.AddAccount(appID, testAppSecret)
	of := func(appID string) func(*v1alpha1.WeChatToken) {
		return func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = appID }
	}
	for i := range bystanders {
		n.create(weChatToken(named(fmt.Sprintf("other-%d", i)), suspendedSpec, of(fmt.Sprintf("wx%016x", i))))
	}
	n.create(appSecret(testAppSecret), weChatToken(of(appID)))
	stop := n.operate(url)
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	stop()

	c, err := cache.New(n.Config, cache.Options{Scheme: n.Scheme(), DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		if err := c.Start(b.Context()); err != nil {
			b.Error(err)
		}
	}()
	if !c.WaitForCacheSync(b.Context()) {
		b.Fatal("the cache is not filled")
	}
	cached, err := client.New(n.Config, client.Options{Scheme: n.Scheme(), Cache: &client.CacheOptions{Reader: c}})
	if err != nil {
		b.Fatal(err)
	}

	s := &settled{shop: types.NamespacedName{Namespace: n.Name, Name: "shop"}}
	read := inMemory{}
	var listed []*metav1.PartialObjectMetadata
	for _, name := range []string{"shop", "shop-app"} {
		secret := n.secret(name)
		secret.ManagedFields = nil // or copying them would be most of the cost
		read[name] = secret
		listed = append(listed, &metav1.PartialObjectMetadata{ObjectMeta: secret.ObjectMeta})
	}
	secrets := secretcache.New(read, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind).GroupKind())
	secrets.Replace(n.Name, listed, listed[len(listed)-1].ResourceVersion)
	s.WeChatTokenReconciler = New(client.WithFieldOwner(cached, record.ManagedBy), secrets, nil, Options{
		WeChat: wechat.NewClient(url, 2*time.Second), StableWindow: testWindow,
	})
	s.wake = func(types.NamespacedName, bool) {}
	s.wt = n.token("shop")
	return s
}

// reconcile fails when there was something to do.
func (s *settled) reconcile(b *testing.B) {
	b.Helper()
	result, err := s.Reconcile(b.Context(), ctrl.Request{NamespacedName: s.shop})
	if err != nil {
		b.Fatal(err)
	}
	if wrote := s.memories.of(s.wt).last != (lastWrite{}); wrote || result.RequeueAfter < time.Hour {
		b.Fatalf("Secret written: %t; again after %s", wrote, result.RequeueAfter)
	}
}

// forget leaves of the WeChatToken what a new process knows: what the watch tells.
func (s *settled) forget() {
	s.Accounts.Leave(s.shop, time.Now())
	s.Secrets.Forget(s.shop)
	s.memories.forget(s.shop)
}

// inMemory are Secrets by name, at no cost but that of a copy.
type inMemory map[string]*corev1.Secret

func (m inMemory) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	m[key.Name].DeepCopyInto(obj.(*corev1.Secret))
	return nil
}

func (m inMemory) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.ErrUnsupported
}
