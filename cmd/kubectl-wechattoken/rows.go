package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/uses"
)

// row is what status tells of one WeChatToken. Its JSON is API.
type row struct {
	Namespace       string              `json:"namespace"`
	Name            string              `json:"name"`
	Ready           string              `json:"ready"` // True, False or Unknown
	Reason          string              `json:"reason"`
	Message         string              `json:"message,omitempty"`
	AppID           string              `json:"appID,omitempty"`  // absent with a source
	Source          string              `json:"source,omitempty"` // namespace/name of spec.sourceRef
	Takers          int32               `json:"takers,omitempty"` // WeChatTokens that take the token
	Mode            string              `json:"mode,omitempty"`
	SecondsLeft     *int64              `json:"secondsLeft,omitempty"` // of the token; absent without one
	ExpirationTime  *metav1.Time        `json:"expirationTime,omitempty"`
	NextRefreshTime *metav1.Time        `json:"nextRefreshTime,omitempty"`
	LastRefreshTime *metav1.Time        `json:"lastRefreshTime,omitempty"`
	LastError       string              `json:"lastError,omitempty"`
	Secret          string              `json:"secret"`
	Fingerprint     string              `json:"tokenFingerprint,omitempty"`
	Consumers       []v1alpha1.Consumer `json:"consumers"`
	ConsumersKnown  bool                `json:"consumersKnown"`
}

// notSeen stands for the reason of a WeChatToken that no operator has seen.
const notSeen = "NotSeen"

// rowOf is the row of wt.
func rowOf(wt *v1alpha1.WeChatToken, found consumers, now time.Time) row {
	s := &wt.Status
	r := row{
		Namespace: wt.Namespace, Name: wt.Name, AppID: wt.Spec.AppID, Mode: string(wt.Spec.ModeOrDefault()),
		Secret: wt.TokenSecretName(), Fingerprint: s.TokenFingerprint,
		ExpirationTime: s.ExpirationTime, NextRefreshTime: s.NextRefreshTime, LastRefreshTime: s.LastRefreshTime,
		Takers: s.Takers.Count, Consumers: found.list, ConsumersKnown: found.unknown == "",
		LastError: errorText(s.LastError),
	}
	if ref := wt.Spec.SourceRef; wt.Spec.HasSource() {
		r.Source, r.Mode = ref.Namespace+"/"+ref.Name, ""
	}
	r.Ready, r.Reason, r.Message = readiness(wt, now)
	if r.Reason == v1alpha1.ReasonSuspended {
		r.NextRefreshTime = nil // the status has when it would be due
	}
	if s.ExpirationTime != nil {
		r.SecondsLeft = new(int64(max(0, s.ExpirationTime.Sub(now)) / time.Second))
	}
	return r
}

// readiness is the Ready condition, unless an operator that no longer runs has left it
// True beyond the expiry of the token.
func readiness(wt *v1alpha1.WeChatToken, now time.Time) (ready, reason, message string) {
	c := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case c == nil:
		return string(metav1.ConditionUnknown), notSeen, "No operator has seen this WeChatToken: kubectl wechattoken doctor " + wt.Name
	case c.Status == metav1.ConditionTrue && wt.Status.ExpirationTime != nil && !now.Before(wt.Status.ExpirationTime.Time):
		return string(metav1.ConditionFalse), v1alpha1.ReasonTokenExpired, "The token has expired, and the operator has not reported it: kubectl wechattoken doctor " + wt.Name
	default:
		return string(c.Status), c.Reason, c.Message
	}
}

func errorText(e *v1alpha1.WeChatError) string {
	switch {
	case e == nil:
		return ""
	case e.Code == nil:
		return e.Message
	default:
		return strings.TrimSpace(fmt.Sprintf("%d %s", *e.Code, e.Message))
	}
}

// columns are those of the table; those of priority 1 are for -o wide.
func columns(everywhere bool) []metav1.TableColumnDefinition {
	var all []metav1.TableColumnDefinition
	if everywhere {
		all = append(all, metav1.TableColumnDefinition{Name: "Namespace", Type: "string"})
	}
	for _, name := range []string{"Name", "Ready", "Reason", "Left", "Refresh", "Last Error", "Secret", "Consumers"} {
		all = append(all, metav1.TableColumnDefinition{Name: name, Type: "string"})
	}
	for _, name := range []string{"AppID", "Mode", "Fingerprint", "Message"} {
		all = append(all, metav1.TableColumnDefinition{Name: name, Type: "string", Priority: 1})
	}
	return all
}

// cells are a row of the table.
func (r row) cells(everywhere, wide bool, now time.Time) []any {
	var cells []any
	if everywhere {
		cells = append(cells, r.Namespace)
	}
	lastError, names := r.LastError, 2
	if wide {
		names = len(r.Consumers)
	} else {
		lastError = short(lastError, 40)
	}
	return append(cells, r.Name, r.Ready, r.Reason, left(r.ExpirationTime, now), due(r.NextRefreshTime, now),
		dash(lastError), r.Secret, r.consumers(names), cmp.Or(r.AppID, "from "+r.Source), dash(r.Mode), dash(r.Fingerprint), dash(r.Message))
}

func dash(s string) string { return cmp.Or(s, "-") }

// short cuts a text that is too long for a table.
func short(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}

// left is how long a token stays valid.
func left(end *metav1.Time, now time.Time) string {
	switch {
	case end == nil:
		return "-"
	case !now.Before(end.Time):
		return "expired"
	default:
		return duration.HumanDuration(end.Sub(now))
	}
}

// due is when the next refresh is.
func due(at *metav1.Time, now time.Time) string {
	switch {
	case at == nil:
		return "-"
	case now.After(at.Time):
		return "due " + duration.HumanDuration(now.Sub(at.Time)) + " ago"
	default:
		return "in " + duration.HumanDuration(at.Sub(now))
	}
}

// consumers names the first of them, and before all others those that need a person.
func (r row) consumers(most int) string {
	if !r.ConsumersKnown {
		return "unknown"
	}
	list := slices.Clone(r.Consumers)
	slices.SortStableFunc(list, func(a, b v1alpha1.Consumer) int {
		return cmp.Compare(staleFirst(a), staleFirst(b))
	})
	var names []string
	for _, c := range list[:min(most, len(list))] {
		names = append(names, consumerText(c))
	}
	if more := len(list) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return dash(strings.Join(names, ", "))
}

func staleFirst(c v1alpha1.Consumer) int {
	if uses.KeepsOldToken(c) {
		return 0
	}
	return 1
}

// consumerText names one, with a mark if a new token does not reach it.
func consumerText(c v1alpha1.Consumer) string {
	text := fmt.Sprintf("%s/%s", c.Kind, c.Name)
	if uses.KeepsOldToken(c) {
		text += "(!)"
	}
	return text
}

// allReady reports whether each row is Ready.
func allReady(rows []row) bool {
	for _, r := range rows {
		if r.Ready != string(metav1.ConditionTrue) {
			return false
		}
	}
	return true
}
