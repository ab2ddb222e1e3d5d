package tokenserver

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// objectOf keeps of a WeChatToken what an answer needs.
func objectOf(wt *v1alpha1.WeChatToken) *object {
	o := &object{
		name: wt.Name, uid: wt.UID, secretName: wt.TokenSecretName(), appID: wt.Spec.AppID,
		ready:         conditionOf(wt, v1alpha1.ConditionReady),
		ticketsReady:  conditionOf(wt, v1alpha1.ConditionTicketsReady),
		fingerprint:   wt.Status.TokenFingerprint,
		handledReport: wt.Status.LastHandledInvalidToken,
	}
	if !wt.Spec.HasSource() {
		o.mode = constant(wt.Spec.ModeOrDefault())
	}
	for _, i := range record.Wanted(wt) {
		o.tickets[i] = true
	}
	if due, end := wt.Status.NextRefreshTime, wt.Status.ExpirationTime; due != nil && end != nil {
		o.overlap = end.Sub(due.Time)
	}
	return o
}

func conditionOf(wt *v1alpha1.WeChatToken, kind string) *condition {
	c := meta.FindStatusCondition(wt.Status.Conditions, kind)
	switch {
	case c == nil:
		return &condition{}
	case c.Status == metav1.ConditionTrue:
		return nil
	default:
		return &condition{c.Status == metav1.ConditionFalse, c.Reason, c.Message}
	}
}

// constant is the constant for a mode, so that not each object holds a copy.
func constant(m v1alpha1.Mode) v1alpha1.Mode {
	if m == v1alpha1.ModeClassic {
		return v1alpha1.ModeClassic
	}
	return v1alpha1.ModeStable
}

// maxOwner is how large a reference to a WeChatToken is at most, in bytes. The API server
// takes any that has room in an object.
const maxOwner = 1 << 10

// ownerAndRecordOf are the WeChatToken that controls a Secret, and what the operator has
// written there; nil if one of them is missing.
func ownerAndRecordOf(s *corev1.Secret) (*metav1.OwnerReference, *record.Record) {
	owner := metav1.GetControllerOfNoCopy(s)
	if owner == nil || owner.Kind != v1alpha1.Kind || owner.Size() > maxOwner {
		return nil, nil
	}
	return owner, record.Read(s, nil)
}

// secretOf keeps of a Secret what an answer needs. It is nil for one that no WeChatToken
// controls, and for one whose values are not those that the operator has written. That
// the operator has written them cannot be verified without the AppSecret: who edits a
// namespace may forge a Secret there, and so deceives who asks for a token of there.
func secretOf(s *corev1.Secret) *secret {
	owner, r := ownerAndRecordOf(s)
	if r == nil {
		return nil
	}
	now := &secret{
		owner: owner.UID, ownerName: owner.Name, appID: r.Token.AppID, mode: constant(r.Token.Mode),
		obtainedAt: r.Token.ObtainedAt, token: value{r.Token.Value, r.Token.ExpiresAt}, handledReport: r.HandledReport,
	}
	for i, t := range r.Tickets {
		if t.Value == "" {
			continue
		}
		if now.tickets == nil {
			now.tickets = new([len(record.TicketTypes)]value)
		}
		now.tickets[i] = value{t.Value, t.ExpiresAt}
	}
	return now
}

// share lets a Secret and its WeChatToken hold the same strings once.
func (s *secret) share(o *object) {
	s.owner, s.ownerName = o.uid, o.name
	if s.appID == o.appID {
		s.appID = o.appID
	}
}

func stripObject(wt *v1alpha1.WeChatToken) *v1alpha1.WeChatToken {
	wt.ObjectMeta = metav1.ObjectMeta{Namespace: wt.Namespace, Name: wt.Name, UID: wt.UID, ResourceVersion: wt.ResourceVersion}
	wt.Status.Consumers, wt.Status.Takers = nil, v1alpha1.Takers{}
	return wt
}

// stripSecret keeps what secretOf takes, in any keys, for the record knows the values.
// Whatever else there is, who edits a namespace may have made as large as a Secret can be.
func stripSecret(s *corev1.Secret) *corev1.Secret {
	stripped := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion}}
	owner, r := ownerAndRecordOf(s)
	if r == nil {
		return stripped
	}
	stripped.OwnerReferences = []metav1.OwnerReference{*owner}
	stripped.Annotations = map[string]string{record.Annotation: s.Annotations[record.Annotation]}
	stripped.Data = map[string][]byte{}
	for i, value := range r.Secrets() {
		stripped.Data[strconv.Itoa(i)] = []byte(value)
	}
	return stripped
}
