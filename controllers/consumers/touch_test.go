package consumers

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

func runningPod(name string, spec corev1.PodSpec) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
}

func TestWhichPodsAreTouched(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*corev1.Pod)
		want   bool
	}{
		"Running":     {"It waits for the kubelet.", func(*corev1.Pod) {}, true},
		"ForTheLast":  {"That was another token.", func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationTouchedFor: "old"} }, true},
		"Touched":     {"It was done already.", func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationTouchedFor: "new"} }, false},
		"NotStarted":  {"It gets the new token when it starts.", func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, false},
		"Ended":       {"It needs no token.", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, false},
		"Ending":      {"It is about to end.", func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }, false},
		"Env":         {"Nothing would change.", func(p *corev1.Pod) { p.Spec = podOf(asEnv("shop")) }, false},
		"SubPath":     {"Nothing would change.", func(p *corev1.Pod) { p.Spec = podOf(asSubPath) }, false},
		"BothMounts":  {"One of them follows.", func(p *corev1.Pod) { p.Spec = podOf(asSubPath, asFile("shop")) }, true},
		"Projected":   {"It follows, too.", func(p *corev1.Pod) { p.Spec = podOf(projected("shop")) }, true},
		"OtherSecret": {"It is somebody else's.", func(p *corev1.Pod) { p.Spec = podOf(asFile("another")) }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := runningPod("a", podOf(asFile("shop")))
			tc.change(pod)
			if got := wantsTouch(pod, "shop", "new"); got != tc.want {
				t.Errorf("%s got %t", tc.reason, got)
			}
		})
	}
}

// pods is a client.Reader that is asked for pods, and takes its time.
type pods struct {
	client.Reader

	mu          sync.Mutex
	under, most int
}

func (p *pods) List(context.Context, client.ObjectList, ...client.ListOption) error {
	p.mu.Lock()
	p.under++
	p.most = max(p.most, p.under)
	p.mu.Unlock()
	time.Sleep(time.Second)
	p.mu.Lock()
	p.under--
	p.mu.Unlock()
	return nil
}

// A pod may have a megabyte, and a tenant any number of Secrets.
func TestFewTouchesListPodsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := &pods{}
		r := &Reconciler{Pods: asked, lists: make(chan struct{}, listsAtOnce)}
		var touches sync.WaitGroup
		for range 50 {
			touches.Go(func() {
				if _, err := r.touchPods(t.Context(), "web", "shop", "new"); err != nil {
					t.Error(err)
				}
			})
		}
		touches.Wait()
		if asked.most != listsAtOnce {
			t.Errorf("%d list at once, want %d", asked.most, listsAtOnce)
		}
	})
}
