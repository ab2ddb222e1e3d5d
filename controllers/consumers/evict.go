package consumers

import (
	"context"
	"errors"
	"slices"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/refusal"
	"wechattoken.io/operator/internal/uses"
)

// An eviction lets a pod go if its PodDisruptionBudgets do, and whatever controls it makes
// another one, with the new token. So a restart needs nothing of a workload but its pods:
// it serves all kinds that have a scale subresource, and leaves the pod template and the
// rollout history alone. The pods themselves say how far it is, to whichever process asks:
// one that is older than the token is to be evicted.

const (
	// evictAgain is the pause before the pods of a workload are looked at again: nothing
	// watches them.
	evictAgain = 5 * time.Second

	// mostEvictions are how many pods of a workload may be missing at once for a restart:
	// a quarter, as a Deployment's maxUnavailable, but no more than that, so that no
	// workload holds up the others.
	mostEvictions = 20

	// evictionLasts is how long to wait for the answer to an eviction.
	evictionLasts = 2 * time.Second
)

// evictee is what an eviction must know of a workload.
type evictee struct {
	id       types.UID // in memory.rollouts
	desired  int       // pods
	selector labels.Selector
	owns     func(*corev1.Pod) (bool, error)
}

// livePod is a pod of a workload that has not ended.
type livePod struct {
	name    string
	uid     types.UID
	created time.Time
	ready   bool
	older   bool // than the token
}

// toEvict says which pods to evict now: those that are not ready cost nothing, and of the
// others so many that a quarter of the desired pods is missing, one at least. Each pod is
// given half a window, so that many tokens do not keep a workload restarting.
func toEvict(pods []livePod, desired int, window time.Duration, now time.Time) (some []livePod) {
	spare := min(max(1, desired/4), mostEvictions) - desired
	for _, pod := range pods {
		if pod.ready {
			spare++
		}
	}
	for _, ready := range []bool{false, true} {
		for _, pod := range pods {
			if !pod.older || pod.ready != ready || now.Before(pod.created.Add(pause(window))) || len(some) == mostEvictions {
				continue
			}
			if ready {
				if spare <= 0 {
					continue
				}
				spare--
			}
			some = append(some, pod)
		}
	}
	return some
}

