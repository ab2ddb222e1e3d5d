package consumers

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

const testWindow = 5 * time.Minute

// weChatToken is a WeChatToken "shop" whose Secret has the same name.
func weChatToken() *v1alpha1.WeChatToken {
	return &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
}

// podOf is a pod spec with one container.
func podOf(mods ...func(*corev1.PodSpec)) corev1.PodSpec {
	pod := corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}}
	for _, mod := range mods {
		mod(&pod)
	}
	return pod
}

func asEnv(secret string) func(*corev1.PodSpec) {
	return func(pod *corev1.PodSpec) {
		pod.Containers[0].Env = append(pod.Containers[0].Env, corev1.EnvVar{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: "access_token"},
		}})
	}
}

func asFile(secret string) func(*corev1.PodSpec) {
	return func(pod *corev1.PodSpec) {
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: secret, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}})
		pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: secret, MountPath: "/etc/" + secret})
	}
}

// asSubPath mounts the token of the Secret "shop" alone.
func asSubPath(pod *corev1.PodSpec) {
	asFile("shop")(pod)
	mount := &pod.Containers[0].VolumeMounts[len(pod.Containers[0].VolumeMounts)-1]
	mount.SubPath, mount.MountPath = "access_token", "/token"
}

// projected mounts a volume whose only source is a Secret.
func projected(secret string) func(*corev1.PodSpec) {
	return func(pod *corev1.PodSpec) {
		source := corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{source}}}})
		pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "all", MountPath: "/all"})
	}
}

// workloadFor is a workload of two replicas whose pods have these labels and this
// spec.
func workloadFor(kind v1alpha1.WorkloadKind, name string, pod corev1.PodSpec) client.Object {
	m := metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}}, Spec: pod}
	switch kind {
	case v1alpha1.KindDeployment:
		return &appsv1.Deployment{ObjectMeta: m, Spec: appsv1.DeploymentSpec{Replicas: new(int32(2)), Selector: selector, Template: template}}
	case v1alpha1.KindStatefulSet:
		return &appsv1.StatefulSet{ObjectMeta: m, Spec: appsv1.StatefulSetSpec{Replicas: new(int32(2)), Selector: selector, Template: template}}
	default:
		return &appsv1.DaemonSet{ObjectMeta: m, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}
	}
}
