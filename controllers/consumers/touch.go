package consumers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/refusal"
	"wechattoken.io/operator/internal/uses"
)

// The kubelet looks at the Secrets of a pod every 60 to 90 s, and at once when the
// pod itself changes
// (https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/#mounted-configmaps-are-updated-automatically).
// A touch is such a change. It makes the token arrive sooner and nothing else: a
// token whose touch failed arrives all the same.

const (
	// All touches of the process together keep to these two, so that 10,000 pods are
	// no burden for the API server.
	touchesPerSecond = 200
	touchesInFlight  = 10

	// podPage is how many pods are listed at once, and listsAtOnce how many touches
	// and scans list some: a pod may have a megabyte, and a tenant any number of Secrets.
	podPage     = 100
	listsAtOnce = 2
)

// cancelTouch ends the touch under way.
func (m *memory) cancelTouch() {
	if m.cancel != nil {
		m.cancel()
	}
}

// reportTouch puts a refusal into a condition that reports nothing worse. A process
// that has touched nothing yet does not know, and keeps the refusal that is reported.
func (m *memory) reportTouch(wt *v1alpha1.WeChatToken, c *metav1.Condition) {
	select {
	case said := <-m.touchResult:
		m.refusal = &said
	default:
	}
	if wt.Spec.Propagation != v1alpha1.PropagationTouch || c.Status != metav1.ConditionTrue {
		return
	}
	is := meta.FindStatusCondition(wt.Status.Conditions, c.Type)
	switch {
	case m.refusal == nil && is != nil && is.Reason == v1alpha1.ReasonTouchRefused && is.ObservedGeneration == wt.Generation:
		*c = *is
	case m.refusal != nil && *m.refusal != "":
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonTouchRefused
		c.Message = refusal.Short("The API server refused to touch pods: " + *m.refusal + ". The kubelet brings the token within 90 s all the same. Either the operator's role for it is missing (docs/runbooks/reasons.md#how-it-is-installed), or a policy for pods refuses it")
	}
}

// touchFor touches pods if the Secret of wt holds something else than it did. What it
// holds at the first sight in this process was touched for already.
func (r *Reconciler) touchFor(ctx context.Context, wt *v1alpha1.WeChatToken, stored *record.Record, known *memory) {
	contents, first := stored.Contents(), !known.seen
	known.seen = true
	if contents == "" || contents == known.touchedFor {
		return
	}
	known.touchedFor = contents
	if first || wt.Spec.Propagation != v1alpha1.PropagationTouch || wt.Spec.Suspend {
		return
	}
	known.cancelTouch()
	key, secret, log := client.ObjectKeyFromObject(wt), wt.TokenSecretName(), ctrl.LoggerFrom(ctx)
	ctx, cancel := context.WithCancel(ctrl.LoggerInto(r.running, log))
	result := make(chan string, 1)
	known.cancel, known.touchResult = cancel, result
	go func() { // so that no worker waits for 10,000 pods
		defer cancel()
		said := ""
		touched, err := r.touchPods(ctx, key.Namespace, secret, contents)
		switch {
		case ctx.Err() != nil:
			return // by a newer touch, or by the end of the controller
		case refusal.Is(err):
			said = refusal.Text(err, stored.Secrets()...)
		case err != nil:
			log.Info("not all pods were touched: the kubelet brings them the token in its time", "cause", refusal.Text(err, stored.Secrets()...))
		default:
			log.V(1).Info("touched pods", "pods", touched, "for", contents)
		}
		result <- said
		r.wake(key)
	}()
}

// touchPods touches the pods that mount the Secret as a directory. It returns how
// many, and the first error, or the first refusal if there is one.
func (r *Reconciler) touchPods(ctx context.Context, namespace, secret, contents string) (int, error) {
	// First all names: a list that is read slowly expires.
	select {
	case r.lists <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	var names []string
	err := r.pods(ctx, namespace, labels.Everything(), func(pod *corev1.Pod) {
		if wantsTouch(pod, secret, contents) {
			names = append(names, pod.Name)
		}
	})
	<-r.lists
	if err != nil {
		return 0, fmt.Errorf("list pods: %w", err)
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationTouchedFor, contents)
	var (
		wg         sync.WaitGroup
		done, lost atomic.Int32
		errs       = make([]error, len(names))
	)
	for i, name := range names {
		// What is refused for one pod may not be for the next; but what is refused for
		// the first ten is refused for all.
		if r.pace.Wait(ctx) != nil || (done.Load() == 0 && lost.Load() >= touchesInFlight) {
			break
		}
		r.places <- struct{}{} // given back when the patch ends, which ctx ends too
		wg.Go(func() {
			defer func() { <-r.places }()
			_, err := r.patch(ctx, corev1.SchemeGroupVersion.WithKind("Pod"), namespace, name, patch)
			if errs[i] = client.IgnoreNotFound(err); errs[i] != nil {
				lost.Add(1)
				return
			}
			done.Add(1)
		})
	}
	wg.Wait()
	for _, matches := range []func(error) bool{refusal.Is, func(err error) bool { return err != nil }} {
		if i := slices.IndexFunc(errs, matches); i >= 0 {
			return int(done.Load()), errs[i]
		}
	}
	return int(done.Load()), nil
}

// patch merges into an object, and returns its new generation.
func (r *Reconciler) patch(ctx context.Context, kind schema.GroupVersionKind, namespace, name, patch string) (generation int64, err error) {
	obj := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	obj.SetGroupVersionKind(kind)
	err = r.Client.Patch(ctx, &obj, client.RawPatch(types.MergePatchType, []byte(patch)))
	return obj.Generation, err
}

// wantsTouch reports whether a pod gets what the Secret holds sooner by a touch.
func wantsTouch(pod *corev1.Pod, secret, contents string) bool {
	return pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp.IsZero() &&
		pod.Annotations[v1alpha1.AnnotationTouchedFor] != contents &&
		slices.Contains(uses.In(&pod.Spec)[secret], v1alpha1.UseFile)
}

// pods visits the selected pods.
func (r *Reconciler) pods(ctx context.Context, namespace string, selector labels.Selector, visit func(*corev1.Pod)) error {
	return r.each(ctx, &corev1.PodList{}, func(obj client.Object) bool {
		visit(obj.(*corev1.Pod)) //nolint:forcetypeassert // of such a list
		return true
	}, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector})
}

// each reads the objects of a list live, page by page, until visit returns false.
func (r *Reconciler) each(ctx context.Context, empty client.ObjectList, visit func(client.Object) bool, options ...client.ListOption) error {
	for next := ""; ; {
		page, more := empty.DeepCopyObject().(client.ObjectList), true //nolint:forcetypeassert // a copy
		if err := r.Pods.List(ctx, page, slices.Concat(options, []client.ListOption{client.Limit(podPage), client.Continue(next)})...); err != nil {
			return err
		}
		err := meta.EachListItem(page, func(obj runtime.Object) error {
			more = more && visit(obj.(client.Object)) //nolint:forcetypeassert // all are
			return nil
		})
		if next = page.GetContinue(); err != nil || next == "" || !more {
			return err
		}
	}
}