// evictWorkload brings the restart of a watched workload a step on.
func (r *Reconciler) evictWorkload(ctx context.Context, wt *v1alpha1.WeChatToken, w *workload, stored *record.Record, known *memory, now time.Time) (finding, error) {
	is, due := evictionDue(stored, known.rollouts[w.uid], now)
	switch {
	case !due:
		return is, nil
	case w.onDelete && !w.updated:
		return finding{reason: v1alpha1.ReasonRestartWaits, why: "a new template waits for somebody to delete its pods, for its updateStrategy is OnDelete"}, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(w.selector)
	if err != nil {
		return finding{}, nil //nolint:nilerr // the API server refuses such a workload
	}
	return r.evict(ctx, wt, evictee{
		id: w.uid, desired: w.desired, selector: selector,
		owns: func(pod *corev1.Pod) (bool, error) { return w.ownsPod(pod), nil },
	}, stored, known, now)
}

// idOf is the key in memory.rollouts of a consumer that no watch finds.
func idOf(o v1alpha1.Consumer) types.UID {
	return types.UID(o.APIVersion + " " + o.Kind + "/" + o.Name)
}

// evictOther brings the restart of a workload of another kind a step on. It is looked at
// once for each token, also when there is nothing to do, so that what is wrong with it is
// told in time.
func (r *Reconciler) evictOther(ctx context.Context, wt *v1alpha1.WeChatToken, o v1alpha1.Consumer, stored *record.Record, known *memory, now time.Time) (finding, error) {
	id := idOf(o)
	before, looked := known.rollouts[id]
	if now.Before(before.evicting.wake) {
		return before.evicting, nil
	}
	is, due := evictionDue(stored, before, now)
	if looked && !due && before.evicting.reason == "" {
		return is, nil
	}
	from, err := r.evicteeOf(ctx, wt.Namespace, o)
	switch {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return known.evicting(id, finding{reason: v1alpha1.ReasonRestartTargetMissing, wake: now.Add(scanAgain)}), nil
	case refusal.Is(err):
		return known.evicting(id, refusedEviction(err, stored, now)), nil
	case err != nil:
		return finding{}, err
	case !due:
		return known.evicting(id, is), nil
	}
	return r.evict(ctx, wt, from, stored, known, now)
}

// evicteeOf reads the scale of a workload: how many pods it wants, and which labels they
// have.
func (r *Reconciler) evicteeOf(ctx context.Context, namespace string, o v1alpha1.Consumer) (evictee, error) {
	scale, err := r.scaleOf(ctx, namespace, o)
	if err != nil {
		return evictee{}, err
	}
	selector, err := labels.Parse(scale.Status.Selector)
	if err != nil || selector.Empty() {
		return evictee{}, apierrors.NewBadRequest("its scale has no label selector")
	}
	above := map[types.UID]bool{} // controllers of pods, and whether the workload controls them
	owns := func(pod *corev1.Pod) (bool, error) {
		owner := metav1.GetControllerOf(pod)
		if owner == nil {
			return false, nil
		}
		ours, seen := above[owner.UID]
		if seen || len(above) == mostOwners {
			return ours, nil
		}
		top, err := uses.OwnerOf(ctx, r.Pods, pod)
		above[owner.UID] = top.UID == scale.UID
		return above[owner.UID], err
	}
	return evictee{id: idOf(o), desired: int(scale.Spec.Replicas), selector: selector, owns: owns}, nil
}

// scaleOf reads the scale of a workload.
func (r *Reconciler) scaleOf(ctx context.Context, namespace string, o v1alpha1.Consumer) (*autoscalingv1.Scale, error) {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(o.APIVersion)
	u.SetKind(o.Kind)
	u.SetNamespace(namespace)
	u.SetName(o.Name)
	read := &unstructured.Unstructured{}
	if err := r.Client.SubResource("scale").Get(ctx, u, read); err != nil {
		return nil, err
	}
	scale := &autoscalingv1.Scale{}
	return scale, runtime.DefaultUnstructuredConverter.FromUnstructured(read.Object, scale)
}

// evictionDue reports whether there may be pods to evict now; if not, it returns what
// there is to report.
func evictionDue(stored *record.Record, known rollout, now time.Time) (finding, bool) {
	if stored == nil || replacedAt(stored).IsZero() || known.upToDate || !now.Before(stored.Token.ExpiresAt) {
		return finding{}, false
	}
	if age := now.Sub(replacedAt(stored)); age >= 0 && age < gathering {
		return finding{reason: v1alpha1.ReasonRestarting, wake: replacedAt(stored).Add(gathering)}, false
	}
	if now.Before(known.evicting.wake) {
		return known.evicting, false
	}
	return finding{}, true
}

// evicting remembers what there is to report of a workload until it is looked at again.
func (m *memory) evicting(id types.UID, f finding) finding {
	m.rollouts[id] = rollout{evicting: f}
	return f
}

func refusedEviction(err error, stored *record.Record, now time.Time) finding {
	return finding{reason: v1alpha1.ReasonRestartRefused, why: refusal.Text(err, stored.Secrets()...), wake: now.Add(refusedWait)}
}

// evict evicts some of the pods that are older than the token, notes what was done, and
// returns what there is to report.
func (r *Reconciler) evict(ctx context.Context, wt *v1alpha1.WeChatToken, from evictee, stored *record.Record, known *memory, now time.Time) (finding, error) {
	pods, err := r.livePods(ctx, wt.Namespace, from, stored)
	switch {
	case refusal.Is(err):
		return known.evicting(from.id, refusedEviction(err, stored, now)), nil
	case err != nil:
		return finding{}, err
	case !slices.ContainsFunc(pods, func(pod livePod) bool { return pod.older }):
		known.rollouts[from.id] = rollout{upToDate: true}
		return finding{}, nil
	case wt.Spec.Suspend:
		return known.evicting(from.id, finding{reason: v1alpha1.ReasonRestartWaits, why: "spec.suspend is true"}), nil
	}
	some := toEvict(pods, from.desired, r.Window, now)
	f, err := r.evictSome(ctx, wt.Namespace, some, stored, now)
	if err != nil {
		return finding{}, err
	}
	if f.reason != v1alpha1.ReasonRestartRefused && !now.Before(oldTokenEnds(stored, r.Window)) {
		f.reason = v1alpha1.ReasonRestartLate
		if len(some) == 0 || f.why != "" { // it may stay so for good
			f.wake = now.Add(refusedWait)
		}
	}
	return known.evicting(from.id, f), nil
}

// evictSome evicts pods, and returns what there is to report.
func (r *Reconciler) evictSome(ctx context.Context, namespace string, pods []livePod, stored *record.Record, now time.Time) (finding, error) {
	f := finding{reason: v1alpha1.ReasonRestarting, wake: now.Add(evictAgain)}
	for _, pod := range pods {
		err := r.evictPod(ctx, namespace, pod)
		busy := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
		switch {
		case err == nil:
			ctrl.LoggerFrom(ctx).Info("evicted a pod for a new token", "pod", pod.name)
		case apierrors.IsTooManyRequests(err), busy:
			f.reason, f.why = v1alpha1.ReasonRestartWaits, "a PodDisruptionBudget lets no more of its pods go now"
		case refusal.Is(err):
			return refusedEviction(err, stored, now), nil
		default:
			return finding{}, err
		}
		if busy {
			break // while another pod may have another budget
		}
	}
	return f, nil
}

// evictPod evicts a pod, and no other one of its name. One that is gone is no error. While
// the cluster has not looked at a changed PodDisruptionBudget yet, the API server says to
// come again, and the client would do so for 100 s.
func (r *Reconciler) evictPod(ctx context.Context, namespace string, pod livePod) error {
	ctx, cancel := context.WithTimeout(ctx, evictionLasts)
	defer cancel()
	obj := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod.name}}
	err := r.Client.SubResource("eviction").Create(ctx, obj, &policyv1.Eviction{
		DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.uid))},
	})
	if apierrors.IsConflict(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// livePods are the pods of a workload that have not ended and are not about to.
func (r *Reconciler) livePods(ctx context.Context, namespace string, of evictee, stored *record.Record) (pods []livePod, err error) {
	var lost error
	err = r.pods(ctx, namespace, of.selector, func(pod *corev1.Pod) {
		if ended(pod) || lost != nil {
			return
		}
		owned, err := of.owns(pod)
		if lost = err; owned {
			ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
			pods = append(pods, livePod{pod.Name, pod.UID, pod.CreationTimestamp.Time, ready, olderPod(pod, stored)})
		}
	})
	if err == nil {
		err = lost
	}
	return pods, err
}
