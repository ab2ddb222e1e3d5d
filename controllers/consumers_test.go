package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// These tests run on a real API server without any of Kubernetes' controllers:
// what those do to workloads and pods, the tests do.

func watchingConsumers(o *operation) { o.consumers = true }

// restarting makes a WeChatToken restart workloads.
func restarting(targets ...v1alpha1.RestartTarget) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Restart.Workloads = targets }
}

func touchingPods(wt *v1alpha1.WeChatToken) { wt.Spec.Propagation = v1alpha1.PropagationTouch }

// rollout is how far the controller of a workload has come: how many of its two
// pods are of the present template, and available.
type rollout struct{ updated, available int32 }

// rollTo writes the status of a workload as its controller does.
func (n *namespace) rollTo(obj client.Object, r rollout) {
	n.t.Helper()
	if err := n.Get(n.t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		n.t.Fatal(err)
	}
	const total = 2
	switch o := obj.(type) {
	case *appsv1.Deployment:
		o.Status = appsv1.DeploymentStatus{ObservedGeneration: o.Generation, Replicas: total, UpdatedReplicas: r.updated, ReadyReplicas: r.available, AvailableReplicas: r.available}
	case *appsv1.StatefulSet:
		o.Status = appsv1.StatefulSetStatus{ObservedGeneration: o.Generation, Replicas: total, UpdatedReplicas: r.updated, ReadyReplicas: r.available, AvailableReplicas: r.available, CurrentRevision: "a", UpdateRevision: "b"}
		if r.updated == total {
			o.Status.CurrentRevision = "b"
		}
	case *appsv1.DaemonSet:
		o.Status = appsv1.DaemonSetStatus{ObservedGeneration: o.Generation, CurrentNumberScheduled: total, DesiredNumberScheduled: total, UpdatedNumberScheduled: r.updated, NumberReady: r.available, NumberAvailable: r.available}
	}
	if err := n.Status().Update(n.t.Context(), obj); err != nil {
		n.t.Fatal(err)
	}
}

var finished = rollout{updated: 2, available: 2}

// pods creates two pods of a workload, as its controller does, that run.
func (n *namespace) pods(obj client.Object, generation string) []*corev1.Pod {
	n.t.Helper()
	kind := map[string]v1alpha1.WorkloadKind{"*v1.Deployment": v1alpha1.KindDeployment, "*v1.StatefulSet": v1alpha1.KindStatefulSet, "*v1.DaemonSet": v1alpha1.KindDaemonSet}[fmt.Sprintf("%T", obj)]
	owner := metav1.OwnerReference{APIVersion: "apps/v1", Kind: string(kind), Name: obj.GetName(), UID: obj.GetUID(), Controller: new(true)}
	labels := map[string]string{"app": obj.GetName()}
	if kind == v1alpha1.KindDeployment {
		owner.Kind, owner.Name, owner.UID = "ReplicaSet", obj.GetName()+"-"+generation, types.UID(generation)
		labels[appsv1.DefaultDeploymentUniqueLabelKey] = generation
	}
	var pods []*corev1.Pod
	for i := range 2 {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%s-%d", strings.ToLower(obj.GetName()), generation, i), Labels: labels, OwnerReferences: []metav1.OwnerReference{owner}},
			Spec:       templateOf(obj).Spec,
		}
		n.create(pod)
		pod.Status.Phase = corev1.PodRunning
		if err := n.Status().Update(n.t.Context(), pod); err != nil {
			n.t.Fatal(err)
		}
		pods = append(pods, pod)
	}
	return pods
}

func (n *namespace) removePods(pods []*corev1.Pod) {
	n.t.Helper()
	for _, pod := range pods {
		if err := n.Delete(n.t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
			n.t.Fatal(err)
		}
	}
}

func templateOf(obj client.Object) corev1.PodTemplateSpec {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		return o.Spec.Template
	case *appsv1.StatefulSet:
		return o.Spec.Template
	default:
		return obj.(*appsv1.DaemonSet).Spec.Template
	}
}

// run is a workload that runs with two pods.
func (n *namespace) run(obj client.Object) []*corev1.Pod {
	n.t.Helper()
	n.create(obj)
	n.rollTo(obj, finished)
	return n.pods(obj, "a")
}

// rolledFor is the token for which a workload was restarted last.
func (n *namespace) rolledFor(obj client.Object) string {
	n.t.Helper()
	if err := n.Get(n.t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		n.t.Fatal(err)
	}
	return templateOf(obj).Annotations["restart.wechattoken.io/shop"]
}

