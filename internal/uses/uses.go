// Package uses says which Secrets a pod uses, whether its containers see a change
// of them, and what Stakater's Reloader restarts. The operator asks it about
// workloads, and so does the plugin where the operator does not look after them:
// both give the same answer.
package uses

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

// In lists the Secrets that the containers of a pod use, and how: as a volume
// that is mounted as a whole, which follows a change; or through subPath or as
// env, which do not
// (https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets).
//
// A plain init container ends before the token changes, so its uses do not count.
// Those of a sidecar, an init container with restartPolicy Always, do. A volume
// that no container mounts does not count.
func In(pod *corev1.PodSpec) map[string][]v1alpha1.SecretUse {
	volumes := map[string][]string{} // names of Secrets by volume
	for i := range pod.Volumes {
		volumes[pod.Volumes[i].Name] = secretsOfVolume(&pod.Volumes[i])
	}
	found := map[string][]v1alpha1.SecretUse{}
	use := func(secret string, how v1alpha1.SecretUse) {
		if secret != "" && !slices.Contains(found[secret], how) {
			found[secret] = append(found[secret], how)
		}
	}
	for _, c := range lasting(pod) {
		for _, m := range c.VolumeMounts {
			how := v1alpha1.UseFile
			if m.SubPath != "" || m.SubPathExpr != "" {
				how = v1alpha1.UseSubPath
			}
			for _, secret := range volumes[m.Name] {
				use(secret, how)
			}
		}
		for _, secret := range secretsOfEnv(&c) {
			use(secret, v1alpha1.UseEnv)
		}
	}
	order := []v1alpha1.SecretUse{v1alpha1.UseFile, v1alpha1.UseSubPath, v1alpha1.UseEnv}
	for _, hows := range found {
		slices.SortFunc(hows, func(a, b v1alpha1.SecretUse) int { return slices.Index(order, a) - slices.Index(order, b) })
	}
	return found
}

// lasting returns the containers that run as long as the pod does.
func lasting(pod *corev1.PodSpec) []corev1.Container {
	all := slices.Clone(pod.Containers)
	for _, c := range pod.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			all = append(all, c)
		}
	}
	return all
}

func secretsOfVolume(v *corev1.Volume) []string {
	var names []string
	if v.Secret != nil {
		names = append(names, v.Secret.SecretName)
	}
	if v.Projected != nil {
		for _, source := range v.Projected.Sources {
			if source.Secret != nil {
				names = append(names, source.Secret.Name)
			}
		}
	}
	return names
}

func secretsOfEnv(c *corev1.Container) []string {
	var names []string
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			names = append(names, e.ValueFrom.SecretKeyRef.Name)
		}
	}
	for _, e := range c.EnvFrom {
		if e.SecretRef != nil {
			names = append(names, e.SecretRef.Name)
		}
	}
	return names
}

// Stale reports whether a running container with these uses never sees a new
// token.
func Stale(uses []v1alpha1.SecretUse) bool {
	return slices.Contains(uses, v1alpha1.UseEnv) || slices.Contains(uses, v1alpha1.UseSubPath)
}

// Only keeps what In reads of a pod: a cache holds many pods that use no token.
func Only(pod corev1.PodSpec) corev1.PodSpec {
	var kept corev1.PodSpec
	mounted := map[string]bool{}
	for _, v := range pod.Volumes {
		var sources []corev1.VolumeProjection
		for _, name := range secretsOfVolume(&v) {
			mounted[v.Name] = true
			sources = append(sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}}})
		}
		if mounted[v.Name] {
			kept.Volumes = append(kept.Volumes, corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}})
		}
	}
	for _, c := range lasting(&pod) {
		var k corev1.Container
		for _, m := range c.VolumeMounts {
			if mounted[m.Name] {
				k.VolumeMounts = append(k.VolumeMounts, corev1.VolumeMount{Name: m.Name, SubPath: m.SubPath, SubPathExpr: m.SubPathExpr})
			}
		}
		for _, name := range secretsOfEnv(&c) {
			k.EnvFrom = append(k.EnvFrom, corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}})
		}
		kept.Containers = append(kept.Containers, k)
	}
	return kept
}
