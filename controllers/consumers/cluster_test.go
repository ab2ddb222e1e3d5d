//go:build integration

package consumers

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m, 32)) }

// namespace is a namespace on the real API server, of one test with a
// WeChatToken "shop". None of Kubernetes' controllers runs there, nor that of the
// tokens: what those do, the test does.
type namespace struct {
	*testcluster.Namespace

	requests requestLog // of the reconciler
}

// newNamespace has the WeChatToken, and no Secret yet.
func newNamespace(t *testing.T, mods ...func(*v1alpha1.WeChatToken)) *namespace {
	t.Helper()
	n := &namespace{Namespace: testcluster.NewNamespace(t)}
	n.Client = client.WithFieldOwner(n.Client, record.ManagedBy)
	wt := weChatToken()
	wt.Spec = v1alpha1.WeChatTokenSpec{AppID: "wx0123456789abcdef", AppSecretRef: v1alpha1.AppSecretReference{Name: "shop-app"}}
	for _, mod := range mods {
		mod(wt)
	}
	n.create(wt)
	return n
}

// restarting makes a WeChatToken restart workloads.
func restarting(targets ...v1alpha1.RestartTarget) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Restart.Workloads = targets }
}

func theDeployment(name string) v1alpha1.RestartTarget {
	return v1alpha1.RestartTarget{Kind: v1alpha1.KindDeployment, Name: name}
}

func touching(wt *v1alpha1.WeChatToken) { wt.Spec.Propagation = v1alpha1.PropagationTouch }

// operate runs the reconciler until the test, or the returned func, ends it.
func (n *namespace) operate(mods ...func(*Reconciler)) (r *Reconciler, stop func()) {
	n.T.Helper()
	ctx, cancel := context.WithCancel(n.T.Context())
	cfg := rest.CopyConfig(n.Config)
	cfg.Wrap(n.requests.tap)
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:  n.Scheme(),
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{n.Name: {}},
			DefaultTransform:  cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&appsv1.Deployment{}:  {Transform: StripWorkload},
				&appsv1.StatefulSet{}: {Transform: StripWorkload},
				&appsv1.DaemonSet{}:   {Transform: StripWorkload},
			},
		},
		Client:     client.Options{FieldOwner: record.ManagedBy},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		n.T.Fatal(err)
	}
	secrets := source.Kind(mgr.GetCache(), &corev1.Secret{}, handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, s *corev1.Secret) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(s)}} // its WeChatToken has the same name
	}))
	r = &Reconciler{Client: mgr.GetClient(), Pods: mgr.GetAPIReader(), Secrets: cachedSecrets{mgr.GetClient()}, Events: mgr.GetEventRecorder(record.ManagedBy), Window: testWindow}
	for _, mod := range mods {
		mod(r)
	}
	if err := r.SetupWithManager(ctx, mgr, secrets, 2); err != nil {
		n.T.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mgr.Start(ctx); err != nil {
			n.T.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	n.T.Cleanup(stop)
	return r, stop
}

type cachedSecrets struct{ client.Reader }

func (s cachedSecrets) Get(ctx context.Context, id types.NamespacedName, _ types.UID) (*corev1.Secret, error) {
	var secret corev1.Secret
	if err := s.Reader.Get(ctx, id, &secret); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return &secret, nil
}

func (n *namespace) create(objects ...client.Object) {
	n.T.Helper()
	for _, obj := range objects {
		if err := n.Create(n.T.Context(), obj); err != nil {
			n.T.Fatal(err)
		}
	}
}

func (n *namespace) read(obj client.Object) {
	n.T.Helper()
	if err := n.Get(n.T.Context(), client.ObjectKey{Name: obj.GetName()}, obj); err != nil {
		n.T.Fatal(err)
	}
}

func (n *namespace) remove(objects ...client.Object) {
	n.T.Helper()
	for _, obj := range objects {
		if err := n.Delete(n.T.Context(), obj, client.GracePeriodSeconds(0)); err != nil {
			n.T.Fatal(err)
		}
	}
}

// update changes an object, over conflicts.
func update[T client.Object](n *namespace, obj T, change func(T)) {
	n.T.Helper()
	testcluster.Eventually(n.T, "update "+obj.GetName(), func() error {
		n.read(obj)
		change(obj)
		return n.Update(n.T.Context(), obj)
	})
}

// token is the WeChatToken.
func (n *namespace) token() *v1alpha1.WeChatToken {
	n.T.Helper()
	wt := weChatToken()
	n.read(wt)
	return wt
}

func secretShop() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
}

// store writes the Secret of the WeChatToken as the operator does.
func (n *namespace) store(value string, mods ...func(*record.Record)) {
	n.T.Helper()
	n.storeFor(n.token(), value, mods...)
}

// storeFor is store for another WeChatToken.
func (n *namespace) storeFor(wt *v1alpha1.WeChatToken, value string, mods ...func(*record.Record)) {
	n.T.Helper()
	now := time.Now().Truncate(time.Second)
	r := record.Record{Token: record.Token{Value: value, AppID: "wx0123456789abcdef", Mode: v1alpha1.ModeStable, ObtainedAt: now, ExpiresAt: now.Add(2 * time.Hour)}}
	for _, mod := range mods {
		mod(&r)
	}
	if err := n.Apply(n.T.Context(), testcluster.Application(record.Render(wt, r, record.NewKey("secret"))), client.ForceOwnership); err != nil {
		n.T.Fatal(err)
	}
}

// replacing makes a token one that has just replaced another.
func replacing(r *record.Record) { r.ReplacedAt = r.Token.ObtainedAt }

func expiring(r *record.Record) { r.Token.ExpiresAt = r.Token.ObtainedAt.Add(time.Hour) }

