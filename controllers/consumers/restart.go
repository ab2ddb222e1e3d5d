package consumers

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/contest"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/refusal"
)

// Pods that use the Secret as env or through subPath have the token they were
// started with. A restart replaces them as kubectl rollout restart does, by an
// annotation of the pod template, the turn. An annotation of the workload itself says for
// which token that was, which needs no other restart, and when, for many WeChatTokens may
// want one workload restarted: a restart serves all tokens that are stored by then, and
// the next one comes half a window later at the soonest. So says the workload itself, to
// whichever process asks.
//
// A template that has been there before is no new revision: its ReplicaSet or
// ControllerRevision is used again. So the turn goes back and forth between two values,
// and the revisions of a person stay in the history, which keeps 10 of a Deployment.

const (
	// createdSlack is how long after the replacement of a token a pod may have been
	// created and still count as older: the API server's clock is another one, and
	// both write whole seconds.
	createdSlack = 2 * time.Second

	// gathering is how long after its replacement a token waits for others that come
	// with it, such as those of one account: then one restart serves them all. It is
	// longer than createdSlack, or the restart would not even serve its own.
	gathering = 5 * time.Second

	// refusedWait is how long to wait after a refusal. Nothing in the cluster tells
	// when a policy or a role has changed.
	refusedWait = 30 * time.Second
)

// rollout is what this process knows of a workload for the stored token.
type rollout struct {
	upToDate   bool  // all pods were created after the token was stored, and so all that follow
	generation int64 // the restart made it: a cache with an older one is stale
	restarts   contest.Effect
	evicting   finding // counts until its wake
}

// retry is the pause before a restart that was taken back is made again.
func retry(window time.Duration) contest.Pause {
	return contest.Pause{First: pause(window), Longest: max(time.Hour, pause(window))}
}

// replacedAt is since when w may have pods with another token than the stored one: since
// that has replaced another; zero for a first one. In mode Classic a first one has ended
// another all the same: the WeChatToken, or its Secret, was made anew.
func replacedAt(stored *record.Record) time.Time {
	if stored.ReplacedAt.IsZero() && stored.Token.Mode == v1alpha1.ModeClassic {
		return stored.Token.ObtainedAt
	}
	return stored.ReplacedAt
}

// restartAnnotation is on the workloads that were restarted for the WeChatToken of the
// given name. What is behind the slash has 63 characters at most.
func restartAnnotation(name string) string {
	const longest, digits = 63, 8
	if len(name) > longest {
		name = name[:longest-digits-1] + "-" + record.Fingerprint(name)[:digits]
	}
	return v1alpha1.AnnotationRestartPrefix + name
}

// lastRestart is when the operator restarted w last, for whatever WeChatToken; zero if
// it did not. A time in the future, which a person may write, counts for nothing: it
// would keep restarts away.
func (w *workload) lastRestart(now time.Time) (last time.Time) {
	for _, value := range w.restarts {
		if at := readMark(value).at; at.After(last) && at.Before(now.Add(createdSlack)) {
			last = at
		}
	}
	return last
}

// serves reports whether the last restart of w brings its pods the stored token: it
// was made for it, or for another one when this one was stored already; and nobody has
// given w another template since.
func (w *workload) serves(stored *record.Record, annotation string, now time.Time) bool {
	for key, value := range w.restarts {
		m := readMark(value)
		is := key == annotation && m.token == stored.Token.Fingerprint() || !createdBefore(w.lastRestart(now), stored)
		if is && m.turn == w.turn {
			return true
		}
	}
	return false
}

// pause is the least time between two restarts of a workload. It leaves the second one
// the other half of the window to end before the old token is invalid.
func pause(window time.Duration) time.Duration { return window / 2 }

// oldTokenEnds is when the token before the stored one is invalid at the latest: a
// window after it was replaced, or at once if it was invalid before.
func oldTokenEnds(stored *record.Record, window time.Duration) time.Time {
	if !stored.Token.PredecessorInvalidAt.IsZero() {
		return replacedAt(stored)
	}
	return replacedAt(stored).Add(window)
}

// step is how far the restart of a workload is.
type step int

const (
	stepDone    step = iota // none is wanted
	stepServed              // all pods have the token
	stepDue                 // if there is an older pod
	stepGathers             // other tokens
	stepWaits               // for the end of an earlier rollout
	stepPauses              // after the last restart
	stepRunning             // our own rollout
)

// step says how far the restart of w is for the stored token, and what there is to
// report while it waits or runs. annotation is that of restartAnnotation.
//
//   - Only a token that has replaced another one is worth a restart, and it is worth
//     one.
//   - An earlier rollout ends first, so that two do not mix and no more pods are down
//     than the workload allows. But once the old token is invalid there is nothing
//     left to spare, and the pods of that rollout may need the new one to get ready.
//   - The pause is kept even then: old tokens that are invalid at once are what
//     somebody would make to have a workload roll for ever. Who waits was stored after the last
//     restart or a moment before it, so the wait ends before a window has passed.
func (w *workload) step(stored *record.Record, annotation string, known rollout, window time.Duration, now time.Time) (step, finding) {
	end, age, last := oldTokenEnds(stored, window), now.Sub(replacedAt(stored)), w.lastRestart(now)
	again := known.restarts.Next(retry(window))
	stale := w.generation < known.generation
	switch {
	case replacedAt(stored).IsZero(), w.onDelete, known.upToDate, !createdBefore(w.created, stored):
		return stepDone, finding{}
	case stale:
		return stepRunning, finding{reason: v1alpha1.ReasonRestarting, wake: end}
	case w.serves(stored, annotation, now):
		if w.updated {
			return stepServed, finding{}
		}
		return stepRunning, finding{reason: v1alpha1.ReasonRestarting, wake: end}
	case !now.Before(stored.Token.ExpiresAt):
		return stepDone, finding{} // there is nothing to restart for, and Ready says so
	case now.Before(again):
		return stepPauses, finding{reason: v1alpha1.ReasonRestartUndone, wake: again}
	case !w.available && now.Before(end):
		return stepWaits, finding{reason: v1alpha1.ReasonRestartWaits, why: "an earlier rollout is not finished", wake: end}
	case now.Before(last.Add(pause(window))):
		why := fmt.Sprintf("the operator has restarted it within the last %s", pause(window))
		return stepPauses, finding{reason: v1alpha1.ReasonRestartWaits, why: why, wake: last.Add(pause(window))}
	case age >= 0 && age < gathering:
		return stepGathers, finding{reason: v1alpha1.ReasonRestarting, wake: replacedAt(stored).Add(gathering)} // in a moment
	default:
		return stepDue, finding{}
	}
}

