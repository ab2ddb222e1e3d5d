package controllers

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"wechattoken.io/operator/api/v1alpha1"
)

// P7: our own writes of the status wake nobody.
func TestStatusWritesPassUnseen(t *testing.T) {
	before, after := weChatToken(), weChatToken()
	after.ResourceVersion, after.Status.SecretName = "2", "shop"
	if asksForSomething.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) {
		t.Error("a write of the status wakes the object")
	}
	bumped("1")(after)
	if !asksForSomething.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) {
		t.Error("a bump wakes nobody")
	}
}

// P7: of a roll only its beginning and its end wake somebody.
func TestOnlyWhatMattersOfAWorkloadIsSeen(t *testing.T) {
	base := func() *appsv1.Deployment {
		d := workloadFor(v1alpha1.KindDeployment, "app", podOf(asEnv("shop"))).(*appsv1.Deployment)
		d.ResourceVersion, d.Generation = "1", 1
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 4, UpdatedReplicas: 1}
		return d
	}
	cases := map[string]struct {
		change func(*appsv1.Deployment)
		want   bool
	}{
		"Nothing":    {func(*appsv1.Deployment) {}, false},
		"OnePod":     {func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 2 }, false},
		"Done":       {func(d *appsv1.Deployment) { d.Status.UpdatedReplicas, d.Status.AvailableReplicas = 4, 4 }, true},
		"Use":        {func(d *appsv1.Deployment) { d.Spec.Template.Spec = podOf() }, true},
		"Image":      {func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "b" }, false},
		"Label":      {func(d *appsv1.Deployment) { d.Labels["a"] = "b" }, true},
		"Reloader":   {func(d *appsv1.Deployment) { d.Annotations = map[string]string{"reloader.stakater.com/auto": "true"} }, true},
		"Annotation": {func(d *appsv1.Deployment) { d.Annotations = map[string]string{"a": "b"} }, false},
		"Restart": {func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations = map[string]string{restartAnnotation("shop"): "x"}
		}, true},
		"Pause": {func(d *appsv1.Deployment) { d.Spec.Paused = true }, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before, after := base(), base()
			after.ResourceVersion = "2"
			tc.change(after)
			if got := workloadChanged.Update(event.UpdateEvent{ObjectOld: stripped(t, before), ObjectNew: stripped(t, after)}); got != tc.want {
				t.Errorf("seen %t, want %t", got, tc.want)
			}
		})
	}
}

// At the start those come first that may want something.
func TestTheUrgentComeFirst(t *testing.T) {
	now := time.Now()
	settled := func(in time.Duration, mods ...func(*v1alpha1.WeChatToken)) *v1alpha1.WeChatToken {
		wt := weChatToken(mods...)
		wt.Status.ObservedGeneration = wt.Generation
		wt.Status.RefreshTime = new(metav1.NewTime(now.Add(in)))
		return wt
	}
	changed := settled(time.Hour)
	changed.Generation++
	cases := map[string]struct {
		reason string
		wt     *v1alpha1.WeChatToken
		want   priority
	}{
		"New":     {"It has no token yet.", weChatToken(), usual},
		"Overdue": {"The operator was away.", settled(-time.Hour), usual},
		"Due":     {"Within the minute.", settled(50 * time.Second), usual},
		"Soon":    {"After what is due.", settled(150 * time.Second), usual - 2},
		"Late":    {"Not behind what controller-runtime puts last.", settled(9 * time.Hour), least},
		"Bumped":  {"Somebody waits for it.", settled(time.Hour, bumped("1")), usual},
		"Changed": {"Somebody has changed the spec.", changed, usual},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := urgency(tc.wt, now); got != tc.want {
				t.Errorf("%s Its priority is %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}
