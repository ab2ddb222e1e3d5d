//go:build integration

package config_test

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

// fingerprint is what the operator writes into annotations.
const fingerprint = "3f1c9a0b55d2e871"

// marks and turn are what it writes when it restarts a workload that has been restarted
// before, and restart is both.
const (
	marks   = `"metadata":{"annotations":{"restart.wechattoken.io/shop":"` + fingerprint + `@2026-11-22T10:00:00Z/1","restart.wechattoken.io/old":null}}`
	turn    = `"metadata":{"annotations":{"wechattoken.io/restart-turn":"1"}}`
	restart = `{` + marks + `,"spec":{"template":{` + turn + `}}}`
)

func consumerPodSpec() corev1.PodSpec {
	return corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{
			Name: "app", Image: "app:1",
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			Env: []corev1.EnvVar{{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{
				SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "shop-token"}, Key: "access_token"},
			}}},
			VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/etc/wechat"}},
		}},
		Volumes: []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "shop-token"}}}},
	}
}

// consumerDeployment has something of everything.
func consumerDeployment(namespace string) *appsv1.Deployment {
	labels := map[string]string{"app": "shop"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: namespace, Labels: labels, Annotations: map[string]string{"owner": "web"}},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"owner": "web"}},
				Spec:       consumerPodSpec(),
			},
		},
	}
}

// consumerPod is a pod of that Deployment.
func consumerPod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "shop-6d4b-x", Namespace: namespace, Labels: map[string]string{"app": "shop", "pod-template-hash": "6d4b"}, Annotations: map[string]string{"owner": "web"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "shop-6d4b", UID: "u", Controller: new(true)}},
		},
		Spec: consumerPodSpec(),
	}
}

