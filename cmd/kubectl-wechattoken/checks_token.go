package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/uses"
	"wechattoken.io/operator/internal/wechat/console"
)

// tokenChecks are made for each WeChatToken, in this order.
var tokenChecks = []check[tokenFacts]{
	{"watched", tokenWatched},
	{"suspended", notSuspended},
	{"appsecret", appSecretFit},
	{"takers", takersCounted},
	{"wechat", weChatAnswers},
	{"allow-list", addressAllowed},
	{"ready", isReady},
	{"expiry", notExpired},
	{"secret", secretOurs},
	{"budget", budgetLeft},
	{"others", replacedElsewhere},
	{"consumers", consumersFollow},
}

// operator is the one that works on the WeChatToken, if it is known.
func (f *tokenFacts) operator() *install {
	for i := range f.installs.value {
		if f.installs.value[i].flags.worksOn(f.wt) {
			return &f.installs.value[i]
		}
	}
	return nil
}

func tokenWatched(f *tokenFacts, _ time.Time) []finding {
	if f.installs.err == nil && len(f.installs.value) > 0 {
		working := []string{}
		for i := range f.installs.value {
			if f.installs.value[i].flags.worksOn(f.wt) {
				working = append(working, f.installs.value[i].String())
			}
		}
		switch len(working) {
		case 0:
			return []finding{fails("no operator works on it: none has its namespace in --namespaces and its labels in --selector")}
		case 1:
		default:
			return []finding{fails("%s work on it, and must not: part them by --selector or --namespaces", strings.Join(working, " and "))}
		}
	}
	switch seen := f.wt.Status.ObservedGeneration; {
	case seen < 1:
		return []finding{fails("no operator has seen it: look at the lines of the cluster above")}
	case seen != f.wt.Generation:
		return []finding{fails("the operator has seen generation %d of %d: look at the lines of the cluster above", seen, f.wt.Generation)}
	}
	return []finding{passes("the operator has seen its latest spec")}
}

func notSuspended(f *tokenFacts, _ time.Time) []finding {
	if f.wt.Spec.Suspend {
		return []finding{fails("spec.suspend is true, so the token is not replaced: kubectl wechattoken resume %s -n %s", f.wt.Name, f.wt.Namespace)}
	}
	return []finding{passes("spec.suspend is not set")}
}

func appSecretFit(f *tokenFacts, _ time.Time) []finding {
	if source := f.wt.Spec.SourceRef; f.wt.Spec.HasSource() {
		return []finding{passes("it takes the token of WeChatToken %s in namespace %s, and needs no AppSecret here", source.Name, source.Namespace)}
	}
	ref := f.wt.Spec.AppSecretRef
	create := fmt.Sprintf("kubectl -n %s create secret generic %s --from-file=%s=/dev/stdin", f.wt.Namespace, ref.Name, ref.KeyOrDefault())
	switch {
	case apierrors.IsNotFound(f.appSecret.err):
		return []finding{fails("there is no Secret %s: %s", ref.Name, create)}
	case apierrors.IsForbidden(f.appSecret.err):
		return []finding{unknownf("you may not read Secret %s", ref.Name)}
	case f.appSecret.err != nil:
		return []finding{unknownf("Secret %s: %s", ref.Name, sorry(f.appSecret.err))}
	case !f.appSecret.value.there:
		return []finding{fails("Secret %s has nothing under the key %s: put the AppSecret there", ref.Name, ref.KeyOrDefault())}
	case f.appSecret.value.odd != "":
		return []finding{fails("what Secret %s has under the key %s is no AppSecret: %s. Copy it anew, or reset it at %s", ref.Name, ref.KeyOrDefault(), f.appSecret.value.odd, console.Keys)}
	case f.appSecret.value.spaces:
		return []finding{warns("the AppSecret in Secret %s has spaces or other invisible characters, which the operator ignores. Other programs may not: copy it again without them", ref.Name)}
	}
	return []finding{passes("Secret %s holds 32 hex digits; the check wechat below says whether WeChat accepts them", ref.Name)}
}

// takersCounted names those that take the token.
func takersCounted(f *tokenFacts, _ time.Time) []finding {
	switch takers := f.wt.Status.Takers; {
	case f.wt.Spec.HasSource():
		return []finding{passes("nobody can take a token from here: take it from the source")}
	case len(f.wt.Spec.AllowedNamespaces) == 0:
		return []finding{passes("no other namespace may take the token")}
	case takers.Count == 0:
		return []finding{passes("WeChatTokens of %d namespaces may take the token by sourceRef, and none does", len(f.wt.Spec.AllowedNamespaces))}
	default:
		return []finding{passes("%d WeChatTokens take the token: %s", takers.Count, some(takers.Names))}
	}
}

