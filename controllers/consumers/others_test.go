package consumers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

func TestWhenANamespaceIsScannedAgain(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	rollout := v1alpha1.Consumer{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "api", Uses: []v1alpha1.SecretUse{v1alpha1.UseEnv}}
	job := v1alpha1.Consumer{APIVersion: "batch/v1", Kind: "Job", Name: "import", Uses: []v1alpha1.SecretUse{v1alpha1.UseEnv}}
	of := func(consumer v1alpha1.Consumer, annotations map[string]string) *scan {
		return &scan{ended: true, found: map[string][]other{"shop": {{Consumer: consumer, inTemplate: annotations}}}}
	}
	failed := func(err error) *scan { return &scan{ended: true, err: err} }
	restartedBefore := rollout
	restartedBefore.RestartedBy = v1alpha1.RestarterOperator // and the spec does not say so any more
	reloaded := rollout
	reloaded.RestartedBy = v1alpha1.RestarterReloader
	was, first := memory{scanned: true, scannedFor: "first", others: []v1alpha1.Consumer{job}}, memory{}
	because := func(mods ...func(*memory)) memory {
		m := was
		for _, mod := range mods {
			mod(&m)
		}
		return m
	}
	contentsOf := (&record.Record{Token: record.Token{Value: "second"}}).Contents()
	cases := map[string]struct {
		reason  string
		known   memory
		scan    *scan
		want    []v1alpha1.Consumer
		again   time.Duration // zero for not before the next token
		refused bool
		waits   bool
	}{
		"First":      {reason: "Pods often come after their WeChatToken.", known: first, scan: of(job, nil), want: []v1alpha1.Consumer{job}, again: scanAgain},
		"Later":      {reason: "The next token asks for the next scan.", known: was, scan: of(job, nil), want: []v1alpha1.Consumer{job}},
		"Stale":      {reason: "Nothing tells when it is stale no more.", known: was, scan: of(rollout, nil), want: []v1alpha1.Consumer{rollout}, again: scanAgain},
		"Reloaded":   {reason: "Reloader restarts it.", known: was, scan: of(rollout, map[string]string{"reloader.stakater.com/auto": "true"}), want: []v1alpha1.Consumer{reloaded}},
		"Failed":     {reason: "What was known stays.", known: was, scan: failed(errors.New("timeout")), want: []v1alpha1.Consumer{job}, again: scanAgain},
		"Refused":    {reason: "That is reported.", known: was, scan: failed(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)), want: []v1alpha1.Consumer{job}, again: scanAgain, refused: true},
		"UnderWay":   {reason: "It wakes who waits: a time in the past would keep the worker busy.", known: because(func(m *memory) { m.scanAgain = now }), scan: &scan{waiting: map[types.NamespacedName]bool{}}, want: []v1alpha1.Consumer{job}, waits: true},
		"Waited":     {reason: "The result is taken though the token is the same.", known: because(func(m *memory) { m.scannedFor, m.scanning = contentsOf, true }), scan: of(rollout, nil), want: []v1alpha1.Consumer{rollout}, again: scanAgain},
		"SameToken":  {reason: "Nothing asks for a scan.", known: because(func(m *memory) { m.scannedFor = contentsOf }), scan: of(rollout, nil), want: []v1alpha1.Consumer{job}},
		"TimeIsUp":   {reason: "It is stale for 10 minutes.", known: because(func(m *memory) { m.scannedFor, m.scanAgain = contentsOf, now }), scan: of(job, nil), want: []v1alpha1.Consumer{job}},
		"TimeIsNot":  {reason: "The pause is kept.", known: because(func(m *memory) { m.scannedFor, m.scanAgain = contentsOf, now.Add(time.Minute) }), scan: of(rollout, nil), want: []v1alpha1.Consumer{job}, again: time.Minute},
		"FirstWaits": {reason: "The status has what the last process knew.", known: first, scan: &scan{waiting: map[types.NamespacedName]bool{}}, want: []v1alpha1.Consumer{rollout}, waits: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Reconciler{scans: scans{byNamespace: map[string]*scan{"": tc.scan}}}
			wt, m := weChatToken(), tc.known
			wt.Status.Consumers = []v1alpha1.Consumer{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, restartedBefore}
			m.look(r, wt, nil, &record.Record{Token: record.Token{Value: "second"}}, now)
			var again time.Time
			if tc.again > 0 {
				again = now.Add(tc.again)
			}
			if diff := cmp.Diff(tc.want, m.others); diff != "" || !m.scanAgain.Equal(again) || (m.scanRefusal != "") != tc.refused || m.scanning != tc.waits {
				t.Errorf("%s got a scan at %s, refusal %q, waits %t; consumers (-want +got):\n%s", tc.reason, m.scanAgain, m.scanRefusal, m.scanning, diff)
			}
		})
	}
}

// tenant has 300 Jobs with a pod each that uses the Secret "shop".
type tenant struct {
	client.Client

	asked int // what controls a pod
}

func (c *tenant) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch list := list.(type) {
	case *v1alpha1.WeChatTokenList:
		list.Items = []v1alpha1.WeChatToken{*weChatToken()}
	case *corev1.PodList:
		for i := range 300 {
			name := fmt.Sprintf("job-%03d", i)
			owner := metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: name, UID: types.UID(name), Controller: new(true)}
			list.Items = append(list.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{owner}}, Spec: podOf(asEnv("shop"))})
		}
	}
	return nil
}

func (c *tenant) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	c.asked++
	return apierrors.NewNotFound(schema.GroupResource{Resource: "jobs"}, key.Name)
}

func TestAScanIsBounded(t *testing.T) {
	t.Parallel()
	c := &tenant{}
	found, err := (&Reconciler{Client: c, Pods: c, lists: make(chan struct{}, 1)}).scan(t.Context(), "web")
	if err != nil || len(found["shop"]) != maxConsumers || c.asked > mostOwners {
		t.Errorf("%d consumers are kept, %d asked for, %v", len(found["shop"]), c.asked, err)
	}
}
