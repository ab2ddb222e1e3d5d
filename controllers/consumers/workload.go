package consumers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/uses"
)

// The field indexes of the cache.
const (
	indexFollows = "follows" // WeChatTokens by their Secret and by the kinds they restart, which no Secret is called
	indexUses    = "uses"    // workloads by the Secrets that their pods use
)

// workloadKinds are the kinds that are watched.
var workloadKinds = map[v1alpha1.WorkloadKind]struct {
	object client.Object
	list   client.ObjectList
}{
	v1alpha1.KindDeployment:  {&appsv1.Deployment{}, &appsv1.DeploymentList{}},
	v1alpha1.KindStatefulSet: {&appsv1.StatefulSet{}, &appsv1.StatefulSetList{}},
	v1alpha1.KindDaemonSet:   {&appsv1.DaemonSet{}, &appsv1.DaemonSetList{}},
}

// watched reports whether the workloads of a target are of those kinds.
func watched(target v1alpha1.RestartTarget) bool {
	return target.APIVersion == "" || isWatched(target.APIVersion, string(target.Kind))
}

func isWatched(apiVersion, kind string) bool {
	_, ok := workloadKinds[v1alpha1.WorkloadKind(kind)]
	return ok && apiVersion == appsv1.SchemeGroupVersion.String()
}

// workload is what matters here of a Deployment, StatefulSet or DaemonSet. Two that
// are equal but for their version need nothing different.
type workload struct {
	kind       v1alpha1.WorkloadKind
	name       string
	uid        types.UID
	version    string
	created    time.Time
	generation int64

	labels      map[string]string
	annotations map[string]string // those of Reloader
	restarts    map[string]string // ours
	inTemplate  map[string]string // those of Reloader on the pod template
	turn        int               // ours there
	selector    *metav1.LabelSelector
	uses        map[string][]v1alpha1.SecretUse // by the name of the Secret

	desired   int
	paused    bool
	onDelete  bool
	manual    bool // a rollout leaves pods as they are: updateStrategy OnDelete, or a partition
	updated   bool // no pod of an earlier template is left
	available bool // and all pods are there and available: the last rollout is finished

	restarter v1alpha1.Restarter     // for one WeChatToken; consumers sets it
	method    v1alpha1.RestartMethod // if the operator restarts it
}

// workloadOf reads a workload, and changes nothing of it. A rollout is finished when
// kubectl rollout status says so (k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go).
func workloadOf(obj client.Object) *workload {
	w := &workload{
		name: obj.GetName(), uid: obj.GetUID(), version: obj.GetResourceVersion(), created: obj.GetCreationTimestamp().Time, generation: obj.GetGeneration(),
		labels: obj.GetLabels(), annotations: uses.ReloaderAnnotations(obj.GetAnnotations()), restarts: restartAnnotations(obj.GetAnnotations()),
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		w.template(v1alpha1.KindDeployment, o.Spec.Selector, &o.Spec.Template)
		s := o.Status
		w.desired, w.paused = int(replicas(o.Spec.Replicas)), o.Spec.Paused
		w.updated = s.ObservedGeneration >= o.Generation && s.UpdatedReplicas >= s.Replicas
		w.available = w.updated && s.UpdatedReplicas >= replicas(o.Spec.Replicas) && s.AvailableReplicas >= s.UpdatedReplicas
	case *appsv1.StatefulSet:
		w.template(v1alpha1.KindStatefulSet, o.Spec.Selector, &o.Spec.Template)
		w.statefulSet(o)
	case *appsv1.DaemonSet:
		w.template(v1alpha1.KindDaemonSet, o.Spec.Selector, &o.Spec.Template)
		s := o.Status
		w.desired = int(s.DesiredNumberScheduled)
		w.onDelete = o.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType
		w.manual = w.onDelete
		w.updated = s.ObservedGeneration >= o.Generation && s.UpdatedNumberScheduled >= s.CurrentNumberScheduled
		w.available = w.updated && s.UpdatedNumberScheduled >= s.DesiredNumberScheduled && s.NumberAvailable >= s.DesiredNumberScheduled
	}
	return w
}

func (w *workload) template(kind v1alpha1.WorkloadKind, selector *metav1.LabelSelector, t *corev1.PodTemplateSpec) {
	w.kind, w.selector = kind, selector
	w.inTemplate, w.turn, w.uses = uses.ReloaderAnnotations(t.Annotations), turnOf(t.Annotations), uses.In(&t.Spec)
}