func weChatAnswers(f *tokenFacts, _ time.Time) []finding {
	s := &f.wt.Status
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	switch {
	case s.LastError == nil && s.LastRefreshTime != nil:
		return []finding{passes("WeChat gave the token at %s, and has refused nothing since", stamp(s.LastRefreshTime.Time))}
	case s.LastError == nil:
		return []finding{unknownf("the operator has not heard from WeChat yet")}
	case ready != nil:
		return []finding{fails("%s%s", ready.Message, diagnosis(s.LastError))}
	default:
		return []finding{fails("WeChat answered %s%s", errorText(s.LastError), diagnosis(s.LastError))}
	}
}

// diagnosis says where WeChat explains a call that has failed.
func diagnosis(e *v1alpha1.WeChatError) string {
	if e.RID == "" {
		return ""
	}
	return fmt.Sprintf(". WeChat explains the call with the rid %s at %s", e.RID, console.Diagnosis)
}

// ofAddress are the errcodes that refuse an address, and may not name it: docs/runbooks/errcodes.md.
var ofAddress = []int64{40164, 45035, 61004, 89501, 89503, 89506, 89507}

func addressAllowed(f *tokenFacts, _ time.Time) []finding {
	switch e := f.wt.Status.LastError; {
	case e != nil && e.CallerIP != "":
		return []finding{fails("WeChat saw the address %s: add it to the IP allow-list (IP 白名单) at %s", e.CallerIP, console.Keys)}
	case e != nil && e.Code != nil && slices.Contains(ofAddress, *e.Code):
		return []finding{fails("WeChat refuses the operator's address, and does not say which it is: docs/egress-ip.md says how to find it")}
	case f.wt.Status.LastRefreshTime == nil:
		return []finding{unknownf("WeChat has given no token yet")}
	}
	return []finding{passes("WeChat has not refused the operator's address")}
}

func isReady(f *tokenFacts, now time.Time) []finding {
	ready, reason, message := readiness(f.wt, now)
	c := meta.FindStatusCondition(f.wt.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready != string(metav1.ConditionTrue):
		return []finding{fails("%s: %s", reason, message)}
	case c.Reason != v1alpha1.ReasonTokenValid:
		return []finding{warns("%s: %s", reason, message)}
	}
	return []finding{passes("%s", reason)}
}

const (
	// overdue is how late a refresh may be before it is worth a line.
	overdue = time.Minute
	// urgent is how close the expiry is when little time is left to act.
	urgent = 4 * time.Minute
)

func notExpired(f *tokenFacts, now time.Time) []finding {
	s := &f.wt.Status
	if s.ExpirationTime == nil {
		return []finding{fails("there is no token")}
	}
	left := s.ExpirationTime.Sub(now)
	late := s.NextRefreshTime != nil && now.Sub(s.NextRefreshTime.Time) > overdue
	switch {
	case left <= 0:
		return []finding{fails("the token is invalid since %s, and consumers fail", stamp(s.ExpirationTime.Time))}
	case late && left < urgent:
		return []finding{fails("the token expires in %s, and its refresh is overdue for %s: look at the lines above, then kubectl wechattoken refresh %s -n %s --wait", duration.HumanDuration(left), duration.HumanDuration(now.Sub(s.NextRefreshTime.Time)), f.wt.Name, f.wt.Namespace)}
	case late:
		return []finding{warns("the refresh is overdue for %s; the token is valid for %s more", duration.HumanDuration(now.Sub(s.NextRefreshTime.Time)), duration.HumanDuration(left))}
	}
	return []finding{passes("the token is valid for %s more", duration.HumanDuration(left))}
}

func secretOurs(f *tokenFacts, _ time.Time) []finding {
	name := f.wt.TokenSecretName()
	switch {
	case apierrors.IsNotFound(f.secret.err):
		return []finding{fails("there is no Secret %s: the lines above say why the operator has not made it", name)}
	case apierrors.IsForbidden(f.secret.err):
		return []finding{unknownf("you may not read Secret %s", name)}
	case f.secret.err != nil:
		return []finding{unknownf("Secret %s: %s", name, sorry(f.secret.err))}
	case !metav1.IsControlledBy(f.secret.value, f.wt):
		if owner := metav1.GetControllerOf(f.secret.value); owner != nil && owner.Kind == kindOf.Kind {
			if owner.Name == f.wt.Name {
				return []finding{warns("Secret %s belongs to an earlier WeChatToken of this name: wait, the garbage collector deletes it, and the operator writes it anew", name)}
			}
			return []finding{fails("Secret %s is that of WeChatToken %s: set spec.secret.name of one of the two to another name", name, owner.Name)}
		}
		return []finding{fails("Secret %s is not this WeChatToken's: set spec.secret.name to another name, or remove that Secret", name)}
	}
	return []finding{passes("Secret %s is this WeChatToken's", name)}
}

