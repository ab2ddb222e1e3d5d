package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/uses"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestBudgetIsWhatIsLeft(t *testing.T) {
	times := func(n int, first time.Time) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprint(first.Add(time.Duration(i)*time.Minute).Unix()))
		}
		return strings.Join(all, ",")
	}
	cases := map[string]struct {
		reason      string
		mode        v1alpha1.Mode
		annotations map[string]string
		want        budget
	}{
		"Fresh":     {"Nothing was spent.", v1alpha1.ModeStable, nil, budget{forced: 20}},
		"Some":      {"What was spent is gone.", v1alpha1.ModeStable, map[string]string{v1alpha1.AnnotationForcedCalls: times(3, noon.Add(-time.Hour))}, budget{forced: 17}},
		"Yesterday": {"After 24 hours it is back.", v1alpha1.ModeStable, map[string]string{v1alpha1.AnnotationForcedCalls: times(3, noon.Add(-25*time.Hour))}, budget{forced: 20}},
		"UsedUp": {
			"The next one is possible when the first is 24 hours old.", v1alpha1.ModeStable,
			map[string]string{v1alpha1.AnnotationForcedCalls: times(20, noon.Add(-time.Hour))}, budget{next: noon.Add(23 * time.Hour)},
		},
		"Damaged":       {"What is no number does not count.", v1alpha1.ModeStable, map[string]string{v1alpha1.AnnotationForcedCalls: "x,," + times(1, noon)}, budget{forced: 19}},
		"Classic":       {"Of a day 200 calls are not for forced refreshes.", v1alpha1.ModeClassic, map[string]string{v1alpha1.AnnotationClassicCalls: "2026-11-22 37"}, budget{forced: 1763, calls: 1963, next: time.Date(2026, 11, 23, 0, 0, 0, 0, beijing)}},
		"ClassicBefore": {"The day begins in Beijing.", v1alpha1.ModeClassic, map[string]string{v1alpha1.AnnotationClassicCalls: "2026-11-21 37"}, budget{forced: 1800, calls: 2000, next: time.Date(2026, 11, 23, 0, 0, 0, 0, beijing)}},
		"ClassicUsedUp": {"There is no less than none.", v1alpha1.ModeClassic, map[string]string{v1alpha1.AnnotationClassicCalls: "2026-11-22 2001"}, budget{next: time.Date(2026, 11, 23, 0, 0, 0, 0, beijing)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := budgetIn(tc.annotations, tc.mode, noon)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(budget{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// The operator asks the same function. The plugin had rules of its own, which
// took every annotation of Reloader for a restart.
func TestReloaderRestartsWhatTheOperatorSays(t *testing.T) {
	const (
		auto    = "reloader.stakater.com/auto"
		search  = "reloader.stakater.com/search"
		match   = "reloader.stakater.com/match"
		ignore  = "reloader.stakater.com/ignore"
		reload  = "secret.reloader.stakater.com/reload"
		exclude = "secrets.exclude.reloader.stakater.com/reload"
	)
	type annotations map[string]string
	cases := map[string]struct {
		reason                        string
		own, template, stored, inSpec annotations
		want                          v1alpha1.Restarter
	}{
		"None":           {reason: "Nobody has asked for it."},
		"Auto":           {reason: "Reloader restarts what uses the Secret.", own: annotations{auto: "true"}, want: v1alpha1.RestarterReloader},
		"AutoOff":        {reason: "auto is off.", own: annotations{auto: "false"}},
		"ConfigMapsOnly": {reason: "Reloader looks at ConfigMaps only.", own: annotations{"configmap.reloader.stakater.com/auto": "true"}},
		"Template":       {reason: "The pod template counts if the workload has none.", template: annotations{auto: "true"}, want: v1alpha1.RestarterReloader},
		"TemplateHidden": {reason: "The workload comes before its pod template.", own: annotations{auto: "false"}, template: annotations{auto: "true"}},
		"Named":          {reason: "It names this Secret.", own: annotations{reload: "other,shop-token"}, want: v1alpha1.RestarterReloader},
		"NamedOther":     {reason: "It names another Secret.", own: annotations{reload: "other-token"}},
		"Excluded":       {reason: "All Secrets but this one.", own: annotations{auto: "true", exclude: "shop-token"}},
		"ExcludedOther":  {reason: "All Secrets but another one.", own: annotations{auto: "true", exclude: "other-token"}, want: v1alpha1.RestarterReloader},
		"SearchMatch":    {reason: "The Secret has what Reloader searches for.", own: annotations{search: "true"}, stored: annotations{match: "true"}, want: v1alpha1.RestarterReloader},
		"SearchSpec":     {reason: "The Secret gets it from the spec.", own: annotations{search: "true"}, inSpec: annotations{match: "true"}, want: v1alpha1.RestarterReloader},
		"SearchNoMatch":  {reason: "The Secret does not have it.", own: annotations{search: "true"}},
		"Ignored":        {reason: "Reloader ignores the Secret.", own: annotations{auto: "true"}, stored: annotations{ignore: "true"}},
		"IgnoredSpec":    {reason: "Reloader ignores it after the next write.", own: annotations{auto: "true"}, inSpec: annotations{ignore: "true"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := deployment("worker", "shop-token", true)
			d.Annotations, d.Spec.Template.Annotations = tc.own, tc.template
			wt := &v1alpha1.WeChatToken{Spec: v1alpha1.WeChatTokenSpec{Secret: &v1alpha1.TokenSecret{Name: "shop-token", Annotations: map[string]v1alpha1.AnnotationValue{}}}}
			for k, v := range tc.inSpec {
				wt.Spec.Secret.Annotations[k] = v1alpha1.AnnotationValue(v)
			}
			got := using([]user{userOf(v1alpha1.KindDeployment, &d.ObjectMeta, &d.Spec.Template)}, wt.TokenSecretName(), uses.SecretAnnotations(wt, tc.stored))
			want := []v1alpha1.Consumer{{Kind: v1alpha1.KindDeployment, Name: "worker", Uses: []v1alpha1.SecretUse{v1alpha1.UseEnv}, RestartedBy: tc.want}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTheClockAllowsForWholeSeconds(t *testing.T) {
	cases := map[string]struct {
		reason           string
		start, end, date time.Duration
		want             time.Duration
	}{
		"Same":   {"A Date is cut off.", 900 * time.Millisecond, 950 * time.Millisecond, 0, 0},
		"Slow":   {"An answer may take its time.", 0, 10 * time.Second, 5 * time.Second, 0},
		"Behind": {"It was answered before it ended here.", 0, time.Second, time.Minute, -59 * time.Second},
		"Ahead":  {"It was answered before it began here.", time.Minute, time.Minute + time.Second, 0, 59 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var c clock
			c.set(noon.Add(tc.start), noon.Add(tc.end), noon.Add(tc.date))
			if got, known := c.get(); got != tc.want || !known {
				t.Errorf("%s got %s, %t, want %s", tc.reason, got, known, tc.want)
			}
		})
	}
}

func TestFlagsSayWhoseOperatorItIs(t *testing.T) {
	of := func(args ...string) flags {
		d := &appsv1.Deployment{}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Args: args}}
		return flagsOf(d)
	}
	web := &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Labels: map[string]string{"shard": "a"}}}
	cases := map[string]struct {
		args []string
		want bool
	}{
		"All":            {nil, true},
		"Namespace":      {[]string{"--namespaces=shop,web"}, true},
		"OtherNamespace": {[]string{"--namespaces", "shop"}, false},
		"Selector":       {[]string{"-selector=shard=a"}, true},
		"OtherSelector":  {[]string{"--selector=shard notin (a)"}, false},
		"Both":           {[]string{"--namespaces=web", "--selector=shard=b"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := of(tc.args...).worksOn(web); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
	f := of("--consumers", "--leader-elect=false", "--wechat-url=http://example.com")
	if !f.consumers || !f.alone || f.weChat != "http://example.com" {
		t.Errorf("got %+v", f)
	}
}

func TestEachFieldOfTheKindIsLookedFor(t *testing.T) {
	all := missingFields(&schema{})
	if diff := cmp.Diff([]string{"spec", "status"}, all); diff != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
	deep := missingFields(&schema{Properties: map[string]*schema{
		"spec":   {Properties: map[string]*schema{"appSecretRef": {}}},
		"status": {Properties: map[string]*schema{"conditions": {Items: &schema{}}, "consumers": {Items: &schema{}}}},
	}})
	for _, want := range []string{"spec.appID", "spec.appSecretRef.key", "status.consumers.restartedBy", "status.lastError"} {
		if !slices.Contains(deep, want) {
			t.Errorf("%s is not missed in %v", want, deep)
		}
	}
}

// When a wait ends, and with what.
func TestWaitEndsWhereNothingIsToBeExpected(t *testing.T) {
	deferred := v1alpha1.ReasonRefreshDeferred
	cases := map[string]struct {
		reason  string
		before  string // the reason of Ready before it was asked
		now     string
		stalled bool
		after   time.Duration
		handled bool
		done    bool
		code    int // of the end; 0 to go on
	}{
		"Done":           {reason: "The echo is the end.", before: v1alpha1.ReasonTokenLive, now: deferred, handled: true, done: true},
		"Deferred":       {reason: "WeChat's 30 s pass.", before: v1alpha1.ReasonTokenLive, now: deferred, after: time.Minute},
		"Exhausted":      {reason: "A day is too long.", before: v1alpha1.ReasonTokenLive, now: v1alpha1.ReasonRefreshBudgetExhausted, after: settle, code: exitLimit},
		"ExhaustedStill": {reason: "It may be said of an earlier request, for a moment.", before: v1alpha1.ReasonRefreshBudgetExhausted, now: v1alpha1.ReasonRefreshBudgetExhausted},
		"Suspended":      {reason: "Nobody works on it.", before: v1alpha1.ReasonSuspended, now: v1alpha1.ReasonSuspended, code: exitNo},
		"Refused":        {reason: "WeChat allows no more.", before: v1alpha1.ReasonTokenLive, now: v1alpha1.ReasonRefreshRefused, code: exitLimit},
		"NewlyStalled":   {reason: "A person must act.", before: v1alpha1.ReasonTokenLive, now: v1alpha1.ReasonIPNotAllowed, stalled: true, code: exitNo},
		"StalledBefore":  {reason: "The operator tries again for the request.", before: v1alpha1.ReasonIPNotAllowed, now: v1alpha1.ReasonIPNotAllowed, stalled: true, after: time.Minute},
		"NoAppSecret":    {reason: "There is nothing to try.", before: v1alpha1.ReasonAppSecretMissing, now: v1alpha1.ReasonAppSecretMissing, stalled: true, after: settle, code: exitNo},
		"Unavailable":    {reason: "WeChat may be back soon.", before: v1alpha1.ReasonTokenLive, now: v1alpha1.ReasonWeChatUnavailable, after: time.Minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := &asked{request: "monday", ready: metav1.Condition{Reason: tc.before}, at: noon}
			wt := &v1alpha1.WeChatToken{}
			wt.Annotations = map[string]string{v1alpha1.AnnotationRefreshRequestedAt: "monday"}
			wt.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: tc.now}}
			if tc.stalled {
				wt.Status.Conditions = append(wt.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue})
			}
			if tc.handled {
				wt.Status.LastHandledRefreshAt = "monday"
			}
			got := a.look(wt, noon.Add(tc.after))
			code := 0
			if e, ended := errors.AsType[*exit](got.stop); ended {
				code = e.code
			}
			if got.done != tc.done || code != tc.code {
				t.Errorf("%s got done %t, code %d: %v", tc.reason, got.done, code, got.stop)
			}
		})
	}
}

// Somebody who asks after us is answered by a token that answers us, too.
func TestALaterRequestOfSomebodyElseAnswersOurs(t *testing.T) {
	a := &asked{request: "monday", at: noon}
	wt := &v1alpha1.WeChatToken{}
	wt.Annotations = map[string]string{v1alpha1.AnnotationRefreshRequestedAt: "tuesday"}
	if a.look(wt, noon).done {
		t.Error("it is done before anything was handled")
	}
	wt.Status.LastHandledRefreshAt = "tuesday"
	if !a.look(wt, noon).done {
		t.Error("it is not done")
	}
}