// withTicket is the token with a ticket beside it.
func withTicket(r *record.Record) {
	r.Tickets[0] = record.Ticket{Value: "ticket", FirstSeen: r.Token.ObtainedAt, Life: time.Hour, ExpiresAt: r.Token.ExpiresAt}
}

// progress is how many of the two pods of a workload are of the present template, and
// available.
type progress struct{ updated, available int32 }

var finished = progress{updated: 2, available: 2}

// rollTo writes the status of a workload as its controller does.
func (n *namespace) rollTo(obj client.Object, p progress) {
	n.T.Helper()
	n.read(obj)
	const total = 2
	switch o := obj.(type) {
	case *appsv1.Deployment:
		o.Status = appsv1.DeploymentStatus{ObservedGeneration: o.Generation, Replicas: total, UpdatedReplicas: p.updated, ReadyReplicas: p.available, AvailableReplicas: p.available}
	case *appsv1.StatefulSet:
		o.Status = appsv1.StatefulSetStatus{ObservedGeneration: o.Generation, Replicas: total, UpdatedReplicas: p.updated, ReadyReplicas: p.available, AvailableReplicas: p.available, CurrentRevision: "a", UpdateRevision: "b"}
		if p.updated == total {
			o.Status.CurrentRevision = "b"
		}
	case *appsv1.DaemonSet:
		o.Status = appsv1.DaemonSetStatus{ObservedGeneration: o.Generation, CurrentNumberScheduled: total, DesiredNumberScheduled: total, UpdatedNumberScheduled: p.updated, NumberReady: p.available, NumberAvailable: p.available}
	}
	if err := n.Status().Update(n.T.Context(), obj); err != nil {
		n.T.Fatal(err)
	}
}

// pods creates two running pods of a workload, as its controller does.
func (n *namespace) pods(obj client.Object, template string) (pods []client.Object) {
	n.T.Helper()
	w := workloadOf(obj)
	owner := metav1.OwnerReference{APIVersion: "apps/v1", Kind: string(w.kind), Name: w.name, UID: w.uid, Controller: new(true)}
	labels := map[string]string{"app": w.name}
	if w.kind == v1alpha1.KindDeployment {
		owner.Kind, owner.Name, owner.UID = "ReplicaSet", w.name+"-"+template, types.UID(template)
		labels[appsv1.DefaultDeploymentUniqueLabelKey] = template
	}
	for i := range 2 {
		pods = append(pods, n.pod(fmt.Sprintf("%s-%s-%d", w.name, template, i), templateOf(obj).Spec, func(pod *corev1.Pod) {
			pod.Labels, pod.Annotations, pod.OwnerReferences = labels, templateOf(obj).Annotations, []metav1.OwnerReference{owner}
		}))
	}
	return pods
}

// pod creates a running pod.
func (n *namespace) pod(name string, spec corev1.PodSpec, mods ...func(*corev1.Pod)) *corev1.Pod {
	n.T.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	for _, mod := range mods {
		mod(pod)
	}
	n.create(pod)
	pod.Status.Phase = corev1.PodRunning
	if err := n.Status().Update(n.T.Context(), pod); err != nil {
		n.T.Fatal(err)
	}
	return pod
}

func templateOf(obj client.Object) *corev1.PodTemplateSpec {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Template
	case *appsv1.StatefulSet:
		return &o.Spec.Template
	default:
		return &obj.(*appsv1.DaemonSet).Spec.Template
	}
}

// run creates a workload that runs with two pods.
func (n *namespace) run(obj client.Object) []client.Object {
	n.T.Helper()
	n.create(obj)
	n.rollTo(obj, finished)
	return n.pods(obj, "a")
}

func deploymentOf(name string, pod corev1.PodSpec) *appsv1.Deployment {
	return workloadFor(v1alpha1.KindDeployment, name, pod).(*appsv1.Deployment)
}

// restartedFor is the fingerprint for which a workload was restarted last.
func (n *namespace) restartedFor(obj client.Object) string {
	n.T.Helper()
	n.read(obj)
	m := readMark(obj.GetAnnotations()["restart.wechattoken.io/shop"])
	if m.turn != turnOf(templateOf(obj).Annotations) {
		n.T.Errorf("%s was restarted with turn %d, and its template has annotations %v", obj.GetName(), m.turn, templateOf(obj).Annotations)
	}
	return m.token
}

// isRestarted waits until a workload was restarted for a token.
func (n *namespace) isRestarted(obj client.Object, token string) {
	n.T.Helper()
	testcluster.Eventually(n.T, obj.GetName()+" is restarted", func() error {
		if got := n.restartedFor(obj); got != record.Fingerprint(token) {
			return fmt.Errorf("restarted for %q", got)
		}
		return nil
	})
}

// condition is ConsumersCurrent; the zero one if it is not there.
func (n *namespace) condition() metav1.Condition {
	n.T.Helper()
	if c := meta.FindStatusCondition(n.token().Status.Conditions, v1alpha1.ConditionConsumersCurrent); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// reports waits until ConsumersCurrent has the reason, and the words in its message.
func (n *namespace) reports(reason string, words ...string) metav1.Condition {
	n.T.Helper()
	var c metav1.Condition
	testcluster.Eventually(n.T, "ConsumersCurrent has reason "+reason, func() error {
		c = n.condition()
		if is := c.Status == metav1.ConditionTrue; c.Reason != reason || is != (reason == v1alpha1.ReasonConsumersUpToDate) || c.ObservedGeneration != n.token().Generation ||
			slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(c.Message, word) }) {
			return fmt.Errorf("condition %+v", c)
		}
		return nil
	})
	return c
}
