package controllers

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

func runningPod(name string, spec corev1.PodSpec) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
}

// createPods creates running pods, several at a time.
func (n *namespace) createPods(count int, spec corev1.PodSpec) {
	n.t.Helper()
	var wg sync.WaitGroup
	places := make(chan struct{}, 16)
	for i := range count {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			pod := runningPod(fmt.Sprintf("p%04d", i), spec)
			if err := n.Create(n.t.Context(), pod); err != nil {
				n.t.Error(err)
			}
			pod.Status.Phase = corev1.PodRunning
			if err := n.Status().Update(n.t.Context(), pod); err != nil {
				n.t.Error(err)
			}
		})
	}
	wg.Wait()
}

// untouched counts the pods that were not touched for what the Secret holds.
func (n *namespace) untouched() int {
	n.t.Helper()
	var pods corev1.PodList
	if err := n.List(n.t.Context(), &pods); err != nil {
		n.t.Fatal(err)
	}
	held, count := record.Fingerprint(string(n.secret("shop").Data["access_token"])), 0
	for i := range pods.Items {
		if pods.Items[i].Annotations[v1alpha1.AnnotationTouchedFor] != held {
			count++
		}
	}
	return count
}

// A thousand pods are touched for a new token, few at a time, and nobody waits
// for that: P11.
func TestAThousandPodsAreTouched(t *testing.T) {
	const count = 1000
	n, tap := newNamespace(t), &requestLog{}
	fake, url := fakeWeChat(t, wechattest.Config{OpenAccounts: true})
	n.createPods(count, podOf(asFile("shop")))
	n.create(appSecret(testAppSecret), weChatToken(touchingPods))

	var inFlight, most atomic.Int32
	held := make(chan struct{}) // the touches wait for its end
	tap.before = func(req *http.Request) {
		if req.Method != http.MethodPatch || !strings.Contains(req.URL.Path, "/pods/") {
			return
		}
		now := inFlight.Add(1)
		defer inFlight.Add(-1)
		for old := most.Load(); now > old; old = most.Load() {
			if most.CompareAndSwap(old, now) {
				break
			}
		}
		select {
		case <-held:
		case <-req.Context().Done():
		}
		time.Sleep(5 * time.Millisecond) // so that they would pile up
	}
	n.operate(url, watchingConsumers, tap.tap, func(o *operation) { o.workers = 2 })
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	eventually(t, "the touches begin", func() error {
		if got := inFlight.Load(); got != 10 {
			return fmt.Errorf("%d are in flight", got)
		}
		return nil
	})
	// Others get their tokens meanwhile, and so does this one.
	n.create(weChatToken(named("b"), func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" }))
	n.isReady("b", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	if got := n.untouched(); got != count {
		t.Fatalf("%d pods were touched while none could be", count-got)
	}
	n.rotate() // and what is newer comes in the place of what runs
	close(held)
	eventually(t, "all pods are touched", func() error {
		if left := n.untouched(); left > 0 {
			return fmt.Errorf("%d are not", left)
		}
		return nil
	})
	if got := most.Load(); got > 10 {
		t.Errorf("%d in flight at once, want %d at most", got, 10)
	}
	if got := len(tap.seen("PATCH pods/")); got > count+2*10 {
		t.Errorf("%d touches for %d pods: the older token's went on", got, count)
	}
	if got := fake.Counts("").Stable.Rotations; got != 3 {
		t.Errorf("%d tokens, want 3", got)
	}

	// Neither a restart of the operator nor what is no other token touches.
	tap.settle(t)
	before := len(tap.seen("pods"))
	n.operate(url, watchingConsumers, tap.tap)
	update(n, n.token("shop"), func(wt *v1alpha1.WeChatToken) {
		wt.Spec.Secret = &v1alpha1.TokenSecret{Labels: map[string]v1alpha1.LabelValue{"a": "b"}}
	})
	tap.settle(t)
	if got := tap.seen("pods")[before:]; len(got) > 0 {
		t.Errorf("there is no other token, but %s", got)
	}
}

// A ticket that comes into the Secret is in the file at once, too. It is no
// reason for a restart: the token is the one that it was.
func TestATicketIsTouchedForAndRestartsNothing(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := fakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	shop := deploymentOf("shop", podOf(asFile("shop")))
	pods := n.run(shop)
	n.create(appSecret(testAppSecret), weChatToken(touchingPods, restarting(theDeployment("shop"))))
	n.operate(url, watchingConsumers)
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	var last string
	isTouched := func(when string) {
		t.Helper()
		eventually(t, "a touch "+when, func() error {
			if err := n.Get(t.Context(), client.ObjectKeyFromObject(pods[0]), pods[0]); err != nil {
				return err
			}
			if got := pods[0].Annotations[v1alpha1.AnnotationTouchedFor]; got == last || got != record.Read(n.secret("shop"), nil).Contents() {
				return fmt.Errorf("touched for %q", got)
			}
			return nil
		})
		last = pods[0].Annotations[v1alpha1.AnnotationTouchedFor]
	}
	isTouched("for the token")
	update(n, n.token("shop"), func(wt *v1alpha1.WeChatToken) { wt.Spec.Tickets = []v1alpha1.TicketType{v1alpha1.TicketJSAPI} })
	eventually(t, "a ticket", func() error {
		if len(n.secret("shop").Data["jsapi_ticket"]) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	isTouched("for the ticket")
	n.isCurrent(metav1.ConditionTrue, v1alpha1.ReasonConsumersFollow)
	if got := n.rolledFor(shop); got != "" {
		t.Errorf("restarted for %q, though the token is the first one", got)
	}
}

// What the API server refuses is told once, with its words, and forgotten when
// it lets the next touch pass; a restart of the operator forgets nothing.
func TestRefusedTouchesAreTold(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := fakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	n.createPods(30, podOf(asFile("shop")))
	n.create(appSecret(testAppSecret), weChatToken(touchingPods))
	tap := &requestLog{}
	var refusing atomic.Bool
	refusing.Store(true)
	tap.answer = func(req *http.Request) *http.Response {
		if !refusing.Load() || req.Method != http.MethodPatch || !strings.Contains(req.URL.Path, "/pods/") {
			return nil
		}
		return forbidden(req, "denied by the policy of the house")
	}
	stop := n.operate(url, watchingConsumers, tap.tap)
	if got := n.isCurrent(metav1.ConditionFalse, v1alpha1.ReasonTouchRefused); !strings.Contains(got, "the policy of the house") {
		t.Errorf("message %s", got)
	}
	if got := len(tap.seen("PATCH pods/")); got > 2*10 {
		t.Errorf("%d pods were tried though all were refused", got)
	}
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	tap.settle(t)
	stop()
	before := len(tap.writes())
	n.operate(url, watchingConsumers, tap.tap)
	tap.settle(t)
	if got := tap.writes()[before:]; len(got) > 0 {
		t.Errorf("a restart of the operator writes %s", got)
	}
	refusing.Store(false)
	n.rotate()
	n.isCurrent(metav1.ConditionTrue, v1alpha1.ReasonConsumersFollow)
	if got := n.untouched(); got > 0 {
		t.Errorf("%d pods are untouched", got)
	}
}

// A refused restart is told, tried again, and done when it is allowed.
func TestRefusedRestartsAreTold(t *testing.T) {
	t.Parallel()
	n, tap := newNamespace(t), &requestLog{}
	fake, url := fakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	n.run(shop)
	n.create(appSecret(testAppSecret), weChatToken(restarting(theDeployment("shop"))))
	var refusing atomic.Bool
	refusing.Store(true)
	tap.answer = func(req *http.Request) *http.Response {
		if !refusing.Load() || req.Method != http.MethodPatch || !strings.Contains(req.URL.Path, "/deployments/") {
			return nil
		}
		return forbidden(req, "denied by the policy of the house")
	}
	n.operate(url, watchingConsumers, tap.tap)
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	n.rotate()
	if got := n.isCurrent(metav1.ConditionFalse, v1alpha1.ReasonRestartRefused); !strings.Contains(got, "the policy of the house") || !strings.Contains(got, `Deployment "shop"`) {
		t.Errorf("message %s", got)
	}
	// Without an AppSecret, too: the token is there all the same.
	if err := n.Delete(t.Context(), appSecret(testAppSecret)); err != nil {
		t.Fatal(err)
	}
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonAppSecretMissing)
	n.isCurrent(metav1.ConditionFalse, v1alpha1.ReasonRestartRefused)

	refusing.Store(false)
	n.rollTo(shop, rollout{updated: 2, available: 1}) // what changes at the workload wakes
	n.rollTo(shop, finished)
	n.isRolled(shop)
}

func forbidden(req *http.Request, why string) *http.Response {
	body := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"` + why + `","reason":"Forbidden","code":403}`
	return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: req}
}
