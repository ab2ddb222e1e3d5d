package uses

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// between are the kinds that others put between themselves and their pods: a
// Deployment or a Rollout a ReplicaSet, a CronJob a Job.
var between = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet"}, {APIVersion: "batch/v1", Kind: "Job"}}

// OwnerOf follows the controllers of a pod to what a person made: the pod itself if
// nothing controls it. Only a ReplicaSet or a Job is asked for its own controller, so
// that no pod makes us ask for kinds of its choice. Where reader may not see it, or it
// is gone, it is the answer.
func OwnerOf(ctx context.Context, reader client.Reader, pod *corev1.Pod) (metav1.OwnerReference, error) {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}, nil
	}
	for _, b := range between {
		if owner.APIVersion != b.APIVersion || owner.Kind != b.Kind {
			continue
		}
		m := metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: b.APIVersion, Kind: b.Kind}}
		err := reader.Get(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: owner.Name}, &m)
		if above := metav1.GetControllerOf(&m); err == nil && m.UID == owner.UID && above != nil {
			return *above, nil
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return metav1.OwnerReference{}, err
		}
	}
	return *owner, nil
}

// KeepsOldToken reports whether running pods of the consumer never see a new token, and
// nobody restarts them. Those of a Job or CronJob end by themselves.
func KeepsOldToken(c v1alpha1.Consumer) bool {
	return Stale(c.Uses) && c.RestartedBy == "" && c.Kind != "Job" && c.Kind != "CronJob"
}
