//go:build integration

package consumers

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
)

func isTouch(req *http.Request) bool {
	return req.Method == http.MethodPatch && strings.Contains(req.URL.Path, "/pods/")
}

// isTouched waits until all pods were touched for what the Secret holds.
func (n *namespace) isTouched() {
	n.T.Helper()
	secret := secretShop()
	n.read(secret)
	contents := record.Read(secret, nil).Contents()
	testcluster.Eventually(n.T, "all pods are touched for "+contents, func() error {
		var pods corev1.PodList
		if err := n.List(n.T.Context(), &pods); err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if got := pod.Annotations[v1alpha1.AnnotationTouchedFor]; got != contents {
				return fmt.Errorf("%s for %q", pod.Name, got)
			}
		}
		return nil
	})
}

// Many pods are touched few at a time, and nobody waits for that: P11. A newer token
// ends the touch for the older one.
func TestManyPodsAreTouched(t *testing.T) {
	t.Parallel()
	const count = 100
	n := newNamespace(t, touching)
	var creating sync.WaitGroup
	for i := range count {
		creating.Go(func() { n.pod(fmt.Sprintf("p%03d", i), podOf(asFile("shop"))) })
	}
	creating.Wait()

	var inFlight, most atomic.Int32
	held := make(chan struct{}) // the touches wait for its end
	n.requests.before = func(req *http.Request) {
		if !isTouch(req) {
			return
		}
		now := inFlight.Add(1)
		defer inFlight.Add(-1)
		for {
			old := most.Load()
			if now <= old || most.CompareAndSwap(old, now) {
				break
			}
		}
		select {
		case <-held:
		case <-req.Context().Done():
		}
		time.Sleep(5 * time.Millisecond) // so that they would pile up
	}
	_, stop := n.operate()
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	n.store("first")
	testcluster.Eventually(t, "the touches begin", func() error {
		if got := inFlight.Load(); got != touchesInFlight {
			return fmt.Errorf("%d are in flight", got)
		}
		return nil
	})
	n.create(deploymentOf("env", podOf(asEnv("shop"))))
	n.reports(v1alpha1.ReasonConsumersStale)
	n.store("second", replacing)
	testcluster.Eventually(t, "the older touch ends", func() error {
		if got := len(n.requests.seen("GET pods")); got != 2 {
			return fmt.Errorf("%d lists of pods", got)
		}
		return nil
	})
	close(held)
	n.isTouched()
	if got := most.Load(); got > touchesInFlight {
		t.Errorf("%d in flight at once, want %d at most", got, touchesInFlight)
	}
	if got := len(n.requests.seen("PATCH pods/")); got > count+2*touchesInFlight {
		t.Errorf("%d touches for %d pods: those for the older token went on", got, count)
	}

	// Neither a restart of the operator nor what is no other token touches.
	before := n.settle()
	stop()
	n.operate()
	n.settle()
	n.store("second", replacing, expiring)
	n.remove(secretShop())
	n.store("second", replacing)
	n.settle()
	if got := n.requests.effects()[before:]; len(got) > 0 {
		t.Errorf("there is no other token, but %s", got)
	}
}

// A ticket that comes into the Secret is touched for, too. It is no reason for a
// restart: the token is the one that it was. While the spec is suspended nothing is
// touched.
func TestATicketIsTouchedForAndRestartsNothing(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, touching, restarting(theDeployment("shop")))
	shop := deploymentOf("shop", podOf(asFile("shop")))
	n.run(shop)
	n.operate()
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	n.store("first")
	n.isTouched()
	update(n, n.token(), func(wt *v1alpha1.WeChatToken) { wt.Spec.Tickets = []v1alpha1.TicketType{v1alpha1.TicketJSAPI} })
	n.store("first", withTicket)
	n.isTouched()
	update(n, n.token(), func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = true })
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	before := n.settle()
	n.store("first")
	n.settle()
	if got := n.requests.effects()[before:]; len(got) > 0 {
		t.Errorf("though it is suspended, %s", got)
	}
	if got := n.restartedFor(shop); got != "" {
		t.Errorf("restarted for %q, though the token is the first one", got)
	}
}

// A refused touch is reported with the words of the API server, and without the
// token, until the next touch is allowed; a restart of the operator forgets nothing.
func TestRefusedTouchesAreReported(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, touching)
	refusing := n.refuse(isTouch)
	for i := range 30 {
		n.pod(fmt.Sprintf("p%02d", i), podOf(asFile("shop")))
	}
	_, stop := n.operate()
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	n.store("first")
	n.reports(v1alpha1.ReasonTouchRefused, "the policy of the house: [redacted]")
	if got := len(n.requests.seen("PATCH pods/")); got > 2*touchesInFlight {
		t.Errorf("%d pods were tried though all were refused", got)
	}
	before := n.settle()
	stop()
	n.operate()
	n.settle()
	if got := n.requests.effects()[before:]; len(got) > 0 {
		t.Errorf("after a restart of the operator %s", got)
	}
	refusing.Store(false)
	n.store("second", replacing)
	n.isTouched()
	n.reports(v1alpha1.ReasonConsumersUpToDate)
}
