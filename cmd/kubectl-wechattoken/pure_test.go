package main

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/uses"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// spending is the WeChatToken shop and what is stored of its budget.
func spending(mode v1alpha1.Mode, spent budget.Spent) (*v1alpha1.WeChatToken, *metav1.PartialObjectMetadata) {
	wt := &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Name: "shop", UID: "uid"}, Spec: v1alpha1.WeChatTokenSpec{AppID: "wx0123456789abcdef", Mode: mode}}
	wt.Status.TokenFingerprint = record.Fingerprint("98_token")
	r := record.Record{
		Token: record.Token{Value: "98_token", AppID: wt.Spec.AppID, Mode: mode, ObtainedAt: noon, ExpiresAt: noon.Add(2 * time.Hour)},
		Spent: spent,
	}
	owner := metav1.OwnerReference{UID: wt.UID, Controller: new(true)}
	return wt, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Annotations:     record.Render(wt, r, record.NewKey("0123456789abcdef0123456789abcdef")).Annotations,
		OwnerReferences: []metav1.OwnerReference{owner},
	}}
}

// forced has spent n forced refreshes, a minute apart, and the first of them an hour
// ago.
func forced(n int) budget.Spent {
	var spent budget.Spent
	for i := range n {
		spent.Forced = append(spent.Forced, noon.Add(-time.Hour+time.Duration(i)*time.Minute))
	}
	return spent
}

func called(n int, day string) budget.Spent {
	return budget.Spent{Classic: budget.Calls{Day: day, Calls: n}}
}

func TestTheBudgetIsWhatIsLeft(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		mode   v1alpha1.Mode
		spent  budget.Spent
		level  level
		text   string
	}{
		"Fresh":          {"Nothing was spent.", v1alpha1.ModeStable, budget.Spent{}, pass, "20 of 20 forced refreshes of 24 hours are left"},
		"Some":           {"What was spent is gone.", v1alpha1.ModeStable, forced(3), pass, "17 of 20"},
		"Few":            {"There is time to find who spends them.", v1alpha1.ModeStable, forced(15), warn, "5 of 20 forced refreshes of 24 hours are left: find who changes"},
		"UsedUp":         {"The next one is possible when the first is 24 hours old.", v1alpha1.ModeStable, forced(20), fail, "0 of 20 forced refreshes of 24 hours are left; the next one is possible at 2026-11-23T11:00:00Z"},
		"Classic":        {"All calls count.", v1alpha1.ModeClassic, called(37, "2026-11-22"), pass, "1963 of 2000 calls of the day are left"},
		"ClassicBefore":  {"The day begins in Beijing.", v1alpha1.ModeClassic, called(37, "2026-11-21"), pass, "2000 of 2000"},
		"ClassicForced":  {"200 calls are not for forced refreshes.", v1alpha1.ModeClassic, called(1800, "2026-11-22"), fail, "200 of 2000 calls of the day are left; the next one is possible at 2026-11-22T16:00:00Z"},
		"ClassicUsedUp":  {"There is no token for the rest of the day.", v1alpha1.ModeClassic, called(2000, "2026-11-22"), fail, "0 of 2000 calls of the day are left, until 2026-11-22T16:00:00Z"},
		"ClassicTooMany": {"Fewer than none are none.", v1alpha1.ModeClassic, called(2001, "2026-11-22"), fail, "0 of 2000"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wt, secret := spending(tc.mode, tc.spent)
			got := budgetLeft(&tokenFacts{wt: wt, secret: fetched[*metav1.PartialObjectMetadata]{value: secret}}, noon)
			if len(got) != 1 || got[0].Level != tc.level || !strings.Contains(got[0].Text, tc.text) {
				t.Errorf("%s\ngot %v, want %v with %q", tc.reason, got, tc.level, tc.text)
			}
		})
	}
}

