package consumers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"wechattoken.io/operator/api/v1alpha1"
)

func TestHowFarARolloutIs(t *testing.T) {
	deployment := func(s appsv1.DeploymentStatus) client.Object {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Spec: appsv1.DeploymentSpec{Replicas: new(int32(3))}, Status: s}
	}
	statefulSet := func(s appsv1.StatefulSetStatus, mods ...func(*appsv1.StatefulSetUpdateStrategy)) client.Object {
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Spec: appsv1.StatefulSetSpec{Replicas: new(int32(3))}, Status: s}
		for _, mod := range mods {
			mod(&set.Spec.UpdateStrategy)
		}
		return set
	}
	partition := func(s *appsv1.StatefulSetUpdateStrategy) {
		s.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(1))}
	}
	onDelete := func(s *appsv1.StatefulSetUpdateStrategy) { s.Type = appsv1.OnDeleteStatefulSetStrategyType }
	daemonSet := func(s appsv1.DaemonSetStatus) client.Object {
		return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Status: s}
	}
	type state struct{ Updated, Available, Manual bool }
	cases := map[string]struct {
		reason string
		obj    client.Object
		want   state
	}{
		"DeploymentDone":        {"All is updated and available.", deployment(appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 3}), state{Updated: true, Available: true}},
		"DeploymentUnseen":      {"Its controller has not seen the new template.", deployment(appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 3}), state{}},
		"DeploymentOldLeft":     {"An old pod is left.", deployment(appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 4, UpdatedReplicas: 3, AvailableReplicas: 4}), state{}},
		"DeploymentUnavailable": {"No old pod is left, but a new one is not available.", deployment(appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 2}), state{Updated: true}},
		"DeploymentGrows":       {"It grows: no old pod is left.", deployment(appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}), state{Updated: true}},
		"DeploymentNew":         {"It has no status yet.", deployment(appsv1.DeploymentStatus{}), state{}},

		"StatefulSetDone":      {"All is updated and ready.", statefulSet(appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, ReadyReplicas: 3, CurrentRevision: "b", UpdateRevision: "b"}), state{Updated: true, Available: true}},
		"StatefulSetOldLeft":   {"An old pod is left.", statefulSet(appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 2, ReadyReplicas: 3, CurrentRevision: "a", UpdateRevision: "b"}), state{}},
		"StatefulSetUnseen":    {"Its controller has not seen the new template.", statefulSet(appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 3, UpdatedReplicas: 3, ReadyReplicas: 3, CurrentRevision: "b", UpdateRevision: "b"}), state{}},
		"StatefulSetNotReady":  {"No old pod is left, but a new one is not ready.", statefulSet(appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, ReadyReplicas: 2, CurrentRevision: "a", UpdateRevision: "b"}), state{Updated: true}},
		"StatefulSetPartition": {"A partition keeps a pod as it is.", statefulSet(appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 2, ReadyReplicas: 3, CurrentRevision: "a", UpdateRevision: "b"}, partition), state{Updated: true, Available: true, Manual: true}},
		"StatefulSetOnDelete":  {"A person deletes the pods.", statefulSet(appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, ReadyReplicas: 3, CurrentRevision: "b", UpdateRevision: "b"}, onDelete), state{Updated: true, Available: true, Manual: true}},

		"DaemonSetDone":        {"All is updated and available.", daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 2, CurrentNumberScheduled: 3, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberAvailable: 3}), state{Updated: true, Available: true}},
		"DaemonSetOldLeft":     {"An old pod is left.", daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 2, CurrentNumberScheduled: 3, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 2, NumberAvailable: 3}), state{}},
		"DaemonSetNewNode":     {"A node has come, and has no pod yet.", daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 2, CurrentNumberScheduled: 3, DesiredNumberScheduled: 4, UpdatedNumberScheduled: 3, NumberAvailable: 3}), state{Updated: true}},
		"DaemonSetUnseen":      {"Its controller has not seen the new template.", daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 1, CurrentNumberScheduled: 3, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberAvailable: 3}), state{}},
		"DaemonSetUnavailable": {"No old pod is left, but a new one is not available.", daemonSet(appsv1.DaemonSetStatus{ObservedGeneration: 2, CurrentNumberScheduled: 3, DesiredNumberScheduled: 3, UpdatedNumberScheduled: 3, NumberAvailable: 2}), state{Updated: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for where, obj := range map[string]any{"whole": tc.obj.DeepCopyObject(), "in the cache": stripped(t, tc.obj)} {
				w := workloadOf(obj.(client.Object))
				if diff := cmp.Diff(tc.want, state{w.updated, w.available, w.manual}); diff != "" {
					t.Errorf("%s %s (-want +got):\n%s", tc.reason, where, diff)
				}
			}
		})
	}
}