// isRolled waits until a workload was restarted for what the Secret holds.
func (n *namespace) isRolled(obj client.Object) {
	n.t.Helper()
	eventually(n.t, obj.GetName()+" is restarted", func() error {
		if got, want := n.rolledFor(obj), record.Fingerprint(string(n.secret("shop").Data["access_token"])); got != want {
			return fmt.Errorf("restarted for %q, the Secret holds %q", got, want)
		}
		return nil
	})
}

// current is the condition ConsumersCurrent of "shop".
func (n *namespace) current() metav1.Condition {
	n.t.Helper()
	if c := meta.FindStatusCondition(n.token("shop").Status.Conditions, v1alpha1.ConditionConsumersCurrent); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// isCurrent waits until ConsumersCurrent has the status and the reason, and
// returns its message.
func (n *namespace) isCurrent(status metav1.ConditionStatus, reason string) (message string) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("ConsumersCurrent=%s %s", status, reason), func() error {
		c := n.current()
		if c.Status != status || c.Reason != reason || c.ObservedGeneration != n.token("shop").Generation {
			return fmt.Errorf("condition %+v", c)
		}
		message = c.Message
		return nil
	})
	return message
}

// rotate makes the Secret hold another token.
func (n *namespace) rotate() {
	n.t.Helper()
	before := string(n.secret("shop").Data["access_token"])
	update(n, n.token("shop"), requesting(fmt.Sprint("after ", record.Fingerprint(before))))
	eventually(n.t, "another token", func() error {
		if string(n.secret("shop").Data["access_token"]) == before {
			return errors.New("it is the same")
		}
		return nil
	})
}

// requestLog notes what the operator asks of the API server.
type requestLog struct {
	mu       sync.Mutex
	requests []string                           // such as "PATCH deployments/shop"
	before   func(*http.Request)                // may hold a request up
	answer   func(*http.Request) *http.Response // may answer in the place of the API server
}

func (w *requestLog) tap(o *operation) {
	o.cluster = rest.CopyConfig(o.cluster)
	o.cluster.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			w.mu.Lock()
			w.requests = append(w.requests, summary(req))
			w.mu.Unlock()
			if w.before != nil {
				w.before(req)
			}
			if w.answer != nil {
				if answer := w.answer(req); answer != nil {
					return answer, nil
				}
			}
			return next.RoundTrip(req)
		})
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

// summary is the method and the path of a request, from the resource on.
func summary(req *http.Request) string {
	path := req.URL.Path
	if i := strings.Index(path, "/namespaces/"); i >= 0 {
		if _, rest, ok := strings.Cut(path[i+len("/namespaces/"):], "/"); ok {
			path = rest
		}
	}
	if req.URL.Query().Get("watch") == "true" {
		return "WATCH " + path
	}
	return req.Method + " " + path
}

// seen are the requests so far for which one of the words stands in their
// summary.
func (w *requestLog) seen(words ...string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.requests), func(r string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(r, word) })
	})
}

// settle waits until the operator has nothing more to do for now.
func (w *requestLog) settle(t *testing.T) {
	t.Helper()
	last, since := -1, time.Now()
	eventually(t, "the operator is quiet", func() error {
		if count := len(w.seen("PATCH", "GET secrets", "POST")); count != last {
			last, since = count, time.Now()
		}
		if time.Since(since) < 1500*time.Millisecond {
			return errors.New("not yet")
		}
		return nil
	})
}

// shopOf is a WeChatToken "shop" at work in a namespace of its own, with an
// operator that looks after consumers.
func shopOf(t *testing.T, mods ...func(*v1alpha1.WeChatToken)) (*namespace, *requestLog) {
	t.Helper()
	n, tap := newNamespace(t), &requestLog{}
	fake, url := fakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	n.create(appSecret(testAppSecret), weChatToken(mods...))
	n.operate(url, watchingConsumers, tap.tap)
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	return n, tap
}

func deploymentOf(name string, pod corev1.PodSpec, mods ...func(*appsv1.Deployment)) *appsv1.Deployment {
	d := workloadFor(v1alpha1.KindDeployment, name, pod).(*appsv1.Deployment)
	for _, mod := range mods {
		mod(d)
	}
	return d
}

func theDeployment(name string) v1alpha1.RestartTarget {
	return v1alpha1.RestartTarget{Kind: v1alpha1.KindDeployment, Name: name}
}

