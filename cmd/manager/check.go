package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	// checkedWithin bounds all checks together.
	checkedWithin = 30 * time.Second
	// ledWithin is how long to wait for a leader. One that ended without giving the lease
	// back has a successor after leaseDuration.
	ledWithin = leaseDuration + 5*time.Second
)

// check does what the operator does first, with its flags and its credential, and looks
// whether a replica leads. It writes a line for each check.
func check(ctx context.Context, cfg *rest.Config, o options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, checkedWithin)
	defer cancel()
	m, err := metadata.NewForConfig(cfg)
	if err != nil {
		return err
	}
	failed := 0
	report := func(what string, err error) {
		if err != nil {
			failed++
			_, _ = fmt.Fprintf(out, "FAIL  %s: %v\n", what, err)
			return
		}
		_, _ = fmt.Fprintf(out, "ok    %s\n", what)
	}
	namespaces := o.watched()
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		where := "all namespaces"
		if namespace != metav1.NamespaceAll {
			where = "namespace " + namespace
		}
		for _, what := range whatIsRead(o.consumers) {
			_, err := m.Resource(what).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
			report("list "+what.Resource+" in "+where, remedy(err))
		}
	}
	if o.leaderElect {
		lock, err := newLease(cfg, o.leaderElectNamespace, func() {})
		if err != nil {
			return fmt.Errorf("find the lease: %w", err)
		}
		report("a replica leads", awaitLeader(ctx, lock))
	}
	if failed > 0 {
		return fmt.Errorf("failed checks: %d", failed)
	}
	return nil
}

// remedy puts before what the API server says, or its silence, what to do about it.
func remedy(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("give the ServiceAccount this permission, as docs/rbac.md says: %w", err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s: %w", notInstalled, err)
	case apierrors.ReasonForError(err) == metav1.StatusReasonUnknown:
		return fmt.Errorf("let the pod reach the API server, as docs/helm.md says in its part on the network: %w", err)
	default:
		return err
	}
}

// awaitLeader waits until a leader renews the lease. It sees that by the change, as
// client-go does, because the clocks of two nodes may differ.
func awaitLeader(ctx context.Context, lock resourcelock.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, ledWithin)
	defer cancel()
	why := errors.New("the API server does not answer")
	for before := (*resourcelock.LeaderElectionRecord)(nil); ; {
		found, _, err := lock.Get(ctx)
		if err == nil && before != nil && found.HolderIdentity != "" && !found.RenewTime.Equal(&before.RenewTime) {
			return nil
		}
		if apierrors.IsForbidden(err) {
			return remedy(err)
		}
		if ctx.Err() == nil {
			why, before = noLeader(lock.Describe(), found, err), found
		}
		select {
		case <-ctx.Done():
			return why
		case <-time.After(retryPeriod):
		}
	}
}

// noLeader is what a lease says, by its namespace and name, that nobody renews.
func noLeader(lease string, found *resourcelock.LeaderElectionRecord, err error) error {
	namespace, _, _ := strings.Cut(lease, "/")
	logs := "kubectl logs -n " + namespace + " -l app.kubernetes.io/name=" + name + " shows why"
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("there is no lease %s, so no replica has ever led: %s", lease, logs)
	case err != nil:
		return remedy(err)
	case found.HolderIdentity == "":
		return fmt.Errorf("nobody holds the lease %s: %s", lease, logs)
	default:
		return fmt.Errorf("%s holds the lease %s, and does not renew it: %s", found.HolderIdentity, lease, logs)
	}
}