// What RBAC cannot say the policies do.
func TestTheOperatorChangesNothingElseOfPodsAndWorkloads(t *testing.T) {
	t.Parallel()
	ns, admin := newNamespace(t), cluster.admin(t)
	operator := cluster.serviceAccount(t, name, name)
	// The same permissions elsewhere: who may do more by RBAC is stopped all the same.
	elsewhere := rest.CopyConfig(cluster.Config)
	elsewhere.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:another:" + name, Groups: []string{"system:masters"}}
	pod, deployment := consumerPod(ns), consumerDeployment(ns)
	pod.Annotations[v1alpha1.AnnotationTouchedFor] = "0123456789abcdef"
	deployment.Annotations[v1alpha1.AnnotationRestartPrefix+"old"] = fingerprint + "@2026-11-22T08:00:00Z/0"
	stateful := &appsv1.StatefulSet{ObjectMeta: *deployment.ObjectMeta.DeepCopy(), Spec: appsv1.StatefulSetSpec{Selector: deployment.Spec.Selector, Template: *deployment.Spec.Template.DeepCopy()}}
	daemon := &appsv1.DaemonSet{ObjectMeta: *deployment.ObjectMeta.DeepCopy(), Spec: appsv1.DaemonSetSpec{Selector: deployment.Spec.Selector, Template: *deployment.Spec.Template.DeepCopy()}}
	workloads := map[string]client.Object{"Deployment": deployment, "StatefulSet": stateful, "DaemonSet": daemon}
	for _, o := range []client.Object{pod, deployment, stateful, daemon} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	template := func(body string) string { return `{"spec":{"template":` + body + `}}` }
	const image = `"spec":{"containers":[{"name":"app","image":"evil"}]}`
	bad := map[string]string{
		"Image":              template(`{` + image + `}`),
		"ImageWithRestart":   `{` + marks + `,"spec":{"template":{` + turn + `,` + image + `}}}`,
		"Volume":             template(`{"spec":{"volumes":[{"name":"token","secret":{"secretName":"admin"}}]}}`),
		"ServiceAccount":     template(`{"spec":{"serviceAccountName":"admin"}}`),
		"TemplateLabel":      template(`{"metadata":{"labels":{"more":"1"}}}`),
		"TemplateAnnotation": template(`{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"1"}}}`),
		"AnnotationChanged":  template(`{"metadata":{"annotations":{"owner":"me"}}}`),
		"AnnotationRemoved":  template(`{"metadata":{"annotations":{"owner":null}}}`),
		"TurnAlike":          template(`{"metadata":{"annotations":{"wechattoken.io/restart-turns":"1"}}}`),
		"AnnotationAlike":    `{"metadata":{"annotations":{"restart.wechattoken.io.example.com/shop":"1"}}}`,
		"OwnAnnotation":      `{"metadata":{"annotations":{"owner":"me"}}}`,
		"Strategy":           `{"spec":{"minReadySeconds":7}}`,
		"Label":              `{"metadata":{"labels":{"more":"1"}}}`,
		"Annotation":         `{"metadata":{"annotations":{"deprecated.daemonset.template.generations":"1"}}}`,
		"MarkInTemplate":     template(`{` + marks + `}`),
		"TurnOfAWorkload":    `{` + turn + `}`,
		"Finalizer":          `{"metadata":{"finalizers":["example.com/keep"]}}`,
		"Fields":             `{"metadata":{"managedFields":[{}]}}`,
		"FieldsOfAnother":    `[{"op":"replace","path":"/metadata/managedFields/0/manager","value":"argocd-controller"}]`,
		"FieldsOfAStatus":    `[{"op":"add","path":"/metadata/managedFields/0/subresource","value":"status"}]`,
		"FieldsOfStatus":     `[{"op":"add","path":"/metadata/managedFields/0/fieldsV1/f:status","value":{"f:replicas":{}}}]`,
		"FieldsForAnother":   `[{"op":"add","path":"/metadata/managedFields/-","value":{"manager":"argocd-controller","operation":"Apply","apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{"f:app":{}}}}}}]`,
		"FieldsOfNoVersion":  `[{"op":"replace","path":"/metadata/managedFields/0/apiVersion","value":"example.com/v1"}]`,
		"MoreFields":         `[{"op":"add","path":"/metadata/managedFields/0/fieldsV1/f:spec/f:template/f:spec/f:hostNetwork","value":{}}]`,
		"FewerFields":        `[{"op":"remove","path":"/metadata/managedFields/0/fieldsV1/f:spec/f:template/f:spec/f:containers"}]`,
		"FieldsOfMetadata":   `[{"op":"remove","path":"/metadata/managedFields/0/fieldsV1/f:metadata/f:labels"}]`,
		"FieldsOfAnnotation": `[{"op":"remove","path":"/metadata/managedFields/0/fieldsV1/f:metadata/f:annotations/f:owner"}]`,
		"FieldsOfSpec":       `[{"op":"remove","path":"/metadata/managedFields/0/fieldsV1/f:spec/f:selector"}]`,
		"FieldsOfTemplate":   `[{"op":"remove","path":"/metadata/managedFields/0/fieldsV1/f:spec/f:template/f:metadata/f:labels"}]`,
		"FieldsOfTemplate's": `[{"op":"remove","path":"/metadata/managedFields/0/fieldsV1/f:spec/f:template/f:metadata/f:annotations/f:owner"}]`,
		"Large":              template(`{"metadata":{"annotations":{"wechattoken.io/restart-turn":"` + strings.Repeat("1", 100_000) + `"}}}`),
		"NoNumber":           template(`{"metadata":{"annotations":{"wechattoken.io/restart-turn":"1\n"}}}`),
		"LargeMark":          `{"metadata":{"annotations":{"restart.wechattoken.io/old":"` + strings.Repeat("0", 100_000) + `"}}}`,
		"NoFingerprint":      `{"metadata":{"annotations":{"restart.wechattoken.io/old":"` + fingerprint + `\n"}}}`,
		"NoTime":             `{"metadata":{"annotations":{"restart.wechattoken.io/old":"` + fingerprint + `/1"}}}`,
		"OneMore":            strings.Replace(restart, `,"restart.wechattoken.io/old":null`, "", 1),
		"Owner":              `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"5b1ad7a1-8a39-4dbd-a7b6-92dbb3a8e2b7"}]}}`,
	}
	badForPods := map[string]string{
		"Image":              `[{"op":"replace","path":"/spec/containers/0/image","value":"evil"}]`,
		"ImageWithTouch":     `[{"op":"replace","path":"/spec/containers/0/image","value":"evil"},{"op":"add","path":"/metadata/annotations/wechattoken.io~1touched-for","value":"` + fingerprint + `"}]`,
		"Label":              `{"metadata":{"labels":{"more":"1"}}}`,
		"LabelRemoved":       `{"metadata":{"labels":null}}`,
		"Annotation":         `{"metadata":{"annotations":{"wechattoken.io/other":"1"}}}`,
		"AnnotationChanged":  `{"metadata":{"annotations":{"owner":"me"}}}`,
		"AnnotationRemoved":  `{"metadata":{"annotations":{"owner":null}}}`,
		"AnnotationsGone":    `{"metadata":{"annotations":null}}`,
		"Finalizer":          `{"metadata":{"finalizers":["example.com/keep"]}}`,
		"OwnerGone":          `{"metadata":{"ownerReferences":null}}`,
		"Fields":             `{"metadata":{"managedFields":[{}]}}`,
		"FieldsOfAnother":    `[{"op":"replace","path":"/metadata/managedFields/0/manager","value":"argocd-controller"}]`,
		"FieldsOfAStatus":    `[{"op":"add","path":"/metadata/managedFields/0/subresource","value":"status"}]`,
		"FieldsOfStatus":     `[{"op":"add","path":"/metadata/managedFields/0/fieldsV1/f:status","value":{"f:replicas":{}}}]`,
		"FieldsForAnother":   `[{"op":"add","path":"/metadata/managedFields/-","value":{"manager":"argocd-controller","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{"f:app":{}}}}}}]`,
		"FieldsOfNoVersion":  `[{"op":"replace","path":"/metadata/managedFields/0/apiVersion","value":"example.com/v1"}]`,
		"MoreFields":         `[{"op":"add","path":"/metadata/managedFields/0/fieldsV1/f:spec/f:hostNetwork","value":{}}]`,
		"FieldsOfMetadata":   `[{"op":"remove","path":"/metadata/managedFields/0/fieldsV1/f:metadata/f:labels"}]`,
		"FieldsOfAnnotation": `[{"op":"remove","path":"/metadata/managedFields/0/fieldsV1/f:metadata/f:annotations/f:owner"}]`,
		"Large":              `{"metadata":{"annotations":{"wechattoken.io/touched-for":"` + strings.Repeat("0", 100_000) + `"}}}`,
		"NoFingerprint":      `{"metadata":{"annotations":{"wechattoken.io/touched-for":"` + fingerprint + `\n"}}}`,
		"TouchRemoved":       `{"metadata":{"annotations":{"wechattoken.io/touched-for":null}}}`,
	}
	try := func(c client.Client, o client.Object, body string) error {
		patch := merge(body)
		if body[0] == '[' {
			patch = jsonPatch(body)
		}
		return c.Patch(t.Context(), o.DeepCopyObject().(client.Object), patch, client.DryRunAll, client.FieldOwner(name))
	}
	for who, cfg := range map[string]*rest.Config{"Operator": operator, "Elsewhere": elsewhere} {
		c := clientFor(t, cfg)
		refuses := func(what string, o client.Object, body string) {
			t.Run(who+"/"+what, func(t *testing.T) {
				if err := try(c, o, body); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+name) || !strings.Contains(err.Error(), "nothing of them but") && !strings.Contains(err.Error(), "no annotation") {
					t.Errorf("got %v, want a refusal by the policy", err)
				}
			})
		}
		for kind, o := range workloads {
			if who == "Elsewhere" && kind != "Deployment" {
				continue // the same policy, and the same condition of whom it is for
			}
			for what, body := range bad {
				refuses(kind+"/"+what, o, body)
			}
			if kind != "DaemonSet" {
				refuses(kind+"/Replicas", o, `{"spec":{"replicas":0}}`)
			}
			for _, body := range []string{restart, strings.Replace(restart, `"1"`, "null", 1), `{}`} {
				if err := try(c, o, body); err != nil {
					t.Errorf("%s: %s with %s: %v", who, kind, body, err)
				}
			}
		}
		for what, body := range badForPods {
			refuses("Pod/"+what, pod, body)
		}
		for _, body := range []string{`{"metadata":{"annotations":{"wechattoken.io/touched-for":"` + fingerprint + `"}}}`, `{}`} {
			if err := try(c, pod, body); err != nil {
				t.Errorf("%s: a pod with %s: %v", who, body, err)
			}
		}
	}

	// A template that has no annotations yet, and everybody else.
	bare := consumerDeployment(ns)
	bare.Name, bare.Annotations, bare.Spec.Template.Annotations = "bare", nil, nil
	if err := admin.Create(t.Context(), bare); err != nil {
		t.Fatal(err)
	}
	if err := try(clientFor(t, operator), bare, restart); err != nil {
		t.Error(err)
	}
	for kind, o := range workloads {
		for what, body := range bad {
			if err := try(admin, o, body); err != nil {
				t.Errorf("an administrator may not %s of a %s: %v", what, kind, err)
			}
		}
	}
	for what, body := range badForPods {
		if err := try(admin, pod, body); err != nil {
			t.Errorf("an administrator may not %s of a pod: %v", what, err)
		}
	}
}

