package record

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

const (
	// LabelManagedBy says that the operator wrote a Secret.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy, and the operator's field manager.
	ManagedBy = "wechat-token-operator"
	// LabelName names the WeChatToken that a Secret is written for.
	LabelName = "wechattoken.io/name"

	// longestLabel bounds the value of a label, in bytes. A longer name is cut: the
	// label is for people to select by, and nothing is decided from it.
	longestLabel = 63
)

// Render is all that the operator wants of the Secret of wt, with the token and
// the tickets of r.
func Render(wt *v1alpha1.WeChatToken, r Record, key Key) *corev1.Secret {
	r.layout = layoutOf(wt)
	name := wt.Name
	if len(name) > longestLabel {
		name = name[:longestLabel-9] + "-" + digest(name)[:8]
	}
	labels := map[string]string{LabelManagedBy: ManagedBy, LabelName: name}
	annotations := map[string]string{Annotation: r.encode(key)}
	if s := wt.Spec.Secret; s != nil {
		for k, v := range s.Labels {
			labels[k] = cmp.Or(labels[k], string(v))
		}
		for k, v := range s.Annotations {
			annotations[k] = cmp.Or(annotations[k], string(v))
		}
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: wt.Namespace, Name: wt.TokenSecretName(), Labels: labels, Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind, Name: wt.Name, UID: wt.UID, Controller: new(true),
			}},
		},
		Type: corev1.SecretTypeOpaque,
		Data: data(wt.TokenSecretKeys(), r),
	}
}

func data(keys v1alpha1.SecretKeys, r Record) map[string][]byte {
	d := map[string][]byte{
		string(keys.AccessToken): []byte(r.Token.Value),
		string(keys.ExpiresAt):   []byte(Time(r.Token.ExpiresAt)),
		string(keys.ObtainedAt):  []byte(Time(r.Token.ObtainedAt)),
		string(keys.AppID):       []byte(r.Token.AppID),
	}
	for i, t := range r.Tickets {
		if t.Value != "" {
			ticket, expiresAt := TicketTypes[i].Keys(keys)
			d[string(ticket)], d[string(expiresAt)] = []byte(t.Value), []byte(Time(t.ExpiresAt))
		}
	}
	return d
}

// layoutOf changes with what a spec wants of the Secret beside the token. Without
// it, a label that was taken out of the spec could not be told from one that
// somebody else has put on the Secret. A change of what goes into it writes each
// Secret once after an upgrade.
func layoutOf(wt *v1alpha1.WeChatToken) string {
	keys := wt.TokenSecretKeys()
	parts := []string{"keys", string(keys.AccessToken), string(keys.ExpiresAt), string(keys.ObtainedAt), string(keys.AppID)}
	for _, i := range Wanted(wt) {
		ticket, expiresAt := TicketTypes[i].Keys(keys)
		parts = append(parts, "ticket", string(ticket), string(expiresAt))
	}
	if s := wt.Spec.Secret; s != nil {
		var pairs []string
		for k, v := range s.Labels {
			pairs = append(pairs, "label "+k+"="+strconv.Quote(string(v)))
		}
		for k, v := range s.Annotations {
			pairs = append(pairs, "annotation "+k+"="+strconv.Quote(string(v)))
		}
		slices.Sort(pairs)
		parts = append(parts, pairs...)
	}
	all := make([]byte, 0, 512) // enough for most, and so on the stack
	for _, part := range parts {
		all = append(strconv.AppendQuote(all, part), ',')
	}
	return digest(string(all))[:16]
}

// Matches reports whether s has all of want. It may have more: people add labels
// and keys of their own, and they stay.
func Matches(s, want *corev1.Secret) bool {
	return HasData(s, want) && hasAll(s.Labels, want.Labels) && hasAll(s.Annotations, want.Annotations) &&
		slices.ContainsFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool {
			return o.UID == want.OwnerReferences[0].UID && o.Controller != nil && *o.Controller
		})
}

// HasData reports whether s has the data of want.
func HasData(s, want *corev1.Secret) bool {
	for k, v := range want.Data {
		if !bytes.Equal(s.Data[k], v) {
			return false
		}
	}
	return true
}

func hasAll(is, want map[string]string) bool {
	for k, v := range want {
		if got, ok := is[k]; !ok || got != v {
			return false
		}
	}
	return true
}
