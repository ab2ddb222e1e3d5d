package controllers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/uses"
)

// following is what is told of the workloads that use the Secret. The zero value
// says that nothing is to be told.
type following struct {
	consumers []v1alpha1.Consumer
	status    metav1.ConditionStatus
	reason    string
	message   string

	// untouched says that this process has touched no pods yet, so that it does
	// not know whether it may.
	untouched bool
}

// follower is a workload and what there is to know of it for one WeChatToken.
type follower struct {
	*workload

	uses []v1alpha1.SecretUse
	by   v1alpha1.Restarter
}

// consumers reads the workloads that use the Secret of wt, and those that it
// wants restarted, sorted by kind and name. missing are those that it names and
// that are not there. onSecret are the annotations of the Secret.
func (r *WeChatTokenReconciler) consumers(ctx context.Context, wt *v1alpha1.WeChatToken, onSecret map[string]string) (found []follower, missing []string, err error) {
	byUID := map[types.UID]*workload{}
	read := func(kind v1alpha1.WorkloadKind, opts ...client.ListOption) error {
		some, err := r.workloads(ctx, kind, append(opts, client.InNamespace(wt.Namespace))...)
		for _, w := range some {
			byUID[w.uid] = w
		}
		return err
	}
	for kind := range workloadKinds() {
		if err := read(kind, client.MatchingFields{indexUses: wt.TokenSecretName()}); err != nil {
			return nil, nil, err
		}
	}
	for _, target := range wt.Spec.Restart.Workloads {
		switch {
		case target.Name != "":
			obj := workloadKinds()[target.Kind]
			err := r.Client.Get(ctx, types.NamespacedName{Namespace: wt.Namespace, Name: target.Name}, obj)
			if apierrors.IsNotFound(err) {
				missing = append(missing, fmt.Sprintf("%s %q", target.Kind, target.Name))
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			byUID[obj.GetUID()] = workloadOf(obj)
		case len(target.Selector.MatchLabels) > 0:
			if err := read(target.Kind, client.MatchingLabels(plainLabels(target.Selector))); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, w := range byUID {
		found = append(found, follower{workload: w, uses: w.uses[wt.TokenSecretName()], by: restarter(wt, w, onSecret)})
	}
	slices.SortFunc(found, func(a, b follower) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name)) })
	slices.Sort(missing)
	return found, slices.Compact(missing), nil
}

// workloads reads workloads of one kind from the cache.
func (r *WeChatTokenReconciler) workloads(ctx context.Context, kind v1alpha1.WorkloadKind, opts ...client.ListOption) ([]*workload, error) {
	opts = append(opts, client.UnsafeDisableDeepCopy) // workloadOf only reads
	var some []*workload
	switch kind {
	case v1alpha1.KindDeployment:
		var list appsv1.DeploymentList
		if err := r.Client.List(ctx, &list, opts...); err != nil {
			return nil, err
		}
		for i := range list.Items {
			some = append(some, workloadOf(&list.Items[i]))
		}
	case v1alpha1.KindStatefulSet:
		var list appsv1.StatefulSetList
		if err := r.Client.List(ctx, &list, opts...); err != nil {
			return nil, err
		}
		for i := range list.Items {
			some = append(some, workloadOf(&list.Items[i]))
		}
	case v1alpha1.KindDaemonSet:
		var list appsv1.DaemonSetList
		if err := r.Client.List(ctx, &list, opts...); err != nil {
			return nil, err
		}
		for i := range list.Items {
			some = append(some, workloadOf(&list.Items[i]))
		}
	}
	return some, nil
}

func plainLabels(s v1alpha1.WorkloadSelector) map[string]string {
	plain := map[string]string{}
	for k, v := range s.MatchLabels {
		plain[k] = string(v)
	}
	return plain
}

// restarter says who restarts w when there is a new token; empty if nobody does.
// What a user has named is ours. What they only implied is left to Reloader if
// that has it already: two restarts would be one too many.
func restarter(wt *v1alpha1.WeChatToken, w *workload, onSecret map[string]string) v1alpha1.Restarter {
	secret := wt.TokenSecretName()
	reloaded := uses.Reloaded(secret, w.annotations, w.inTemplate, onSecret, len(w.uses[secret]) > 0)
	for _, target := range wt.Spec.Restart.Workloads {
		if selects(target, w, secret) && (target.Name != "" || !reloaded) {
			return v1alpha1.RestarterOperator
		}
	}
	if reloaded {
		return v1alpha1.RestarterReloader
	}
	return ""
}

func selects(target v1alpha1.RestartTarget, w *workload, secret string) bool {
	switch {
	case target.Kind != w.kind:
		return false
	case target.Name != "":
		return target.Name == w.name
	case len(target.Selector.MatchLabels) > 0:
		for k, v := range plainLabels(target.Selector) {
			if got, ok := w.labels[k]; !ok || got != v {
				return false
			}
		}
		return true
	default:
		return uses.Stale(w.uses[secret])
	}
}

