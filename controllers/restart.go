package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

// Pods that use the Secret as env or through subPath have the token they were
// started with. A restart replaces them as kubectl rollout restart does, by an
// annotation of the pod template, which says for which token it was done: that
// token needs no other restart, whoever reads the annotation.

// createdSlack is how long after the old token was replaced a pod may have been
// created and count as one that has it: the API server's clock is another one,
// and both write whole seconds.
const createdSlack = 2 * time.Second

// rolled is what this process knows of a workload beside what the cache has.
type rolled struct {
	holds      string // what the Secret held, see issued.holds
	fresh      bool   // all pods were created since it holds that: so will be all that follow
	generation int64  // that the restart has made: a cache with an older one is behind
}

// restartAnnotation is on the pod templates of workloads that were restarted for
// the WeChatToken of the given name. What is behind the slash has 63 characters
// at most.
func restartAnnotation(name string) string {
	const longest, digits = 63, 8
	if len(name) > longest {
		name = name[:longest-digits-1] + "-" + hash(name)[:digits]
	}
	return v1alpha1.AnnotationRestartPrefix + name
}

// oldDies is when the token that t has replaced works no longer at the latest: a
// window later, 5 minutes (getAccessToken, getStableAccessToken), or at once if
// it was dead before.
func (t *issued) oldDies(window time.Duration) time.Time {
	if !t.diedEarly.IsZero() {
		return t.replaced
	}
	return t.replaced.Add(window)
}

// restartStep is how far the restart of a workload has come.
type restartStep int

const (
	restartDone   restartStep = iota // or none is wanted
	restartDue                       // if there is a pod from before, see olderPod
	restartWaits                     // for the end of an earlier roll
	restartRuns                      // our own roll
	restartIsLate                    // our own roll, and the old token is dead
)

// restart says how far the restart of w is for t, which the Secret holds; nil if
// it holds none. annotation is that of restartAnnotation.
//
//   - Only a token that has replaced another one is worth a restart, and it is
//     worth one.
//   - An earlier roll comes to its end first, so that two do not mix and no more
//     pods are down than the workload allows. But once the old token is dead
//     nothing is left to be spared, and the pods of that roll may be waiting for
//     the new one to get ready.
func (w *workload) restart(t *issued, annotation string, known rolled, window time.Duration, now time.Time) restartStep {
	if t == nil || t.replaced.IsZero() || w.onDelete {
		return restartDone
	}
	if known.holds != t.holds() {
		known = rolled{}
	}
	behind := w.generation < known.generation
	switch {
	case known.fresh, !createdBefore(w.created, t):
		return restartDone
	case w.inTemplate[annotation] == t.holds() || behind:
		switch {
		case w.rolled && !behind:
			return restartDone
		case now.Before(t.oldDies(window)):
			return restartRuns
		default:
			return restartIsLate
		}
	case !t.alive(now):
		return restartDone // there is nothing to restart for; Ready tells
	case !w.serving && now.Before(t.oldDies(window)):
		return restartWaits
	default:
		return restartDue
	}
}

// createdBefore reports whether something that was created then may have seen
// the token that t has replaced.
func createdBefore(created time.Time, t *issued) bool {
	return created.Before(t.replaced.Add(createdSlack))
}

// olderPod reports whether the pod is one of w that may have the token that t
// has replaced. One that has ended or is ending needs no other.
func (w *workload) olderPod(pod *corev1.Pod, t *issued) bool {
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed || !pod.DeletionTimestamp.IsZero()
	return !ended && w.ownsPod(pod) && createdBefore(pod.CreationTimestamp.Time, t)
}
