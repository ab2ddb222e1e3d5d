package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/redact"
	"wechattoken.io/operator/internal/uses"
)

// The kubelet looks at the Secrets of a pod every 60 to 90 s, and at once when
// the pod itself changes
// (https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/#mounted-configmaps-are-updated-automatically).
// A touch is such a change. It makes things faster and no more: a token whose
// touch did not come to its end arrives all the same.

// All touches of the process together keep to this, so that 10,000 pods are no
// burden for the API server.
const (
	touchesPerSecond = 200
	touchesInFlight  = 10
)

// podPage is how many pods are listed at once.
const podPage = 500

// touches are the touches under way, and how the last ones ended.
type touches struct {
	mu     sync.Mutex
	byKey  map[types.NamespacedName]*touching
	pace   flowcontrol.RateLimiter
	places chan struct{} // as many as may be in flight
}

// touching is the touch for one WeChatToken, and its end.
type touching struct {
	cancel  context.CancelFunc
	known   bool   // what follows, from this touch or an earlier one
	refusal string // what the API server said; empty if it refused nothing
}

// begin notes that a touch begins, and ends the one before it.
func (t *touches) begin(ctx context.Context, key types.NamespacedName) (context.Context, *touching) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKey == nil {
		t.byKey = map[types.NamespacedName]*touching{}
		t.pace = flowcontrol.NewTokenBucketRateLimiter(touchesPerSecond, touchesInFlight)
		t.places = make(chan struct{}, touchesInFlight)
	}
	ctx, cancel := context.WithCancel(ctx)
	this := &touching{cancel: cancel}
	if last := t.byKey[key]; last != nil {
		last.cancel()
		this.known, this.refusal = last.known, last.refusal
	}
	t.byKey[key] = this
	return ctx, this
}

// end notes how a touch has ended, and reports whether that is news.
func (t *touches) end(key types.NamespacedName, this *touching, refusal string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	this.cancel()
	if t.byKey[key] != this {
		return false // another one has begun
	}
	news := !this.known || this.refusal != refusal
	this.known, this.refusal = true, refusal
	return news
}

// refusal is what the API server said to the last touch for a WeChatToken, empty
// if it refused nothing; and whether that is known.
func (t *touches) refusal(key types.NamespacedName) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.byKey[key]
	if last == nil {
		return "", false
	}
	return last.refusal, last.known
}

func (t *touches) forget(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := t.byKey[key]; last != nil {
		last.cancel()
		delete(t.byKey, key)
	}
}

// touch makes the kubelets look at the Secret of wt, which holds held now. It
// works beside the workers, and ends when there is something newer to touch for,
// or when the controller stops.
func (r *WeChatTokenReconciler) touch(ctx context.Context, wt *v1alpha1.WeChatToken, held *issued) {
	if !r.Consumers || wt.Spec.Propagation != v1alpha1.PropagationTouch {
		return
	}
	key, secret, log := client.ObjectKeyFromObject(wt), wt.TokenSecretName(), ctrl.LoggerFrom(ctx)
	ctx, this := r.touches.begin(ctrl.LoggerInto(r.calls, log), key)
	go func() {
		touched, err := r.touchPods(ctx, key.Namespace, secret, held.contents())
		refusal := ""
		switch {
		case ctx.Err() != nil:
		case isRefusal(err):
			refusal = short(redact.Secrets(err.Error(), held.value))
		case err != nil:
			log.Info("not all pods were touched: the kubelet brings them the token in its time", "cause", redact.Secrets(err.Error(), held.value))
		default:
			log.V(1).Info("touched pods", "pods", touched, "for", held.contents())
		}
		ended := ctx.Err() != nil // by what is newer, or by the end of the controller
		if news := r.touches.end(key, this, refusal); news && !ended {
			r.wake(key, usual)
		}
	}()
}

func touchRefused(why string) string {
	return "The API server refused to touch pods: " + why + ". The kubelet brings the token within 90 s all the same. Check the role of config/consumers/touch, and the policies for pods"
}

// touchPods touches the pods that mount the Secret as a whole. It returns how
// many, and the first error. What is refused for one pod may not be for the
// next; but what is refused for the first ten is refused for all.
func (r *WeChatTokenReconciler) touchPods(ctx context.Context, namespace, secret, value string) (touched int, first error) {
	var names []string // first all of them: a list that is read slowly runs out
	err := r.eachPod(ctx, namespace, labels.Everything(), func(pod *corev1.Pod) bool {
		if wantsTouch(pod, secret, value) {
			names = append(names, pod.Name)
		}
		return true
	})
	if err != nil {
		return 0, fmt.Errorf("list pods: %w", err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1alpha1.AnnotationTouchedFor: value}}})
	if err != nil {
		return 0, err
	}

	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed int
	)
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			touched++
		case apierrors.IsNotFound(err): // it is gone, and needs nothing
		default:
			failed++
			if first == nil || (isRefusal(err) && !isRefusal(first)) {
				first = err
			}
		}
	}
	hopeless := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return touched == 0 && failed >= touchesInFlight
	}
	for _, name := range names {
		if r.touches.pace.Wait(ctx) != nil || hopeless() {
			break
		}
		r.touches.places <- struct{}{} // it is a patch that ends, or is ended, which makes room
		wg.Go(func() {
			defer func() { <-r.touches.places }()
			pod := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
			pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
			note(r.Client.Patch(ctx, &pod, client.RawPatch(types.MergePatchType, patch)))
		})
	}
	wg.Wait()
	return touched, first
}

// wantsTouch reports whether a pod gets the token faster by a touch.
func wantsTouch(pod *corev1.Pod, secret, value string) bool {
	return pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp.IsZero() &&
		pod.Annotations[v1alpha1.AnnotationTouchedFor] != value &&
		slices.Contains(uses.In(&pod.Spec)[secret], v1alpha1.UseFile)
}

// eachPod reads the pods that match, page by page, until next has enough.
func (r *WeChatTokenReconciler) eachPod(ctx context.Context, namespace string, selector labels.Selector, next func(*corev1.Pod) bool) error {
	more := ""
	for {
		var page corev1.PodList // a new one: what is missing in an answer would stay as it was
		err := r.Pods.List(ctx, &page, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector}, client.Limit(podPage), client.Continue(more))
		if err != nil {
			return err
		}
		for i := range page.Items {
			if !next(&page.Items[i]) {
				return nil
			}
		}
		if more = page.Continue; more == "" {
			return nil
		}
	}
}