// budgetLow is when little is left.
const budgetLow = 5

func budgetLeft(f *tokenFacts, now time.Time) []finding {
	if f.wt.Spec.HasSource() {
		return []finding{passes("it is that of the source")}
	}
	if f.secret.err != nil || !metav1.IsControlledBy(f.secret.value, f.wt) {
		return []finding{unknownf("it is stored on Secret %s", f.wt.TokenSecretName())}
	}
	terms := budget.TermsOf(f.wt)
	spent := record.ReadSpent(f.secret.value.Annotations)
	left := spent.ForcedLeft(terms, now)
	next, _ := spent.NextForced(terms, now)
	text := fmt.Sprintf("%d of %d forced refreshes of 24 hours are left", left, budget.ForcedPerDay)
	if terms.Mode == v1alpha1.ModeClassic {
		text = fmt.Sprintf("%d of %d calls of the day are left", spent.ClassicLeft(terms, now), terms.PerDay())
	}
	switch {
	case terms.Mode == v1alpha1.ModeClassic && spent.ClassicLeft(terms, now) == 0:
		return []finding{fails("%s, until %s: find who asks for so many refreshes, or use mode Stable", text, stamp(next))}
	case left == 0:
		return []finding{fails("%s; the next one is possible at %s. Refreshes that are due go on. Find who changes %s", text, stamp(next), v1alpha1.AnnotationRefreshRequestedAt)}
	case left <= budgetLow:
		return []finding{warns("%s: find who changes %s", text, v1alpha1.AnnotationRefreshRequestedAt)}
	}
	return []finding{passes("%s", text)}
}

// replacedElsewhere is no warning: where several clusters share the appid, it is as it
// should be.
func replacedElsewhere(f *tokenFacts, _ time.Time) []finding {
	e := f.wt.Status.ReplacedElsewhere
	if e.Count == 0 {
		return []finding{passes("nobody else has replaced the token in the last 24 hours, as far as the operator has found")}
	}
	return []finding{passes("somebody else has replaced the token %d times in 24 hours, last found at %s. If no other cluster or environment uses the appid, find them by the source addresses at %s", e.Count, stamp(e.LastTime.Time), console.CallLog)}
}

// onConsumers is what to do about the condition of the consumers.
func (f *tokenFacts) onConsumers(c *metav1.Condition) string {
	switch i := f.operator(); {
	case i != nil && c.Reason == v1alpha1.ReasonConsumersUnwatched:
		return "spec.propagation and spec.restart need the operator's flag --consumers and its roles: " + i.lookAfterPods(f.wt)
	case i != nil && c.Reason == v1alpha1.ReasonRestartRefused:
		return c.Message + ". If the operator lacks the permission: " + i.lookAfterPods(f.wt)
	default:
		return c.Message
	}
}

// keepOldToken are the workloads that never see the next token.
func (f *tokenFacts) keepOldToken() (stale []string) {
	for _, c := range f.consumers.list {
		if uses.KeepsOldToken(c) {
			stale = append(stale, fmt.Sprintf("%s/%s", c.Kind, c.Name))
		}
	}
	return stale
}

func consumersFollow(f *tokenFacts, _ time.Time) []finding {
	if f.consumers.unknown != "" {
		return []finding{unknownf("%s", f.consumers.unknown)}
	}
	if f.secret.err == nil && !metav1.IsControlledBy(f.secret.value, f.wt) {
		return []finding{unknownf("no workload can have the token before Secret %s is this WeChatToken's", f.wt.TokenSecretName())}
	}
	var all []finding
	stale := f.keepOldToken()
	if len(stale) > 0 {
		all = append(all, fails("%s never see the next token, for they have it as env or through subPath: mount the Secret as a directory, or name them in spec.restart, which needs an operator with --consumers; other kinds than Deployment, StatefulSet and DaemonSet with method: Eviction", some(stale)))
	}
	c := meta.FindStatusCondition(f.wt.Status.Conditions, v1alpha1.ConditionConsumersCurrent)
	if c != nil && c.Status != metav1.ConditionTrue && (len(stale) == 0 || c.Reason != v1alpha1.ReasonConsumersStale) {
		all = append(all, warns("%s: %s", c.Reason, f.onConsumers(c)))
	}
	switch {
	case len(all) > 0:
		return all
	case len(f.consumers.list) == 0:
		return []finding{passes("no workload uses the Secret")}
	default:
		return []finding{passes("new tokens reach the %d that use the Secret", len(f.consumers.list))}
	}
}
