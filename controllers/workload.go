package controllers

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/uses"
)

// workload is what matters here of a Deployment, StatefulSet or DaemonSet. Two
// that are equal but for their version need nothing different.
type workload struct {
	kind       v1alpha1.WorkloadKind
	name       string
	uid        types.UID
	version    string
	created    time.Time
	generation int64

	labels      map[string]string
	annotations map[string]string // those of Reloader
	inTemplate  map[string]string // those of Reloader, and ours, on the pod template
	selector    *metav1.LabelSelector
	uses        map[string][]v1alpha1.SecretUse // by the name of the Secret

	paused   bool
	onDelete bool
	byHand   bool // a roll leaves pods as they are: updateStrategy OnDelete, or a partition
	rolled   bool // no pod of an earlier template is left
	serving  bool // and all pods are there and available: the last roll is finished
}

// workloadKinds are the kinds that are watched.
func workloadKinds() map[v1alpha1.WorkloadKind]client.Object {
	return map[v1alpha1.WorkloadKind]client.Object{
		v1alpha1.KindDeployment:  &appsv1.Deployment{},
		v1alpha1.KindStatefulSet: &appsv1.StatefulSet{},
		v1alpha1.KindDaemonSet:   &appsv1.DaemonSet{},
	}
}

// workloadOf reads a workload. A roll is finished when kubectl rollout status
// says so (k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go).
func workloadOf(obj client.Object) *workload {
	w := &workload{
		name:        obj.GetName(),
		uid:         obj.GetUID(),
		version:     obj.GetResourceVersion(),
		created:     obj.GetCreationTimestamp().Time,
		generation:  obj.GetGeneration(),
		labels:      obj.GetLabels(),
		annotations: uses.ReloaderAnnotations(obj.GetAnnotations()),
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		w.kind = v1alpha1.KindDeployment
		w.template(o.Spec.Selector, o.Spec.Template)
		w.paused = o.Spec.Paused
		s := o.Status
		w.rolled = s.ObservedGeneration >= o.Generation && s.UpdatedReplicas >= s.Replicas
		w.serving = w.rolled && s.UpdatedReplicas >= replicas(o.Spec.Replicas) && s.AvailableReplicas >= s.UpdatedReplicas
	case *appsv1.StatefulSet:
		w.kind = v1alpha1.KindStatefulSet
		w.template(o.Spec.Selector, o.Spec.Template)
		w.onDelete = o.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType
		s, total, kept := o.Status, replicas(o.Spec.Replicas), int32(0)
		if rolling := o.Spec.UpdateStrategy.RollingUpdate; rolling != nil {
			kept = min(replicas(cmp.Or(rolling.Partition, new(int32))), total)
		}
		w.byHand = w.onDelete || kept > 0
		w.rolled = s.ObservedGeneration >= o.Generation && s.UpdatedReplicas >= s.Replicas-kept
		w.serving = w.rolled && s.UpdatedReplicas >= total-kept && s.ReadyReplicas >= total && (kept > 0 || s.UpdateRevision == s.CurrentRevision)
	case *appsv1.DaemonSet:
		w.kind = v1alpha1.KindDaemonSet
		w.template(o.Spec.Selector, o.Spec.Template)
		w.onDelete = o.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType
		w.byHand = w.onDelete
		s := o.Status
		w.rolled = s.ObservedGeneration >= o.Generation && s.UpdatedNumberScheduled >= s.CurrentNumberScheduled
		w.serving = w.rolled && s.UpdatedNumberScheduled >= s.DesiredNumberScheduled && s.NumberAvailable >= s.DesiredNumberScheduled
	}
	return w
}

// replicas is a number of replicas that is 1 when it is left out.
func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func (w *workload) template(selector *metav1.LabelSelector, t corev1.PodTemplateSpec) {
	w.selector = selector
	w.inTemplate = templateAnnotations(t.Annotations)
	w.uses = uses.In(&t.Spec)
}

// templateAnnotations keeps those annotations of a pod template that Reloader
// reads, and ours.
func templateAnnotations(annotations map[string]string) map[string]string {
	kept := uses.ReloaderAnnotations(annotations)
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
// belong to a ReplicaSet, which is called as the Deployment with the hash of the
// template behind it.
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

// StripWorkload is the cache transform for workloads: it keeps what workloadOf
// reads. A cluster has many that use no token.
func StripWorkload(obj any) (any, error) {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		stripMeta(&o.ObjectMeta)
		s := o.Status
		o.Spec = appsv1.DeploymentSpec{Replicas: o.Spec.Replicas, Selector: o.Spec.Selector, Template: stripTemplate(o.Spec.Template), Paused: o.Spec.Paused}
		o.Status = appsv1.DeploymentStatus{ObservedGeneration: s.ObservedGeneration, Replicas: s.Replicas, UpdatedReplicas: s.UpdatedReplicas, AvailableReplicas: s.AvailableReplicas}
	case *appsv1.StatefulSet:
		stripMeta(&o.ObjectMeta)
		s := o.Status
		o.Spec = appsv1.StatefulSetSpec{Replicas: o.Spec.Replicas, Selector: o.Spec.Selector, Template: stripTemplate(o.Spec.Template), UpdateStrategy: o.Spec.UpdateStrategy}
		o.Status = appsv1.StatefulSetStatus{
			ObservedGeneration: s.ObservedGeneration, Replicas: s.Replicas, ReadyReplicas: s.ReadyReplicas,
			UpdatedReplicas: s.UpdatedReplicas, CurrentRevision: s.CurrentRevision, UpdateRevision: s.UpdateRevision,
		}
	case *appsv1.DaemonSet:
		stripMeta(&o.ObjectMeta)
		s := o.Status
		o.Spec = appsv1.DaemonSetSpec{Selector: o.Spec.Selector, Template: stripTemplate(o.Spec.Template), UpdateStrategy: o.Spec.UpdateStrategy}
		o.Status = appsv1.DaemonSetStatus{
			ObservedGeneration: s.ObservedGeneration, CurrentNumberScheduled: s.CurrentNumberScheduled,
			DesiredNumberScheduled: s.DesiredNumberScheduled, UpdatedNumberScheduled: s.UpdatedNumberScheduled, NumberAvailable: s.NumberAvailable,
		}
	}
	return obj, nil
}

func stripMeta(m *metav1.ObjectMeta) {
	*m = metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, Labels: m.Labels, Annotations: uses.ReloaderAnnotations(m.Annotations),
	}
}

func stripTemplate(t corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: templateAnnotations(t.Annotations)}, Spec: uses.Only(t.Spec)}
}
