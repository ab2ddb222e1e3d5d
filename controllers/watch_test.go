package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"wechattoken.io/operator/api/v1alpha1"
)

// P7: our own writes of the status wake nobody. Users do.
func TestOnlyUsersWake(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*v1alpha1.WeChatToken)
		want   bool
	}{
		"Status":     {"We have written it.", func(wt *v1alpha1.WeChatToken) { wt.Status.SecretName = "shop" }, false},
		"Spec":       {"Another generation.", func(wt *v1alpha1.WeChatToken) { wt.Generation++ }, true},
		"Request":    {"A refresh is requested.", requesting("1"), true},
		"Report":     {"A token is reported.", reporting("0123456789abcdef"), true},
		"Annotation": {"It says nothing to us.", func(wt *v1alpha1.WeChatToken) { wt.Annotations = map[string]string{"a": "b"} }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before, after := weChatToken(), weChatToken()
			after.ResourceVersion = "2"
			tc.change(after)
			if got := asksForSomething.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tc.want {
				t.Errorf("%s Wakes: %t, want %t", tc.reason, got, tc.want)
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
		wt.Status.NextRefreshTime = new(metav1.NewTime(now.Add(in)))
		return wt
	}
	changed := settled(time.Hour)
	changed.Generation++
	cases := map[string]struct {
		reason string
		wt     *v1alpha1.WeChatToken
		want   priority
	}{
		"New":       {"It has no token yet.", weChatToken(), normalPriority},
		"Overdue":   {"The operator was away.", settled(-time.Hour), normalPriority},
		"Due":       {"Within the minute.", settled(50 * time.Second), normalPriority},
		"Soon":      {"After what is due.", settled(150 * time.Second), normalPriority - 2},
		"Late":      {"Not behind what controller-runtime puts last.", settled(9 * time.Hour), lowestPriority},
		"Requested": {"Somebody waits for the refresh.", settled(time.Hour, requesting("1")), normalPriority},
		"Changed":   {"Somebody has changed the spec.", changed, normalPriority},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := urgency(tc.wt, now); got != tc.want {
				t.Errorf("%s Its priority is %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}
