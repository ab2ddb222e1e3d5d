package controllers

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

const (
	testAppID     = "wx0123456789abcdef"
	testAppSecret = "canary0secret0canary0secret0cana"
	wrongSecret   = "canary0wrong0secret0canary0wrong"
	testWindow    = 5 * time.Minute
)

// weChatToken is a WeChatToken "shop" that reads the Secret "shop-app".
func weChatToken(mods ...func(*v1alpha1.WeChatToken)) *v1alpha1.WeChatToken {
	wt := &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: v1alpha1.WeChatTokenSpec{
			AppID:        testAppID,
			AppSecretRef: v1alpha1.AppSecretReference{Name: "shop-app"},
			Mode:         v1alpha1.ModeStable,
		},
	}
	for _, mod := range mods {
		mod(wt)
	}
	return wt
}

func classic(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = v1alpha1.ModeClassic }

func suspendedSpec(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = true }

func named(name string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Name = name }
}

func writing(secret string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Secret = &v1alpha1.TokenSecret{Name: secret} }
}

func requesting(value string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) {
		metav1.SetMetaDataAnnotation(&wt.ObjectMeta, v1alpha1.AnnotationRefreshRequestedAt, value)
	}
}

// appSecret is the Secret "shop-app".
func appSecret(value string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "shop-app"},
		Data:       map[string][]byte{"appsecret": []byte(value)},
	}
}

func setAppSecret(value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Data = map[string][]byte{"appsecret": []byte(value)} }
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

func wanting(types ...v1alpha1.TicketType) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Tickets = types }
}

func bothTickets(wt *v1alpha1.WeChatToken) {
	wanting(v1alpha1.TicketJSAPI, v1alpha1.TicketWxCard)(wt)
}
