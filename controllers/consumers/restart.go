package consumers

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/refusal"
)

// Pods that use the Secret as env or through subPath have the token they were
// started with. A restart replaces them as kubectl rollout restart does, by an
// annotation of the pod template. It has the fingerprint of the token, which needs no
// other restart, no matter who reads the annotation.

const (
	// createdSlack is how long after the replacement of a token a pod may have been
	// created and still count as older: the API server's clock is another one, and
	// both write whole seconds.
	createdSlack = 2 * time.Second

	// refusedWait is how long to wait after a refusal. Nothing in the cluster tells
	// when a policy or a role has changed.
	refusedWait = 30 * time.Second
)

// rollout is what this process knows of a workload for the stored token.
type rollout struct {
	upToDate   bool  // all pods were created after the token was stored, and so all that follow
	generation int64 // the restart made it: a cache with an older one is stale
}

// restartAnnotation is on the pod templates of workloads that were restarted for
// the WeChatToken of the given name. What is behind the slash has 63 characters
// at most.
func restartAnnotation(name string) string {
	const longest, digits = 63, 8
	if len(name) > longest {
		name = name[:longest-digits-1] + "-" + record.Fingerprint(name)[:digits]
	}
	return v1alpha1.AnnotationRestartPrefix + name
}

// oldTokenEnds is when the token before the stored one is invalid at the latest: a
// window after it was replaced, or at once if it was invalid before.
func oldTokenEnds(stored *record.Record, window time.Duration) time.Time {
	if !stored.Token.PredecessorInvalidAt.IsZero() {
		return stored.ReplacedAt
	}
	return stored.ReplacedAt.Add(window)
}

// step is how far the restart of a workload is.
type step int

const (
	stepDone    step = iota // or none is wanted
	stepDue                 // if there is an older pod
	stepWaits               // for the end of an earlier rollout
	stepRunning             // our own rollout
)

// step says how far the restart of w is for the stored token. annotation is that of
// restartAnnotation, and the token before this one is invalid from end on.
//
//   - Only a token that has replaced another one is worth a restart, and it is worth
//     one.
//   - An earlier rollout ends first, so that two do not mix and no more pods are down
//     than the workload allows. But once the old token is invalid there is nothing
//     left to spare, and the pods of that rollout may need the new one to get ready.
func (w *workload) step(stored *record.Record, annotation string, known rollout, end, now time.Time) step {
	stale := w.generation < known.generation
	switch {
	case stored.ReplacedAt.IsZero(), w.onDelete, known.upToDate, !createdBefore(w.created, stored):
		return stepDone
	case stale:
		return stepRunning
	case w.inTemplate[annotation] == stored.Token.Fingerprint():
		if w.updated {
			return stepDone
		}
		return stepRunning
	case !now.Before(stored.Token.ExpiresAt):
		return stepDone // there is nothing to restart for, and Ready says so
	case !w.available && now.Before(end):
		return stepWaits
	default:
		return stepDue
	}
}

// createdBefore reports whether something that was created then may have seen the
// token before the stored one.
func createdBefore(created time.Time, stored *record.Record) bool {
	return created.Before(stored.ReplacedAt.Add(createdSlack))
}

// olderPod reports whether the pod is one of w that may have the token before the
// stored one. One that has ended or is ending needs no other.
func (w *workload) olderPod(pod *corev1.Pod, stored *record.Record) bool {
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed || !pod.DeletionTimestamp.IsZero()
	return !ended && w.ownsPod(pod) && createdBefore(pod.CreationTimestamp.Time, stored)
}

// restart brings the restart of w a step on, notes what was done, and returns what
// there is to report.
func (r *Reconciler) restart(ctx context.Context, wt *v1alpha1.WeChatToken, w *workload, stored *record.Record, known *memory, now time.Time) (finding, error) {
	if stored == nil {
		return finding{}, nil
	}
	token, end := stored.Token.Fingerprint(), oldTokenEnds(stored, r.Window)
	if known.token != token {
		known.token, known.rollouts = token, map[types.UID]rollout{}
	}
	switch w.step(stored, restartAnnotation(wt.Name), known.rollouts[w.uid], end, now) {
	case stepWaits:
		return finding{reason: v1alpha1.ReasonRestartWaits, why: "an earlier rollout is not finished", wake: end}, nil
	case stepDue:
		f, err := r.rollOut(ctx, wt, w, stored, known)
		switch {
		case apierrors.IsNotFound(err):
			return finding{}, nil // it is gone, and an event follows
		case refusal.Is(err):
			return finding{reason: v1alpha1.ReasonRestartRefused, why: refusal.Text(err, stored.Secrets()...), wake: now.Add(refusedWait)}, nil
		case err != nil || f.reason != v1alpha1.ReasonRestarting:
			return f, err
		}
	case stepDone:
		return finding{}, nil
	case stepRunning:
	}
	if now.Before(end) {
		return finding{reason: v1alpha1.ReasonRestarting, wake: end}, nil
	}
	return finding{reason: v1alpha1.ReasonRestartLate}, nil
}

// rollOut patches the pod template of w if w has an older pod and may be restarted. It
// insists on the w that was seen: the template may be another one by now.
func (r *Reconciler) rollOut(ctx context.Context, wt *v1alpha1.WeChatToken, w *workload, stored *record.Record, known *memory) (finding, error) {
	selector, err := metav1.LabelSelectorAsSelector(w.selector)
	if err != nil {
		return finding{}, nil //nolint:nilerr // the API server refuses such a workload
	}
	older, err := r.pods(ctx, wt.Namespace, selector, 1, func(pod *corev1.Pod) bool { return w.olderPod(pod, stored) })
	switch {
	case err != nil:
		return finding{}, err
	case len(older) == 0:
		known.rollouts[w.uid] = rollout{upToDate: true}
		return finding{}, nil
	case wt.Spec.Suspend:
		return finding{reason: v1alpha1.ReasonRestartWaits, why: "spec.suspend is true"}, nil
	case w.paused:
		return finding{reason: v1alpha1.ReasonRestartWaits, why: "it is paused"}, nil
	}
	patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q,"uid":%q},"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, w.version, w.uid, restartAnnotation(wt.Name), known.token)
	generation, err := r.patch(ctx, appsv1.SchemeGroupVersion.WithKind(string(w.kind)), wt.Namespace, w.name, patch)
	if err != nil {
		return finding{}, err
	}
	known.rollouts[w.uid] = rollout{generation: generation}
	ctrl.LoggerFrom(ctx).Info("restarted a workload for a new token", "kind", w.kind, "name", w.name, "tokenFingerprint", known.token)
	return finding{reason: v1alpha1.ReasonRestarting}, nil
}
