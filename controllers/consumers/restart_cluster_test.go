//go:build integration

package consumers

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
)

// A token that replaces another one restarts each kind of workload once, in a moment;
// neither a restart of the operator nor anything else does so again.
func TestARestartComesOncePerToken(t *testing.T) {
	t.Parallel()
	for kind := range workloadKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			n := newNamespace(t, restarting(v1alpha1.RestartTarget{Kind: kind}))
			shop := workloadFor(kind, "shop", podOf(asEnv("shop")))
			old := n.run(shop)
			n.store("first")
			_, stop := n.operate()
			n.reports(v1alpha1.ReasonConsumersUpToDate)
			n.store("second", replacing)
			n.isRestarted(shop, "second")
			n.reports(v1alpha1.ReasonRestarting)
			n.rollTo(shop, progress{updated: 1, available: 2})
			second := n.pods(shop, "b")
			n.remove(old...)
			n.rollTo(shop, finished)
			n.reports(v1alpha1.ReasonConsumersUpToDate)
			if got := n.requests.seen("PATCH " + strings.ToLower(string(kind))); len(got) != 1 {
				t.Errorf("restarted by %s, though there was nothing before the first token", got)
			}

			generation, effects := shop.GetGeneration(), n.settle()
			stop()
			n.operate()
			n.settle()
			n.remove(secretShop())
			n.store("second", replacing, expiring) // as a repair does
			n.settle()
			n.remove(second...)
			n.pods(shop, "c")
			n.rollTo(shop, progress{updated: 2, available: 1})
			n.settle()
			if n.read(shop); shop.GetGeneration() != generation {
				t.Error("restarted once more")
			}
			if got := n.requests.effects()[effects:]; len(got) > 0 {
				t.Errorf("nothing was to do, but %s", got)
			}
			want := []v1alpha1.Consumer{{APIVersion: "apps/v1", Kind: string(kind), Name: "shop", Uses: []v1alpha1.SecretUse{v1alpha1.UseEnv}, RestartedBy: v1alpha1.RestarterOperator}}
			if diff := cmp.Diff(want, n.token().Status.Consumers); diff != "" {
				t.Errorf("consumers (-want +got):\n%s", diff)
			}
		})
	}
}

