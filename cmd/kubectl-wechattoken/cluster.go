package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// fieldManager owns the annotations that the plugin writes.
const fieldManager = "kubectl-wechattoken"

// cluster is all that the plugin does to a cluster.
type cluster struct {
	client.Client

	config    *rest.Config
	namespace string
	clock     *clock
}

// connect prepares the way to the cluster of the flags. Nothing is asked yet.
func (p *plugin) connect() (*cluster, error) {
	loader := p.flags.ToRawKubeConfigLoader()
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, exitf(exitCluster, "There is no cluster to ask: %v. Set KUBECONFIG, --kubeconfig or --context", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, exitf(exitCluster, "The kubeconfig is wrong: %v", err)
	}
	scheme := runtime.NewScheme()
	err = errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme), batchv1.AddToScheme(scheme),
		coordinationv1.AddToScheme(scheme), authorizationv1.AddToScheme(scheme))
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	clock := &clock{}
	config.Wrap(clock.read)
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, explain(err)
	}
	return &cluster{Client: client.WithFieldOwner(c, fieldManager), config: config, namespace: namespace, clock: clock}, nil
}

// token reads a WeChatToken.
func (c *cluster) token(ctx context.Context, name string) (*v1alpha1.WeChatToken, error) {
	var wt v1alpha1.WeChatToken
	err := c.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &wt)
	if apierrors.IsNotFound(err) {
		return nil, exitf(exitCluster, "There is no WeChatToken %q in namespace %q. These are there: kubectl get wxt -A", name, c.namespace)
	}
	if err != nil {
		return nil, explain(err)
	}
	return &wt, nil
}

// tokens reads those of the names, or all that match.
func (c *cluster) tokens(ctx context.Context, names []string, selector labels.Selector, everywhere bool) ([]v1alpha1.WeChatToken, error) {
	if len(names) == 0 {
		var list v1alpha1.WeChatTokenList
		opts := []client.ListOption{client.MatchingLabelsSelector{Selector: selector}}
		if !everywhere {
			opts = append(opts, client.InNamespace(c.namespace))
		}
		if err := c.List(ctx, &list, opts...); err != nil {
			return nil, explain(err)
		}
		return list.Items, nil
	}
	var found []v1alpha1.WeChatToken
	for _, name := range names {
		wt, err := c.token(ctx, name)
		if err != nil {
			return nil, err
		}
		found = append(found, *wt)
	}
	return found, nil
}

// annotate sets an annotation of wt.
func (c *cluster) annotate(ctx context.Context, wt *v1alpha1.WeChatToken, key, value string) error {
	before := wt.DeepCopy()
	if wt.Annotations == nil {
		wt.Annotations = map[string]string{}
	}
	wt.Annotations[key] = value
	return explain(c.Patch(ctx, wt, client.MergeFrom(before)))
}

// secretMeta reads the metadata of a Secret: the API server keeps its data to
// itself.
func (c *cluster) secretMeta(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	var m metav1.PartialObjectMetadata
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// explain says what to do about an error of the cluster.
func explain(err error) error {
	var (
		done *exit
		netE net.Error
		urlE *url.Error
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &done):
		return err
	case meta.IsNoMatchError(err):
		return exitf(exitCluster, "%s", strings.ToUpper(notInstalled[:1])+notInstalled[1:])
	case apierrors.IsUnauthorized(err):
		return exitf(exitCluster, "The cluster does not know you: log in again, or choose another --context (%v)", err)
	case apierrors.IsForbidden(err):
		return exitf(exitCluster, "%v. Ask the owner of the namespace for a RoleBinding: view lets you read WeChatTokens, wechattoken-refresher also refresh and revoke, edit also create, suspend and resume", err)
	case errors.As(err, &urlE), errors.As(err, &netE), apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err),
		apierrors.IsInternalError(err), apierrors.IsServerTimeout(err):
		return &unreachable{exitf(exitCluster, "The cluster cannot be reached: %v. Look at --context and the network", err)}
	default:
		return exitf(exitCluster, "%v", err)
	}
}

// unreachable says that the API server did not answer: it may be back soon.
type unreachable struct{ error }

func (e *unreachable) Unwrap() error { return e.error }

// clock learns from the answers of the API server how far this machine's clock
// is off.
type clock struct {
	mu    sync.Mutex
	known bool
	skew  time.Duration
}

// read is a wrapper for rest.Config.Wrap.
func (c *clock) read(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		start := time.Now()
		resp, err := next.RoundTrip(r)
		if err != nil {
			return resp, err
		}
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			c.set(start, time.Now(), date)
		}
		return resp, nil
	})
}

// set notes an answer of that date. A Date has whole seconds, cut off, and was
// written between the two times: what these allow is no skew.
func (c *clock) set(start, end, date time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.skew = true, 0
	if end.Before(date) {
		c.skew = end.Sub(date)
	}
	if latest := date.Add(time.Second); start.After(latest) {
		c.skew = start.Sub(latest)
	}
}

// get is this machine's clock minus the API server's, and whether it is known.
func (c *clock) get() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew, c.known
}

// now is the time by the API server's clock, as well as it is known.
func (c *clock) now() time.Time {
	skew, _ := c.get()
	return time.Now().Add(-skew)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// sorry is why something is not known, in short.
func sorry(err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return "you may not read it"
	case apierrors.IsNotFound(err):
		return "it is not there"
	default:
		return fmt.Sprintf("it cannot be read: %v", err)
	}
}