func TestRevokingTakesItsRefreshes(t *testing.T) {
	t.Parallel()
	suspended := func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = true }
	noToken := func(wt *v1alpha1.WeChatToken) { wt.Status.TokenFingerprint = "" }
	asIs := func(*v1alpha1.WeChatToken) {}
	cases := map[string]struct {
		reason string
		mode   v1alpha1.Mode
		mod    func(*v1alpha1.WeChatToken)
		spent  budget.Spent
		code   int // 0 for yes
		text   string
	}{
		"Enough":     {"Two are left.", v1alpha1.ModeStable, asIs, forced(18), 0, ""},
		"OneLeft":    {"One does not end the leaked token. The second comes back when the first that was spent is 24 hours old.", v1alpha1.ModeStable, asIs, forced(19), exitLimit, "It takes 2 forced refreshes, and 1 are left; there is one more at the earliest at 2026-11-23T11:00:00Z"},
		"NoneLeft":   {"The first that was spent comes back.", v1alpha1.ModeStable, asIs, forced(20), exitLimit, "and 0 are left; there is one more at the earliest at 2026-11-23T11:00:00Z"},
		"Classic":    {"One call is left.", v1alpha1.ModeClassic, asIs, called(1799, "2026-11-22"), 0, ""},
		"ClassicDay": {"The day ends in Beijing.", v1alpha1.ModeClassic, asIs, called(1800, "2026-11-22"), exitLimit, "It takes 1 forced refreshes, and 0 are left; there is one more at the earliest at 2026-11-22T16:00:00Z"},
		"Suspended":  {"The operator does nothing.", v1alpha1.ModeStable, suspended, budget.Spent{}, exitNo, "spec.suspend is true"},
		"NothingYet": {"Without a token none has leaked.", v1alpha1.ModeStable, noToken, budget.Spent{}, exitNo, "There is no token"},
		"Taken": {"The source ends it.", v1alpha1.ModeStable, func(wt *v1alpha1.WeChatToken) {
			wt.Spec = v1alpha1.WeChatTokenSpec{SourceRef: v1alpha1.SourceReference{Namespace: "platform", Name: "shop"}}
		}, budget.Spent{}, exitNo, "namespace platform"},
		"NeverForced": {"The production cluster ends it.", v1alpha1.ModeStable, func(wt *v1alpha1.WeChatToken) { wt.Spec.ForcedRefresh = v1alpha1.ForcedRefreshNever }, budget.Spent{}, exitNo, "spec.forcedRefresh is Never"},
		"WrongClocks": {"What was spent in the future does not count.", v1alpha1.ModeStable, asIs, budget.Spent{Forced: slices.Repeat([]time.Time{noon.Add(time.Hour)}, 20)}, 0, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wt, secret := spending(tc.mode, tc.spent)
			tc.mod(wt)
			err := mayDrill(wt, new(record.ReadSpent(secret.Annotations)), noon)
			code, text := 0, ""
			if e, refused := errors.AsType[*exit](err); refused {
				code, text = e.code, e.text
			}
			if code != tc.code || !strings.Contains(text, tc.text) {
				t.Errorf("%s\ngot code %d: %s\nwant %d with %q", tc.reason, code, text, tc.code, tc.text)
			}
		})
	}
	wt, _ := spending(v1alpha1.ModeStable, budget.Spent{})
	if err := mayDrill(wt, nil, noon); err != nil {
		t.Errorf("without permission for the Secret: %v", err)
	}
}

// WeChat keeps one old token: a second refresh ends the one that files may still hold.
func TestARefreshBehindAnotherWarnsOfFiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		mod    func(*v1alpha1.WeChatToken)
		warns  bool
	}{
		"Behind": {"The kubelet may take 90 s.", func(*v1alpha1.WeChatToken) {}, true},
		"Later": {"All files have it.", func(wt *v1alpha1.WeChatToken) {
			wt.Status.LastRefreshTime = new(metav1.NewTime(noon.Add(-kubeletDelay)))
		}, false},
		"First":   {"No file has an older one.", func(wt *v1alpha1.WeChatToken) { wt.Status.LastRefreshTime = nil }, false},
		"Classic": {"No faster way to end a token is documented.", func(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = v1alpha1.ModeClassic }, false},
		"Paused":  {"The refresh waits.", func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = true }, false},
		"Never":   {"Nothing is forced.", func(wt *v1alpha1.WeChatToken) { wt.Spec.ForcedRefresh = v1alpha1.ForcedRefreshNever }, false},
		"Touched": {"The kubelet looks at once.", func(wt *v1alpha1.WeChatToken) { wt.Spec.Propagation = v1alpha1.PropagationTouch }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wt := &v1alpha1.WeChatToken{Status: v1alpha1.WeChatTokenStatus{LastRefreshTime: new(metav1.NewTime(noon.Add(-31 * time.Second)))}}
			tc.mod(wt)
			if got := tooSoonForFiles(wt, noon); strings.Contains(got, "31s ago") != tc.warns {
				t.Errorf("%s\ngot %q", tc.reason, got)
			}
		})
	}
}

func TestASecretOfAnEarlierWeChatTokenGoesByItself(t *testing.T) {
	t.Parallel()
	wt, secret := spending(v1alpha1.ModeStable, budget.Spent{})
	wt.UID = "another"
	for owner, want := range map[string]string{wt.Name: "garbage collector deletes it", "older": "spec.secret.name of one of the two"} {
		secret.OwnerReferences[0].Kind, secret.OwnerReferences[0].Name = kindOf.Kind, owner
		got := secretOurs(&tokenFacts{wt: wt, secret: fetched[*metav1.PartialObjectMetadata]{value: secret}}, noon)
		if len(got) != 1 || !strings.Contains(got[0].Text, want) {
			t.Errorf("of WeChatToken %s: got %+v, want one with %q", owner, got, want)
		}
	}
}