// Without the flag nothing is asked of workloads and pods, and who wants
// something of it is told.
func TestWithoutTheFlagNobodyAsksForPods(t *testing.T) {
	t.Parallel()
	n, tap := newNamespace(t), &requestLog{}
	fake, url := fakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	shop := deploymentOf("shop", podOf(asEnv("shop"), asFile("shop")))
	n.run(shop)
	n.create(appSecret(testAppSecret), weChatToken())
	n.operate(url, tap.tap)
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	if wt := n.token("shop"); n.current().Type != "" || wt.Status.Consumers != nil {
		t.Errorf("told of consumers: %+v", wt.Status)
	}
	update(n, n.token("shop"), touchingPods)
	n.isCurrent(metav1.ConditionFalse, v1alpha1.ReasonConsumersUnwatched)
	update(n, n.token("shop"), restarting(theDeployment("shop")))
	if got := n.isCurrent(metav1.ConditionFalse, v1alpha1.ReasonConsumersUnwatched); !strings.Contains(got, "kubectl apply -k config/consumers") {
		t.Errorf("the message has no remedy: %s", got)
	}
	n.rotate()
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	update(n, n.token("shop"), func(wt *v1alpha1.WeChatToken) { wt.Spec.Propagation, wt.Spec.Restart = "", v1alpha1.Restart{} })
	eventually(t, "the condition goes", func() error {
		if c := n.current(); c.Type != "" {
			return fmt.Errorf("condition %+v", c)
		}
		return nil
	})
	tap.settle(t)
	if got := tap.seen("pods", "deployments", "statefulsets", "daemonsets"); len(got) > 0 {
		t.Errorf("asked for %s", got)
	}
}

// A rotation with a restart costs the write of the Secret, one restart, and the
// status before and after; one list of pods tells that it is wanted.
func TestWhatARotationWithARestartCosts(t *testing.T) {
	t.Parallel()
	n, tap := shopOf(t, restarting(theDeployment("shop")), touchingPods)
	shop := deploymentOf("shop", podOf(asEnv("shop"), asFile("shop")))
	old := n.run(shop)
	n.isCurrent(metav1.ConditionTrue, v1alpha1.ReasonConsumersUpToDate)
	tap.settle(t)
	before := len(tap.seen(""))
	n.rotate()
	n.isRolled(shop)
	n.isCurrent(metav1.ConditionFalse, v1alpha1.ReasonRestarting)
	n.pods(shop, "b")
	n.removePods(old)
	n.rollTo(shop, finished)
	n.isCurrent(metav1.ConditionTrue, v1alpha1.ReasonConsumersUpToDate)
	tap.settle(t)
	got := map[string]int{}
	for _, request := range tap.seen("")[before:] {
		if !strings.Contains(request, "GET secrets") && !strings.Contains(request, "events") && !strings.Contains(request, "WATCH") {
			got[strings.Split(request, "/shop-a-")[0]]++
		}
	}
	want := map[string]int{
		"PATCH secrets/shop":             1,
		"PATCH deployments/shop":         1,
		"PATCH pods":                     2, // touched
		"GET pods":                       2, // for the touch and for the restart
		"PATCH wechattokens/shop/status": 3, // the new token; the restart, and its end
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests of a rotation (-want +got):\n%s", diff)
	}
}

// Reloader restarts a workload when the data of the Secret changes: that is once
// for each token, and not for an echo or a report.
func TestTheDataChangesOncePerToken(t *testing.T) {
	for _, mode := range []func(*v1alpha1.WeChatToken){func(*v1alpha1.WeChatToken) {}, classic} {
		inWorld(t, wechattest.Config{}, func(w *world) {
			var seen []string
			look := func(d time.Duration) {
				for end := time.Now().Add(d); time.Now().Before(end); {
					w.run(time.Second)
					if data := fmt.Sprint(w.secret("shop").Data); len(seen) == 0 || seen[len(seen)-1] != data {
						seen = append(seen, data)
					}
				}
			}
			w.create(appSecret(testAppSecret), weChatToken(mode))
			w.run(time.Second)
			look(time.Minute)
			w.change(reporting(w.report())) // which is wrong, and is noted on the Secret
			look(time.Minute)
			w.change(requesting("1"))
			look(time.Minute)
			w.restart()
			look(3 * time.Hour)
			if got := len(w.issued); len(slices.Compact(w.issued)) != len(seen) || got < 3 {
				t.Errorf("the data has changed %d times for %d tokens", len(seen), got)
			}
		})
	}
}
