//go:build integration

package consumers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/contest"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
)

// 20 WeChatTokens that get new tokens at once cost the one workload that they name a
// restart, or two where they come slowly. The next one comes half a window later, also
// from a new process, and while the old tokens are valid. Of all restarts the workload
// keeps one annotation, and the template of the second one is the first again.
func TestACrowdCostsOneRestart(t *testing.T) {
	t.Parallel()
	const window = 40 * time.Second
	n := newNamespace(t)
	shop := deploymentOf("shop", podOf(asEnv("shop")))
	shop.Spec.Template.Annotations = map[string]string{"team": "shop"}
	pods := n.run(shop)
	var crowd []*v1alpha1.WeChatToken
	for i := range 20 {
		wt := n.token()
		wt.Name, wt.ResourceVersion, wt.UID = fmt.Sprintf("shop-%02d", i), "", ""
		wt.Spec.Restart.Workloads = []v1alpha1.RestartTarget{theDeployment("shop")}
		n.create(wt)
		n.storeFor(wt, "first-"+wt.Name)
		crowd = append(crowd, wt)
	}
	var restarts []time.Time
	// roll does what the controller of the Deployment does.
	roll := func() {
		n.read(shop)
		if shop.Status.ObservedGeneration == shop.Generation {
			return
		}
		restarts = append(restarts, workloadOf(shop).lastRestart(time.Now()))
		old := pods
		pods = n.pods(shop, fmt.Sprint(shop.Generation))
		n.remove(old...)
		n.rollTo(shop, finished)
	}
	// renew gives everybody a new token, and waits until the pods have all of them. It
	// returns how many restarts that took.
	renew := func(value string) int {
		t.Helper()
		before, begun := len(restarts), time.Now()
		for _, wt := range crowd {
			n.storeFor(wt, value+"-"+wt.Name, replacing)
		}
		stored := time.Now()
		testcluster.Eventually(t, "the pods have the "+value+" tokens", func() error {
			roll()
			if created := pods[0].GetCreationTimestamp(); !created.After(stored) {
				return fmt.Errorf("they are of %s, and the tokens of %s", created, stored)
			}
			for _, wt := range crowd {
				n.read(wt)
				if c := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionConsumersCurrent); c == nil || c.Reason != v1alpha1.ReasonConsumersUpToDate {
					return fmt.Errorf("%s reports %+v", wt.Name, c)
				}
			}
			return nil
		})
		n.settle()
		if roll(); !restarts[len(restarts)-1].Before(begun.Add(window)) {
			t.Errorf("the old tokens of %s were invalid before the restart at %s", begun, restarts[len(restarts)-1])
		}
		return len(restarts) - before
	}

	short := func(r *Reconciler) { r.Window = window }
	_, stop := n.operate(short)
	if got := renew("second"); got > 2 {
		t.Errorf("%d restarts for the second tokens", got)
	}
	stop()
	n.remove(crowd[0])
	crowd = crowd[1:]
	n.operate(short)
	if got := renew("third"); got > 2 {
		t.Errorf("%d restarts for the third tokens", got)
	}
	for i := range restarts[1:] {
		if got := restarts[i+1].Sub(restarts[i]); got < window/2 {
			t.Errorf("a restart %s after the one before", got)
		}
	}
	if len(restartAnnotations(shop.Annotations)) != 1 || len(restarts) > 4 {
		t.Errorf("annotations after %d restarts: %v", len(restarts), shop.Annotations)
	}
	want := map[string]string{"team": "shop"}
	if len(restarts)%2 == 1 {
		want[v1alpha1.AnnotationRestartTurn] = "1"
	}
	if diff := cmp.Diff(want, shop.Spec.Template.Annotations); diff != "" {
		t.Errorf("annotations of the template after %d restarts (-want +got):\n%s", len(restarts), diff)
	}
}

// What is remembered of workloads is not more than there are.
func TestWorkloadsThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, restarting(v1alpha1.RestartTarget{Kind: v1alpha1.KindDeployment}))
	shop, gone := deploymentOf("shop", podOf(asEnv("shop"))), deploymentOf("gone", podOf(asEnv("shop")))
	n.create(shop, gone)
	n.store("second", replacing)
	r, _ := n.operate()
	n.reports(v1alpha1.ReasonRestartWaits)
	known := &memory{token: record.Fingerprint("second"), rollouts: map[types.UID]rollout{shop.UID: {upToDate: true}, gone.UID: {upToDate: true}}}
	n.remove(gone)
	testcluster.Eventually(t, "it is forgotten", func() error {
		if _, err := r.reconcile(t.Context(), n.token(), known); err != nil {
			return err
		}
		if diff := cmp.Diff(map[types.UID]rollout{shop.UID: {upToDate: true}}, known.rollouts, cmp.AllowUnexported(rollout{}, contest.Effect{}, finding{})); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}