// A field has one owner or many, and of many managers the API server itself makes
// one: none of it stands in the way of a touch or a restart.
func TestNobodysFieldsStandInTheWayOfTheOperator(t *testing.T) {
	t.Parallel()
	ns, admin, operator := newNamespace(t), cluster.admin(t), clientFor(t, cluster.serviceAccount(t, name, name))
	touch := merge(`{"metadata":{"annotations":{"wechattoken.io/touched-for":"` + fingerprint + `"}}}`)
	rollOut := merge(restart)
	for _, managers := range []int{0, 1, 8, 9, 10, 13} { // of more than 10 that update the oldest are made one
		pod, shop := consumerPod(ns), consumerDeployment(ns)
		for o, patch := range map[client.Object]client.Patch{pod: touch, shop: rollOut} {
			o.SetName(fmt.Sprint("shop-", managers))
			if err := admin.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			for i := range managers {
				body := fmt.Sprintf(`{"metadata":{"annotations":{"example.com/%d":"1"}}}`, i)
				if err := admin.Patch(t.Context(), o, merge(body), client.FieldOwner(fmt.Sprint("person-", i))); err != nil {
					t.Fatal(err)
				}
			}
			if err := operator.Patch(t.Context(), o, patch, client.FieldOwner(name)); err != nil {
				t.Errorf("%T with %d managers: %v", o, managers, err)
			}
			if err := operator.Patch(t.Context(), o, patch, client.FieldOwner(name)); err != nil { // once more
				t.Errorf("%T with %d managers: %v", o, managers, err)
			}
			err := operator.Patch(t.Context(), o, merge(`{"metadata":{"managedFields":[{}]}}`), client.DryRunAll)
			if managers < 9 && !apierrors.IsForbidden(err) {
				t.Errorf("%T with %d managers: all of them wiped out: got %v, want a refusal", o, managers, err)
			}
		}
	}
	// Who applies is never made one with others.
	pod, shop := consumerPod(ns), consumerDeployment(ns)
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	shop.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("Deployment"))
	for o, patch := range map[client.Object]client.Patch{pod: touch, shop: rollOut} {
		o.SetName("applied")
		if err := admin.Patch(t.Context(), o, client.Apply, client.FieldOwner("argocd-controller")); err != nil { //nolint:staticcheck // as Argo CD does
			t.Fatal(err)
		}
		for i := range 14 {
			body := fmt.Sprintf(`{"metadata":{"annotations":{"example.com/%d":"1"}}}`, i)
			if err := admin.Patch(t.Context(), o, merge(body), client.FieldOwner(fmt.Sprint("person-", i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := operator.Patch(t.Context(), o.DeepCopyObject().(client.Object), merge(`{"metadata":{"managedFields":[{}]}}`), client.DryRunAll); !apierrors.IsForbidden(err) {
			t.Errorf("%T: what was applied is nobody's: got %v, want a refusal", o, err)
		}
		if err := operator.Patch(t.Context(), o, patch, client.FieldOwner(name)); err != nil {
			t.Errorf("%T: %v", o, err)
		}
	}
}

// A cluster that is full of pods, and a pod that is full of annotations: CEL has
// a budget.
func TestAPodFullOfAnnotationsCanBeTouched(t *testing.T) {
	ns := newNamespace(t)
	pod := consumerPod(ns)
	fill(pod.Annotations, 10)
	if err := cluster.admin(t).Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	body := `{"metadata":{"annotations":{"` + v1alpha1.AnnotationTouchedFor + `":"` + fingerprint + `"}}}`
	patchInTime(t, clientFor(t, cluster.serviceAccount(t, name, name)), pod, merge(body))
}

// A workload may have twice as many.
func TestAWorkloadFullOfAnnotationsCanBeRestarted(t *testing.T) {
	ns := newNamespace(t)
	shop := consumerDeployment(ns)
	fill(shop.Annotations, 10)
	fill(shop.Spec.Template.Annotations, 10)
	if err := cluster.admin(t).Create(t.Context(), shop); err != nil {
		t.Fatal(err)
	}
	patchInTime(t, clientFor(t, cluster.serviceAccount(t, name, name)), shop, merge(restart))
}

// fill adds as many annotations of a size as the API server takes.
func fill(annotations map[string]string, size int) {
	for i := range 250_000 / (size + 10) {
		annotations[fmt.Sprintf("a/%08d", i)] = strings.Repeat("x", size)
	}
}

// patchInTime patches what takes a processor of the API server's seconds of policies.
// After 34 s it gives up: so nothing runs beside these tests, and one on a busy
// machine is asked again.
func patchInTime(t *testing.T, c client.Client, o client.Object, patch client.Patch) {
	t.Helper()
	testcluster.Eventually(t, "the patch", func() error {
		err := c.Patch(t.Context(), o.DeepCopyObject().(client.Object), patch, client.DryRunAll)
		if err != nil && !apierrors.IsTimeout(err) {
			t.Fatal(err)
		}
		return err
	})
}