func stripped(t *testing.T, obj client.Object) client.Object {
	t.Helper()
	kept, err := StripWorkload(obj.DeepCopyObject())
	if err != nil {
		t.Fatal(err)
	}
	return kept.(client.Object)
}

func TestTheCacheKeepsWhatReloaderReads(t *testing.T) {
	auto := map[string]string{"reloader.stakater.com/auto": "true"}
	cases := map[string]struct {
		reason        string
		own, template map[string]string
		want          v1alpha1.Restarter
	}{
		"InNeither":  {reason: "Nobody has asked for it."},
		"InWorkload": {reason: "The workload asks for it.", own: auto, want: v1alpha1.RestarterReloader},
		"InTemplate": {reason: "The pod template asks for it.", template: auto, want: v1alpha1.RestarterReloader},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := workloadFor(v1alpha1.KindDeployment, "app", podOf(asEnv("shop"))).(*appsv1.Deployment)
			d.Annotations, d.Spec.Template.Annotations = tc.own, tc.template
			for where, obj := range map[string]client.Object{"whole": d, "in the cache": stripped(t, d)} {
				if got, _ := restarterOf(weChatToken(), workloadOf(obj), nil); got != tc.want {
					t.Errorf("%s %s: got %q, want %q", tc.reason, where, got, tc.want)
				}
			}
		})
	}
}

func TestTheCacheKeepsLittleOfAWorkload(t *testing.T) {
	for kind := range workloadKinds {
		obj := workloadFor(kind, "app", podOf(asEnv("shop"), asFile("other"), func(pod *corev1.PodSpec) {
			pod.Containers[0].Env = append(pod.Containers[0].Env, corev1.EnvVar{Name: "PASSWORD", Value: "canary"})
			pod.Containers[0].Image, pod.Containers[0].Command = "canary", []string{"canary"}
			pod.NodeSelector = map[string]string{"canary": "canary"}
		}))
		obj.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "canary", "reloader.stakater.com/auto": "true"})
		obj.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "canary"}})
		kept := stripped(t, obj)
		if text := cmp.Diff(nil, kept); len(text) == 0 || strings.Contains(text, "canary") {
			t.Errorf("%s: kept\n%s", kind, text)
		}
		if diff := cmp.Diff(workloadOf(obj), workloadOf(kept), cmp.AllowUnexported(workload{})); diff != "" {
			t.Errorf("%s: what matters (-whole +kept):\n%s", kind, diff)
		}
	}
}

// P7: of a rollout only its beginning and its end wake somebody.
func TestOnlyWhatMattersOfAWorkloadIsSeen(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*appsv1.Deployment)
		want   bool
	}{
		"Nothing":    {"A resync changes nothing.", func(*appsv1.Deployment) {}, false},
		"OnePod":     {"The rollout goes on.", func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 2 }, false},
		"Done":       {"The rollout ends.", func(d *appsv1.Deployment) { d.Status.UpdatedReplicas, d.Status.AvailableReplicas = 4, 4 }, true},
		"Use":        {"It uses the Secret no longer.", func(d *appsv1.Deployment) { d.Spec.Template.Spec = podOf() }, true},
		"Image":      {"The image matters to nobody here.", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "b" }, false},
		"Label":      {"A selector may match now.", func(d *appsv1.Deployment) { d.Labels["a"] = "b" }, true},
		"Reloader":   {"Reloader restarts it now.", func(d *appsv1.Deployment) { d.Annotations = map[string]string{"reloader.stakater.com/auto": "true"} }, true},
		"Annotation": {"It means nothing here.", func(d *appsv1.Deployment) { d.Annotations = map[string]string{"a": "b"} }, false},
		"Restart": {"Somebody has restarted it.", func(d *appsv1.Deployment) {
			d.Annotations = map[string]string{restartAnnotation("shop"): "x"}
		}, true},
		"Pause": {"A restart would wait.", func(d *appsv1.Deployment) { d.Spec.Paused = true }, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := workloadFor(v1alpha1.KindDeployment, "app", podOf(asEnv("shop"))).(*appsv1.Deployment)
			before.ResourceVersion, before.Generation = "1", 1
			before.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 4, UpdatedReplicas: 1}
			after := before.DeepCopy()
			after.ResourceVersion = "2"
			tc.change(after)
			if got := workloadChanged.Update(event.UpdateEvent{ObjectOld: stripped(t, before), ObjectNew: stripped(t, after)}); got != tc.want {
				t.Errorf("%s seen %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}
