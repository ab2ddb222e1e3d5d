package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"wechattoken.io/operator/controllers/metrics"
)

// The metric has the namespaces that cannot be read now, whether the operator has started
// without them or lost them since. It starts anew only for one that it does not serve.
func TestTheMetricFollowsWhatCanBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		forbidden, stopped := []string{"pay"}, false
		forbid := func(namespaces ...string) {
			mu.Lock()
			defer mu.Unlock()
			forbidden = namespaces
		}
		ended := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return stopped
		}
		client := fake.NewSimpleMetadataClient(runtime.NewScheme())
		client.PrependReactor("list", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
			mu.Lock()
			defer mu.Unlock()
			if slices.Contains(forbidden, action.GetNamespace()) {
				return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", errors.New("no RoleBinding"))
			}
			return true, nil, errors.New("the API server does not say")
		})
		unreadable := metrics.Unreadable()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go reader{client, whatIsRead(false)}.follow(ctx, logr.Discard(), []string{"web", "pay"}, []string{"pay"}, unreadable, func() {
			mu.Lock()
			defer mu.Unlock()
			stopped = true
		})
		wants := func(what string, want ...string) {
			t.Helper()
			time.Sleep(askAgain + time.Second)
			synctest.Wait()
			if diff := cmp.Diff(want, labelled(t, unreadable)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		wants("skipped", "pay")
		forbid("pay", "web")
		wants("lost", "pay", "web")
		forbid("pay")
		wants("back", "pay")
		if ended() {
			t.Error("it ends for a namespace that it serves")
		}
		forbid()
		wants("readable, and the process ends", "pay")
		if !ended() {
			t.Error("it does not end for a namespace that it can serve now")
		}
	})
}

// labelled are the namespaces in the metric.
func labelled(t *testing.T, g *prometheus.GaugeVec) (namespaces []string) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(g)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			namespaces = append(namespaces, m.GetLabel()[0].GetValue())
		}
	}
	return namespaces
}