// deployment has the Secret as env, or as a file.
func deployment(name, secret string, env bool) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	c := corev1.Container{Name: "main", Image: "example.com/main"}
	pod := corev1.PodSpec{}
	if env {
		c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}}
	} else {
		c.VolumeMounts = []corev1.VolumeMount{{Name: "token", MountPath: "/token"}}
		pod.Volumes = []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}}
	}
	pod.Containers = []corev1.Container{c}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	}
}

// The operator asks the same function. The plugin had rules of its own, which
// took every annotation of Reloader for a restart.
func TestReloaderRestartsWhatTheOperatorSays(t *testing.T) {
	t.Parallel()
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
			got := using([]user{userOf("apps/v1", "Deployment", &d.ObjectMeta, &d.Spec.Template)}, wt.TokenSecretName(), uses.SecretAnnotations(wt, tc.stored))
			want := []v1alpha1.Consumer{{APIVersion: "apps/v1", Kind: "Deployment", Name: "worker", Uses: []v1alpha1.SecretUse{v1alpha1.UseEnv}, RestartedBy: tc.want}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTheClockAllowsForWholeSeconds(t *testing.T) {
	t.Parallel()
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
			t.Parallel()
			var c clock
			c.set(noon.Add(tc.start), noon.Add(tc.end), noon.Add(tc.date))
			if got, known := c.get(); got != tc.want || !known {
				t.Errorf("%s got %s, %t, want %s", tc.reason, got, known, tc.want)
			}
		})
	}
}