// follow looks after the workloads that use the Secret: it restarts those that
// are due, and says in p how things stand. It goes on from what p has made the
// Secret carry. An error means that the cluster failed us; a refusal is told.
func (r *WeChatTokenReconciler) follow(ctx context.Context, o observed, p *plan) error {
	if o.holder != "" {
		p.following = &following{} // what stands there is somebody else's
		return nil
	}
	if !r.Consumers {
		p.following = unwatched(o.wt)
		return nil
	}
	var stored map[string]string
	if o.secret != nil {
		stored = o.secret.Annotations
	}
	onSecret := uses.SecretAnnotations(o.wt, stored)
	found, missing, err := r.consumers(ctx, o.wt, onSecret)
	if err != nil {
		return err
	}
	key := client.ObjectKeyFromObject(o.wt)
	told := tellings{}
	for _, name := range missing {
		told.tell(v1alpha1.ReasonRestartTargetMissing, name, "")
	}
	known := r.restarts.of(key, found)
	for _, c := range found {
		if uses.Stale(c.uses) && c.by == "" {
			told.tell(v1alpha1.ReasonConsumersStale, c.String(), "")
		}
		if c.by != v1alpha1.RestarterOperator {
			continue
		}
		if c.byHand {
			told.tell(v1alpha1.ReasonRestartByHand, c.String(), "")
		}
		reason, why, err := r.restart(ctx, o, p, c.workload, known)
		if err != nil {
			return err
		}
		if reason != "" {
			told.tell(reason, c.String(), why)
		}
	}
	f := told.sum(len(found))
	f.consumers = listOf(found)
	if o.wt.Spec.Propagation == v1alpha1.PropagationTouch {
		refusal, known := r.touches.refusal(key)
		f.untouched = !known
		if refusal != "" && f.status == metav1.ConditionTrue {
			f.status, f.reason, f.message = metav1.ConditionFalse, v1alpha1.ReasonTouchRefused, touchRefused(refusal)
		}
	}
	p.following = &f
	return nil
}

// restarts is what this process knows of the workloads that each WeChatToken
// wants restarted. A WeChatToken is in the hands of one worker at a time, and so
// is the map that it gets.
type restarts struct{ byToken sync.Map } // types.NamespacedName to map[types.UID]rolled

// of is what is known for the WeChatToken at key. Workloads that are not among
// those found are forgotten.
func (r *restarts) of(key types.NamespacedName, found []follower) map[types.UID]rolled {
	stored, _ := r.byToken.LoadOrStore(key, map[types.UID]rolled{})
	known := stored.(map[types.UID]rolled) //nolint:forcetypeassert // nothing else is stored
	maps.DeleteFunc(known, func(uid types.UID, _ rolled) bool {
		return !slices.ContainsFunc(found, func(c follower) bool { return c.uid == uid })
	})
	return known
}

// maxConsumers bounds what the status lists.
const maxConsumers = 64

func listOf(found []follower) []v1alpha1.Consumer {
	var list []v1alpha1.Consumer
	for _, c := range found[:min(len(found), maxConsumers)] {
		list = append(list, v1alpha1.Consumer{Kind: c.kind, Name: c.name, Uses: c.uses, RestartedBy: c.by})
	}
	return list
}

// unwatched is said by a manager that does not watch workloads.
func unwatched(wt *v1alpha1.WeChatToken) *following {
	if wt.Spec.Propagation != v1alpha1.PropagationTouch && len(wt.Spec.Restart.Workloads) == 0 {
		return &following{}
	}
	return &following{
		status:  metav1.ConditionFalse,
		reason:  v1alpha1.ReasonConsumersUnwatched,
		message: "spec.propagation and spec.restart need a manager that looks after pods, and this one does not: kubectl apply -k config/consumers",
	}
}

// tellings are the workloads of which there is something to tell, by its reason.
type tellings map[string]*telling

type telling struct {
	workloads []string
	why       string // of the first
}

func (t tellings) tell(reason, workload, why string) {
	if t[reason] == nil {
		t[reason] = &telling{why: why}
	}
	t[reason].workloads = append(t[reason].workloads, workload)
}

// sayings say what is told of workloads, the worst first: one reason fits into a
// condition.
var sayings = []struct{ reason, format string }{
	{v1alpha1.ReasonRestartRefused, "The operator tries every 30 s to restart %s, and the API server refuses it"},
	{v1alpha1.ReasonRestartLate, "The old token was dead before all pods of %s had the new one. Let the roll be faster: more maxSurge or maxUnavailable, a quicker readiness probe, fewer pods. Or mount the Secret as a directory"},
	{v1alpha1.ReasonRestartTargetMissing, "spec.restart names %s, and there is no such workload in this namespace: create it, or take it out of spec.restart"},
	{v1alpha1.ReasonRestartByHand, "A roll of %s does not replace all pods: its updateStrategy is OnDelete or has a partition. Delete the pods after each new token, or choose RollingUpdate without a partition"},
	{v1alpha1.ReasonConsumersStale, "%s: the Secret is used there as env or through subPath, which never changes in a running container, and nobody restarts the pods. Mount the Secret as a directory, or use spec.restart"},
	{v1alpha1.ReasonRestartWaits, "The restart of %s waits"},
	{v1alpha1.ReasonRestarting, "%s: the pods are being replaced for the new token"},
}

// sum is what there is to tell in the end, of so many workloads.
func (t tellings) sum(count int) following {
	f := following{status: metav1.ConditionTrue, reason: v1alpha1.ReasonConsumersFollow, message: "New tokens reach the workloads that use the Secret"}
	if count == 0 {
		f.message = "No Deployment, StatefulSet or DaemonSet uses the Secret"
	}
	for _, s := range sayings {
		told := t[s.reason]
		if told == nil {
			continue
		}
		f.status, f.reason = metav1.ConditionFalse, s.reason
		f.message = fmt.Sprintf(s.format, some(told.workloads))
		if told.why != "" {
			f.message += ": " + told.why
		}
		break
	}
	if count > maxConsumers {
		f.message += fmt.Sprintf(". status.consumers lists the first %d of %d", maxConsumers, count)
	}
	return f
}

// some names a few workloads and counts the rest.
func some(workloads []string) string {
	const most = 5
	if len(workloads) <= most {
		return strings.Join(workloads, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(workloads[:most], ", "), len(workloads)-most)
}

// refusedRestartWait is how long to wait after a refusal. Nothing in the cluster
// tells when a policy or a role has changed.
const refusedRestartWait = 30 * time.Second