// A restart waits for the end of an earlier rollout, of a pause and of a suspension,
// says so, and goes on by itself. The times of the condition are those of its status.
func TestARestartWaits(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, restarting(theDeployment("shop")))
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	n.run(shop)
	n.rollTo(shop, progress{updated: 1, available: 2})
	n.store("first")
	n.operate()
	n.store("second", replacing)
	since := n.reports(v1alpha1.ReasonRestartWaits, `Deployment "shop"`, "earlier rollout").LastTransitionTime
	update(n, shop, func(d *appsv1.Deployment) { d.Spec.Paused = true })
	n.rollTo(shop, finished)
	n.reports(v1alpha1.ReasonRestartWaits, "paused")
	update(n, n.token(), func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = true })
	update(n, shop, func(d *appsv1.Deployment) { d.Spec.Paused = false })
	n.rollTo(shop, finished)
	n.reports(v1alpha1.ReasonRestartWaits, "spec.suspend")
	if got := n.restartedFor(shop); got != "" {
		t.Error("restarted though it should wait")
	}
	time.Sleep(time.Until(since.Add(1100 * time.Millisecond))) // times have whole seconds
	update(n, n.token(), func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = false })
	n.isRestarted(shop, "second")
	if got := n.reports(v1alpha1.ReasonRestarting).LastTransitionTime; !got.Equal(&since) {
		t.Errorf("the status is False since %s, and says %s", since, got)
	}

	testcluster.Eventually(t, "an event per change", func() error {
		var list eventsv1.EventList
		if err := n.List(t.Context(), &list); err != nil {
			return err
		}
		got := map[string]int{}
		for _, e := range list.Items {
			if e.Reason != v1alpha1.ReasonConsumersUpToDate { // there may have been no time for it
				got[e.Action+" "+e.Type+" "+e.Reason]++
			}
		}
		if diff := cmp.Diff(map[string]int{"Follow Normal RestartWaits": 1, "Follow Normal Restarting": 1}, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// A process that ends between the write of the Secret and the restart leaves the
// restart to the next one. That one waits for unavailable pods until the old token is
// invalid.
func TestTheNextProcessRestartsWhatTheLastOneDidNot(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, restarting(theDeployment("shop")))
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	n.run(shop)
	n.rollTo(shop, progress{updated: 1, available: 1})
	n.store("second", func(r *record.Record) {
		r.Token.PredecessorInvalidAt = r.Token.ObtainedAt
		r.ReplacedAt = r.Token.ObtainedAt.Add(3 * time.Second) // nothing but the timer wakes then
	})
	n.operate()
	n.isRestarted(shop, "second")
	n.reports(v1alpha1.ReasonRestartLate)
}

// A rollout that somebody begins when all pods have the token is not taken for a
// restart that is late, not even by a new process.
func TestALaterRolloutIsNotLate(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, restarting(theDeployment("shop")))
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	shop.Annotations = map[string]string{restartAnnotation("shop"): mark{token: record.Fingerprint("second"), at: time.Now()}.String()}
	n.create(shop)
	n.store("second", func(r *record.Record) {
		r.ReplacedAt, r.Token.PredecessorInvalidAt = r.Token.ObtainedAt, r.Token.ObtainedAt
	})
	time.Sleep(createdSlack + 1500*time.Millisecond) // creation times have whole seconds
	n.pods(shop, "b")
	n.rollTo(shop, progress{updated: 1, available: 2})
	n.operate()
	n.reports(v1alpha1.ReasonConsumersUpToDate)
}

// A workload that has only newer pods stays as it is: it is new, or somebody else has
// restarted it.
func TestNewerPodsStay(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, restarting(v1alpha1.RestartTarget{Kind: v1alpha1.KindDeployment}))
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	old := n.run(shop)
	n.run(deploymentOf("another", podOf(asEnv("another"))))
	n.rollTo(shop, progress{updated: 1, available: 2}) // somebody else's rollout
	n.store("first")
	n.operate()
	n.store("second", replacing)
	n.reports(v1alpha1.ReasonRestartWaits)
	time.Sleep(createdSlack + 1500*time.Millisecond) // creation times have whole seconds
	n.remove(old...)
	n.pods(shop, "b")
	n.rollTo(shop, finished)
	n.reports(v1alpha1.ReasonConsumersUpToDate)
	n.run(deploymentOf("new", podOf(asEnv("shop"))))
	n.settle()
	if got := n.requests.seen("PATCH deployments"); len(got) > 0 {
		t.Errorf("restarted by %s", got)
	}
}

// A cache that is stale makes nobody restart twice: this process remembers, and the
// API server refuses another one that has not seen it.
func TestAStaleCacheRestartsNothingTwice(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, restarting(theDeployment("shop")))
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	n.run(shop)
	now := time.Now()
	second := &record.Record{Token: record.Token{Value: "second", ExpiresAt: now.Add(time.Hour)}, ReplacedAt: now}
	now = now.Add(gathering)
	r := &Reconciler{Client: n.Client, Pods: n.Client, Window: testWindow}
	stale, wt := workloadOf(shop), n.token()
	var known memory
	for range 2 {
		known.restartsFor(second, []*workload{stale}, nil)
		f, err := r.restart(t.Context(), wt, stale, second, &known, now)
		if err != nil || f.reason != v1alpha1.ReasonRestarting || !f.wake.Equal(second.ReplacedAt.Add(testWindow)) {
			t.Fatalf("got %+v, %v", f, err)
		}
	}
	if _, err := r.restart(t.Context(), wt, stale, second, &memory{rollouts: map[types.UID]rollout{}}, now); !apierrors.IsConflict(err) {
		t.Errorf("another process: got %v, want a conflict", err)
	}
	if got := n.restartedFor(shop); got != second.Token.Fingerprint() || shop.Generation != 2 {
		t.Errorf("restarted for %s, generation %d", got, shop.Generation)
	}
}

// A refused restart is reported, tried again, and made when it is allowed.
func TestRefusedRestartsAreReported(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, restarting(theDeployment("shop")))
	refusing := n.refuse(func(req *http.Request) bool {
		return req.Method == http.MethodPatch && strings.Contains(req.URL.Path, "/deployments/")
	})
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	n.run(shop)
	n.store("first", replacing)
	n.operate()
	n.reports(v1alpha1.ReasonRestartRefused, `Deployment "shop"`, "the policy of the house: [redacted]")
	refusing.Store(false)
	n.rollTo(shop, progress{updated: 2, available: 1}) // what changes of the workload wakes, before the 30 s are over
	n.rollTo(shop, finished)
	n.isRestarted(shop, "first")
}