// createdBefore reports whether something that was created then may have seen the
// token before the stored one.
func createdBefore(created time.Time, stored *record.Record) bool {
	return created.Before(replacedAt(stored).Add(createdSlack))
}

// olderPod reports whether a pod of w may have the token before the stored one. One that
// has ended or is ending needs no other, and one that waited for its first Secret has the
// stored one.
func olderPod(pod *corev1.Pod, stored *record.Record) bool {
	if ended(pod) || stored.ReplacedAt.IsZero() && !startedBefore(pod, replacedAt(stored)) {
		return false
	}
	return createdBefore(pod.CreationTimestamp.Time, stored)
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed || !pod.DeletionTimestamp.IsZero()
}

// startedBefore reports whether a container of the pod runs since a time before at.
func startedBefore(pod *corev1.Pod, at time.Time) bool {
	return slices.ContainsFunc(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		return s.State.Running != nil && s.State.Running.StartedAt.Time.Before(at)
	})
}

// restart brings the restart of w a step on, notes what was done, and returns what
// there is to report.
func (r *Reconciler) restart(ctx context.Context, wt *v1alpha1.WeChatToken, w *workload, stored *record.Record, known *memory, now time.Time) (finding, error) {
	if stored == nil {
		return finding{}, nil
	}
	step, is := w.step(stored, restartAnnotation(wt.Name), known.rollouts[w.uid], r.Window, now)
	switch step {
	case stepGathers:
		if !w.paused && !wt.Spec.Suspend { // which would be told after all
			return is, nil
		}
	case stepServed:
		known.rollouts[w.uid] = rollout{upToDate: true}
		return is, nil
	case stepDone, stepWaits, stepPauses:
		return is, nil
	case stepRunning:
		if now.Before(is.wake) {
			return is, nil
		}
	case stepDue:
	}
	f, err := r.rollOut(ctx, wt, w, stored, known, step, now)
	if refusal.Is(err) {
		return finding{reason: v1alpha1.ReasonRestartRefused, why: refusal.Text(err, stored.Secrets()...), wake: now.Add(refusedWait)}, nil
	}
	return f, client.IgnoreNotFound(err) // an event follows when it is gone
}

// rollOut patches the pod template of w if w has an older pod, may be restarted, and is
// not being rolled out for the stored token already.
func (r *Reconciler) rollOut(ctx context.Context, wt *v1alpha1.WeChatToken, w *workload, stored *record.Record, known *memory, step step, now time.Time) (finding, error) {
	older, turn, err := r.lookAtPods(ctx, wt.Namespace, w, stored)
	switch {
	case err != nil:
		return finding{}, err
	case !older:
		known.rollouts[w.uid] = rollout{upToDate: true}
		return finding{}, nil
	case step == stepRunning:
		return finding{reason: v1alpha1.ReasonRestartLate}, nil
	case wt.Spec.Suspend:
		return finding{reason: v1alpha1.ReasonRestartWaits, why: "spec.suspend is true"}, nil
	case w.paused:
		return finding{reason: v1alpha1.ReasonRestartWaits, why: "it is paused"}, nil
	}
	patch, err := w.restartPatch(restartAnnotation(wt.Name), mark{token: known.token, at: now, turn: turn})
	if err != nil {
		return finding{}, err
	}
	generation, err := r.patch(ctx, appsv1.SchemeGroupVersion.WithKind(string(w.kind)), wt.Namespace, w.name, string(patch))
	if err != nil {
		return finding{}, err
	}
	restarts := known.rollouts[w.uid].restarts.Done(now, retry(r.Window))
	known.rollouts[w.uid] = rollout{generation: generation, restarts: restarts}
	ctrl.LoggerFrom(ctx).Info("restarted a workload for a new token", "kind", w.kind, "name", w.name, "tokenFingerprint", known.token)
	if end := oldTokenEnds(stored, r.Window); now.Before(end) {
		return finding{reason: v1alpha1.ReasonRestarting, wake: end}, nil
	}
	return finding{reason: v1alpha1.ReasonRestartLate}, nil
}

// lookAtPods reports whether w has a pod with an older token, and which turn comes next.
func (r *Reconciler) lookAtPods(ctx context.Context, namespace string, w *workload, stored *record.Record) (older bool, turn int, err error) {
	selector, err := metav1.LabelSelectorAsSelector(w.selector)
	if err != nil {
		return false, 0, nil //nolint:nilerr // the API server refuses such a workload
	}
	taken := map[int]bool{}
	err = r.pods(ctx, namespace, selector, func(pod *corev1.Pod) {
		if w.ownsPod(pod) && !ended(pod) {
			older, taken[turnOf(pod.Annotations)] = older || olderPod(pod, stored), true
		}
	})
	return older, w.nextTurn(taken), err
}