// statefulSet reads how far the rollout is. A partition keeps so many pods as they are.
func (w *workload) statefulSet(o *appsv1.StatefulSet) {
	s, total, kept := o.Status, replicas(o.Spec.Replicas), int32(0)
	if rolling := o.Spec.UpdateStrategy.RollingUpdate; rolling != nil && rolling.Partition != nil {
		kept = min(*rolling.Partition, total)
	}
	w.desired = int(total)
	w.onDelete = o.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType
	w.manual = w.onDelete || kept > 0
	w.updated = s.ObservedGeneration >= o.Generation && s.UpdatedReplicas >= s.Replicas-kept
	w.available = w.updated && s.UpdatedReplicas >= total-kept && s.ReadyReplicas >= total && (kept > 0 || s.UpdateRevision == s.CurrentRevision)
}

// replicas is a number of replicas that is 1 when it is left out.
func replicas(n *int32) int32 { return *cmp.Or(n, new(int32(1))) }

// restartAnnotations keeps those annotations of a workload that are ours.
func restartAnnotations(annotations map[string]string) map[string]string {
	kept := map[string]string{}
	for k, v := range annotations {
		if strings.HasPrefix(k, v1alpha1.AnnotationRestartPrefix) {
			kept[k] = v
		}
	}
	return kept
}

// String names the workload in a message.
func (w *workload) String() string { return fmt.Sprintf("%s %q", w.kind, w.name) }

// ownsPod reports whether the pod is one of the workload. Those of a Deployment
// belong to a ReplicaSet, whose name is that of the Deployment and the hash of the
// template.
func (w *workload) ownsPod(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return false
	}
	if w.kind == v1alpha1.KindDeployment {
		hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		return owner.Kind == "ReplicaSet" && hash != "" && owner.Name == w.name+"-"+hash
	}
	return owner.UID == w.uid
}

// StripWorkload is the cache transform for workloads: it drops most of what workloadOf
// does not read. A cluster has many that use no token.
func StripWorkload(obj any) (any, error) {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		strip(&o.ObjectMeta, &o.Spec.Template)
		o.Status.Conditions = nil
	case *appsv1.StatefulSet:
		strip(&o.ObjectMeta, &o.Spec.Template)
		o.Spec.VolumeClaimTemplates, o.Status.Conditions = nil, nil
	case *appsv1.DaemonSet:
		strip(&o.ObjectMeta, &o.Spec.Template)
		o.Status.Conditions = nil
	}
	return obj, nil
}

func strip(m *metav1.ObjectMeta, t *corev1.PodTemplateSpec) {
	kept := uses.ReloaderAnnotations(m.Annotations)
	maps.Copy(kept, restartAnnotations(m.Annotations))
	*m = metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, Labels: m.Labels, Annotations: kept,
	}
	annotations := uses.ReloaderAnnotations(t.Annotations)
	if turn, ok := t.Annotations[v1alpha1.AnnotationRestartTurn]; ok {
		annotations[v1alpha1.AnnotationRestartTurn] = turn
	}
	*t = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}, Spec: uses.Only(t.Spec)}
}

// workloadChanged lets pass what matters of a workload: what its pods use, its labels
// and annotations, and whether a rollout has begun or ended; not each pod on the way.
var workloadChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := workloadOf(e.ObjectOld), workloadOf(e.ObjectNew)
		before.version = after.version
		return !reflect.DeepEqual(before, after)
	},
}

// followersOf lists the WeChatTokens whose Secret a workload uses, or that want it
// restarted.
func (r *Reconciler) followersOf(ctx context.Context, obj client.Object) (requests []reconcile.Request) {
	w := workloadOf(obj)
	for _, value := range append(usedBy(obj), string(w.kind)) {
		var some v1alpha1.WeChatTokenList
		if err := r.Client.List(ctx, &some, client.InNamespace(obj.GetNamespace()), client.MatchingFields{indexFollows: value}, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "list the WeChatTokens of a workload", "kind", w.kind, "name", w.name)
			continue
		}
		for i := range some.Items {
			wt := &some.Items[i]
			if w.uses[value] != nil || slices.ContainsFunc(wt.Spec.Restart.Workloads, func(t v1alpha1.RestartTarget) bool { return selects(t, w, wt.TokenSecretName()) }) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(wt)})
			}
		}
	}
	return requests
}

func follows(obj client.Object) []string {
	wt := obj.(*v1alpha1.WeChatToken) //nolint:forcetypeassert // the index is on this kind
	values := []string{wt.TokenSecretName()}
	for _, target := range wt.Spec.Restart.Workloads {
		if watched(target) {
			values = append(values, string(target.Kind))
		}
	}
	return values
}

func usedBy(obj client.Object) []string { return slices.Sorted(maps.Keys(workloadOf(obj).uses)) }
