package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/metrics"
)

// A namespace of --namespaces may have lost its RoleBinding, or be gone. The caches of
// all namespaces are filled before anything is done in any, so it would keep the others
// from being served. It is left out until it can be read, and the operator then starts
// anew: no cache of controller-runtime takes a namespace more.
const (
	// askAgain is how often each namespace is asked again. askedApart is the shortest time
	// between two, so that many namespaces cost no more requests: 60 are asked every 30 s.
	askAgain, askedApart = 30 * time.Second, 500 * time.Millisecond
	// askedWithin bounds the questions at the start: nothing listens before, not even for
	// the probes of the kubelet.
	askedWithin = 3 * time.Second
	// leastUptime is how long a process runs before it starts anew for a namespace. Who
	// may edit the RoleBindings of one could have it start again and again otherwise.
	leastUptime = time.Minute
)

// whatIsRead is what the operator must be able to list in each of its namespaces: what
// its caches hold.
func whatIsRead(consumers bool) []schema.GroupVersionResource {
	all := []schema.GroupVersionResource{
		v1alpha1.GroupVersion.WithResource("wechattokens"),
		corev1.SchemeGroupVersion.WithResource("secrets"),
	}
	if consumers {
		for _, workloads := range []string{"deployments", "statefulsets", "daemonsets"} {
			all = append(all, appsv1.SchemeGroupVersion.WithResource(workloads))
		}
	}
	return all
}

// errNoneReadable is what a process ends with that could serve nobody.
var errNoneReadable = errors.New("the operator may list WeChatTokens, Secrets and, with --consumers, workloads in none of --namespaces: give it a RoleBinding in each, as docs/rbac.md says")

// reader asks what the operator may read.
type reader struct {
	metadata.Interface
	what []schema.GroupVersionResource
}

// divide parts the namespaces by whether the operator may read them. One of which the
// API server does not tell counts as readable.
func divide(ctx context.Context, cfg *rest.Config, all []string, consumers bool) (r reader, readable, unreadable []string, err error) {
	if r.Interface, err = metadata.NewForConfig(cfg); err != nil {
		return reader{}, nil, nil, err
	}
	r.what = whatIsRead(consumers)
	ctx, cancel := context.WithTimeout(ctx, askedWithin)
	defer cancel()
	for _, namespace := range all {
		if r.mayRead(ctx, namespace) {
			readable = append(readable, namespace)
		} else {
			unreadable = append(unreadable, namespace)
		}
	}
	if len(all) > 0 && len(readable) == 0 {
		return reader{}, nil, nil, errNoneReadable
	}
	return r, readable, unreadable, nil
}

func (r reader) mayRead(ctx context.Context, namespace string) bool {
	return !slices.ContainsFunc(r.what, func(what schema.GroupVersionResource) bool {
		_, err := r.Resource(what).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
		return apierrors.IsForbidden(err)
	})
}

// start starts the manager for all of --namespaces but those that were skipped, and ends it
// when it may serve one of these.
func (r reader) start(ctx context.Context, mgr ctrl.Manager, all, skipped []string) error {
	if len(skipped) > 0 {
		mgr.GetLogger().Error(nil, "The operator may not list WeChatTokens, Secrets or, with --consumers, workloads in some of --namespaces, and does not serve these. It looks again every 30 s", "namespaces", skipped)
	}
	unreadable := metrics.Unreadable()
	if err := ctrlmetrics.Registry.Register(unreadable); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go r.follow(ctx, mgr.GetLogger(), all, skipped, unreadable, stop)
	return mgr.Start(ctx)
}

// follow asks for one namespace after the other what can be read, until ctx ends: what
// cannot is in the metric. It calls stop when one that was skipped can be read, and the
// process is old enough.
func (r reader) follow(ctx context.Context, log logr.Logger, all, skipped []string, unreadable *prometheus.GaugeVec, stop func()) {
	begun, lost := time.Now(), map[string]bool{}
	for _, namespace := range skipped {
		lost[namespace] = true
		unreadable.WithLabelValues(namespace).Set(1)
	}
	for i := 0; ; i = (i + 1) % len(all) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(askAgain/time.Duration(len(all)), askedApart)):
		}
		namespace := all[i]
		was, is := lost[namespace], !r.mayRead(ctx, namespace)
		switch lost[namespace] = is; {
		case ctx.Err() != nil:
			return
		case is && !was:
			log.Error(nil, "The operator may no longer list WeChatTokens, Secrets or, with --consumers, workloads in one of --namespaces, and learns of no change there", "namespace", namespace)
			unreadable.WithLabelValues(namespace).Set(1)
		case is:
		case !slices.Contains(skipped, namespace):
			unreadable.DeleteLabelValues(namespace)
		case time.Since(begun) >= leastUptime:
			log.Info("The operator may read a namespace that it could not read when it started. It ends, to start anew with it", "namespace", namespace)
			stop()
			return
		}
	}
}
