package uses_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/uses"
)

// podOf is a pod spec with one container.
func podOf(mods ...func(*corev1.PodSpec)) corev1.PodSpec {
	pod := corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}}
	for _, mod := range mods {
		mod(&pod)
	}
	return pod
}

// asEnv takes the token of the Secret "shop".
func asEnv(pod *corev1.PodSpec) {
	pod.Containers[0].Env = append(pod.Containers[0].Env, corev1.EnvVar{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{
		SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "shop"}, Key: "access_token"},
	}})
}

func asFile(secret string) func(*corev1.PodSpec) {
	return func(pod *corev1.PodSpec) {
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: secret, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}})
		pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: secret, MountPath: "/etc/" + secret})
	}
}

// asSubPath mounts only the token of the Secret "shop".
func asSubPath(pod *corev1.PodSpec) {
	asFile("shop")(pod)
	mount := &pod.Containers[0].VolumeMounts[len(pod.Containers[0].VolumeMounts)-1]
	mount.SubPath, mount.MountPath = "access_token", "/token"
}

// initContainer makes the one container of a pod spec an init container.
func initContainer(policy *corev1.ContainerRestartPolicy) func(*corev1.PodSpec) {
	return func(pod *corev1.PodSpec) {
		c := pod.Containers[0]
		c.RestartPolicy = policy
		pod.InitContainers, pod.Containers = []corev1.Container{c}, []corev1.Container{{Name: "other"}}
	}
}

func asEnvFrom(secret string) func(*corev1.PodSpec) {
	return func(pod *corev1.PodSpec) {
		pod.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}}
	}
}

// projected mounts a volume of several sources.
func projected(secrets ...string) func(*corev1.PodSpec) {
	return func(pod *corev1.PodSpec) {
		sources := []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{}}, {ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}}}
		for _, name := range secrets {
			sources = append(sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}}})
		}
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}})
		pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "all", MountPath: "/all"})
	}
}

func optional(pod *corev1.PodSpec) {
	for _, v := range pod.Volumes {
		if v.Secret != nil {
			v.Secret.Optional = new(true)
		}
	}
	for _, e := range pod.Containers[0].Env {
		e.ValueFrom.SecretKeyRef.Optional = new(true)
	}
	for _, e := range pod.Containers[0].EnvFrom {
		e.SecretRef.Optional = new(true)
	}
}

func TestUsesInAPod(t *testing.T) {
	t.Parallel()
	const file, subPath, env = v1alpha1.UseFile, v1alpha1.UseSubPath, v1alpha1.UseEnv
	type found map[string][]v1alpha1.SecretUse
	cases := map[string]struct {
		reason string
		pod    corev1.PodSpec
		want   found
	}{
		"None":    {"There is nothing to find.", podOf(), nil},
		"File":    {"A volume that is mounted as a whole follows.", podOf(asFile("shop")), found{"shop": {file}}},
		"SubPath": {"A part of a volume does not.", podOf(asSubPath), found{"shop": {subPath}}},
		"SubPathExpr": {"Nor does one whose name is computed.", podOf(asFile("shop"), func(pod *corev1.PodSpec) {
			pod.Containers[0].VolumeMounts[0].SubPathExpr = "$(KEY)"
		}), found{"shop": {subPath}}},
		"Unmounted": {"A volume that no container mounts is no use.", podOf(asFile("shop"), func(pod *corev1.PodSpec) {
			pod.Containers[0].VolumeMounts = nil
		}), nil},
		"BothWays": {"One volume may be mounted twice.", podOf(asFile("shop"), func(pod *corev1.PodSpec) {
			pod.Containers[0].VolumeMounts = append(pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "shop", SubPath: "access_token"})
		}), found{"shop": {file, subPath}}},
		"Projected":        {"A projected volume may hold several Secrets.", podOf(projected("shop", "other")), found{"shop": {file}, "other": {file}}},
		"ProjectedNoOther": {"And ones without any.", podOf(projected()), nil},
		"ProjectedSubPath": {"Its parts do not follow either.", podOf(projected("shop"), func(pod *corev1.PodSpec) {
			pod.Containers[0].VolumeMounts[0].SubPath = "access_token"
		}), found{"shop": {subPath}}},
		"Env":      {"An environment variable does not change.", podOf(asEnv), found{"shop": {env}}},
		"EnvFrom":  {"Nor do all of them.", podOf(asEnvFrom("shop")), found{"shop": {env}}},
		"EnvTwice": {"A use counts once.", podOf(asEnv, asEnv, asEnvFrom("shop")), found{"shop": {env}}},
		"EnvOfOthers": {"Other variables do not count.", podOf(func(pod *corev1.PodSpec) {
			pod.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "shop"}, {Name: "B", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "shop"}}}}
			pod.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "shop"}}}}
		}), nil},
		"All":           {"The uses come in one order.", podOf(asEnv, asFile("shop"), projected("shop"), asEnvFrom("other")), found{"shop": {file, env}, "other": {env}}},
		"Optional":      {"An optional reference is one.", podOf(asFile("shop"), asEnv, asEnvFrom("other"), optional), found{"shop": {file, env}, "other": {env}}},
		"Sidecar":       {"A sidecar runs as long as the pod does.", podOf(asEnv, asFile("other"), initContainer(new(corev1.ContainerRestartPolicyAlways))), found{"shop": {env}, "other": {file}}},
		"InitContainer": {"A plain one ends before the token changes.", podOf(asEnv, asFile("shop"), initContainer(nil)), nil},
		"InitOnFailure": {"Also one that is tried again.", podOf(asEnv, initContainer(new(corev1.ContainerRestartPolicyOnFailure))), nil},
		"SecondContainer": {"Each container counts.", podOf(asEnv, func(pod *corev1.PodSpec) {
			pod.Containers = append([]corev1.Container{{Name: "first"}}, pod.Containers...)
		}), found{"shop": {env}}},
		"ImagePullSecrets": {"They hold no token.", podOf(func(pod *corev1.PodSpec) { pod.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "shop"}} }), nil},
		"NoName":           {"The API server refuses a reference without a name.", podOf(asEnvFrom("")), nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, found(uses.In(&tc.pod)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			kept := uses.Only(tc.pod)
			if diff := cmp.Diff(tc.want, found(uses.In(&kept)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s In the cache (-want +got):\n%s", tc.reason, diff)
			}
			again := uses.Only(kept)
			if diff := cmp.Diff(kept, again); diff != "" {
				t.Errorf("stripped twice (-once +twice):\n%s", diff)
			}
		})
	}
}