func TestFlagsSayWhoseOperatorItIs(t *testing.T) {
	t.Parallel()
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
		"EmptyNamespace": {[]string{"--namespaces="}, true},
		"OtherNamespace": {[]string{"--namespaces", "shop"}, false},
		"Selector":       {[]string{"-selector=shard=a"}, true},
		"OtherSelector":  {[]string{"--selector=shard notin (a)"}, false},
		"Both":           {[]string{"--namespaces=web", "--selector=shard=b"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
		"Done":           {reason: "The echo is the end.", before: v1alpha1.ReasonTokenValid, now: deferred, handled: true, done: true},
		"Deferred":       {reason: "WeChat's 30 s pass.", before: v1alpha1.ReasonTokenValid, now: deferred, after: time.Minute},
		"Exhausted":      {reason: "A day is too long.", before: v1alpha1.ReasonTokenValid, now: v1alpha1.ReasonRefreshBudgetExhausted, after: settle, code: exitLimit},
		"NotAllowed":     {reason: "Two hours are too long.", before: v1alpha1.ReasonTokenValid, now: v1alpha1.ReasonRefreshNotAllowed, after: settle, code: exitNo},
		"ExhaustedStill": {reason: "It may be said of an earlier request, for a moment.", before: v1alpha1.ReasonRefreshBudgetExhausted, now: v1alpha1.ReasonRefreshBudgetExhausted},
		"Suspended":      {reason: "Nobody works on it.", before: v1alpha1.ReasonSuspended, now: v1alpha1.ReasonSuspended, code: exitNo},
		"Refused":        {reason: "WeChat allows no more.", before: v1alpha1.ReasonTokenValid, now: v1alpha1.ReasonRefreshRefused, code: exitLimit},
		"NewlyStalled":   {reason: "A person must act.", before: v1alpha1.ReasonTokenValid, now: v1alpha1.ReasonIPNotAllowed, stalled: true, code: exitNo},
		"StalledBefore":  {reason: "The operator tries again for the request.", before: v1alpha1.ReasonIPNotAllowed, now: v1alpha1.ReasonIPNotAllowed, stalled: true, after: budget.ForcedSpacing},
		"StalledStill":   {reason: "It has, and WeChat has answered the same.", before: v1alpha1.ReasonIPNotAllowed, now: v1alpha1.ReasonIPNotAllowed, stalled: true, after: retried, code: exitNo},
		"NoAppSecret":    {reason: "There is nothing to try.", before: v1alpha1.ReasonAppSecretMissing, now: v1alpha1.ReasonAppSecretMissing, stalled: true, after: settle, code: exitNo},
		"Unavailable":    {reason: "WeChat may be back soon.", before: v1alpha1.ReasonTokenValid, now: v1alpha1.ReasonWeChatUnavailable, after: time.Minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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

// A taker whose source is suspended is resumed there.
func TestASuspendedSourceIsResumed(t *testing.T) {
	t.Parallel()
	wt := &v1alpha1.WeChatToken{Spec: v1alpha1.WeChatTokenSpec{SourceRef: v1alpha1.SourceReference{Namespace: "platform", Name: "shop"}}}
	wt.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSuspended}}
	if got := (&asked{report: "a", at: noon}).look(wt, noon).stop; got == nil || !strings.HasSuffix(got.Error(), "kubectl wechattoken resume shop -n platform") {
		t.Errorf("got %v", got)
	}
}

// Somebody who asks after us is answered by a token that answers us, too.
func TestALaterRequestOfSomebodyElseAnswersOurs(t *testing.T) {
	t.Parallel()
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

// What the doctor thinks that the operator needs is what the roles give.
func TestOperatorNeedsWhatItsRolesGive(t *testing.T) {
	t.Parallel()
	given := map[string]bool{}
	for _, file := range []string{"rbac/role.yaml", "consumers/watch/role.yaml"} {
		text, err := os.ReadFile("../../config/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var role rbacv1.ClusterRole
		first, _, _ := strings.Cut(strings.TrimPrefix(string(text), "---\n"), "\n---\n")
		if err := yaml.Unmarshal([]byte(first), &role); err != nil {
			t.Fatal(err)
		}
		for _, r := range role.Rules {
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					given[r.APIGroups[0]+" "+resource+" "+verb] = true
				}
			}
		}
	}
	in := &install{flags: flags{consumers: true, alone: true}}
	for _, r := range in.needs() {
		a := r.attributes
		resource := strings.TrimSuffix(a.Resource+"/"+a.Subresource, "/")
		key := a.Group + " " + resource + " " + a.Verb
		if !given[key] {
			t.Errorf("no role gives %s", key)
		}
		delete(given, key)
	}
	for key := range given {
		t.Errorf("the doctor does not look at %s", key)
	}
	if len(in.needs()) == 0 {
		t.Error("the doctor looks at nothing")
	}
}

// Of many consumers the table names two, and first those that need a person.
func TestStaleConsumersComeFirst(t *testing.T) {
	t.Parallel()
	r := row{ConsumersKnown: true}
	for _, name := range []string{"a", "b", "c", "d"} {
		c := v1alpha1.Consumer{Kind: "Deployment", Name: name, Uses: []v1alpha1.SecretUse{v1alpha1.UseFile}}
		if name > "b" {
			c.Uses = []v1alpha1.SecretUse{v1alpha1.UseEnv}
		}
		r.Consumers = append(r.Consumers, c)
	}
	for most, want := range map[int]string{
		1: "Deployment/c(!), 3 more",
		3: "Deployment/c(!), Deployment/d(!), Deployment/a, 1 more",
		4: "Deployment/c(!), Deployment/d(!), Deployment/a, Deployment/b",
	} {
		if got := r.consumers(most); got != want {
			t.Errorf("%d: got %q, want %q", most, got, want)
		}
	}
	if r.Consumers[0].Name != "a" {
		t.Error("the order for scripts has changed")
	}
}

// The JSON of doctor and check is API.
func TestReportsForScripts(t *testing.T) {
	t.Parallel()
	r := report{
		Cluster:      look([]check[int]{{"crd", func(*int, time.Time) []finding { return []finding{passes("there")} }}}, nil, noon),
		WeChatTokens: []tokenReport{{"web", "shop", []finding{{"ready", fail, "IPNotAllowed"}}}},
	}
	var out bytes.Buffer
	err := r.print(&plugin{IOStreams: genericiooptions.IOStreams{Out: &out}}, "yaml")
	if e, is := errors.AsType[*exit](err); !is || e.code != exitNo {
		t.Errorf("got %v, want code %d", err, exitNo)
	}
	want := `cluster:
- check: crd
  level: pass
  text: there
weChatTokens:
- findings:
  - check: ready
    level: fail
    text: IPNotAllowed
  name: shop
  namespace: web
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.WeChatTokens = nil
	if err := r.print(&plugin{IOStreams: genericiooptions.IOStreams{Out: &out}}, ""); err != nil {
		t.Errorf("all is well: %v", err)
	}
}

// Without a cluster the plugin still knows its own version.
func TestVersionNeedsNoCluster(t *testing.T) {
	t.Parallel()
	quietly(t, "", "version").wants(t, 0, "kubectl-wechattoken ", "The operator's version is unknown. There is no cluster to ask")
}

func TestHelpHasExamples(t *testing.T) {
	t.Parallel()
	for _, sub := range []string{"", "status", "refresh", "doctor", "check", "revoke", "create", "suspend", "resume"} {
		var out bytes.Buffer
		code := run(t.Context(), append(strings.Fields(sub), "--help"), genericiooptions.IOStreams{In: &out, Out: &out, ErrOut: &out})
		if code != 0 || !strings.Contains(out.String(), "Examples:\n  kubectl wechattoken ") || !strings.Contains(out.String(), "Exit codes:") {
			t.Errorf("%q: exit code %d\n%s", sub, code, out.String())
		}
	}
}
