package record

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"wechattoken.io/operator/api/v1alpha1"
)

// storing has this Secret in its spec.
func storing(s v1alpha1.TokenSecret) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Secret = &s }
}

// The Secret has what its consumers read, under the keys of the spec, and nothing
// for a ticket that is not there.
func TestRenderedData(t *testing.T) {
	t.Parallel()
	token := map[string]string{"access_token": "98_token", "expires_at": "2026-11-22T14:00:00Z", "obtained_at": "2026-11-22T12:00:00Z", "appid": "wx0123456789abcdef"}
	with := func(more map[string]string) map[string]string {
		all := maps.Clone(token)
		maps.Copy(all, more)
		return all
	}
	cases := map[string]struct {
		reason string
		wt     *v1alpha1.WeChatToken
		record Record
		want   map[string]string
	}{
		"Token":  {"There are no tickets.", weChatToken(), full(func(r *Record) { r.Tickets = Tickets{} }), token},
		"Ticket": {"One is there.", weChatToken(), full(func(r *Record) { r.Tickets[0] = Ticket{} }), with(map[string]string{"wx_card_ticket": "card", "wx_card_ticket_expires_at": "2026-11-22T13:00:00Z"})},
		"Keys": {"The spec names the keys.", weChatToken(storing(v1alpha1.TokenSecret{Keys: &v1alpha1.SecretKeys{AccessToken: "TOKEN", JSAPITicket: "TICKET"}})), full(func(r *Record) { r.Tickets[1] = Ticket{} }), map[string]string{
			"TOKEN": "98_token", "expires_at": "2026-11-22T14:00:00Z", "obtained_at": "2026-11-22T12:00:00Z", "appid": "wx0123456789abcdef",
			"TICKET": "jsapi", "jsapi_ticket_expires_at": "2026-11-22T13:00:00Z",
		}},
		"Fraction": {"A token does not last longer than its end.", weChatToken(), full(func(r *Record) {
			r.Tickets = Tickets{}
			r.Token.ExpiresAt = r.Token.ExpiresAt.Add(999 * time.Millisecond)
		}), token},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := map[string]string{}
			for k, v := range Render(tc.wt, tc.record, key).Data {
				got[k] = string(v)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A spec adds labels and annotations, and replaces none of the operator's.
func TestRenderedMetadata(t *testing.T) {
	t.Parallel()
	got := Render(weChatToken(storing(v1alpha1.TokenSecret{
		Name:        "shop-token",
		Labels:      map[string]v1alpha1.LabelValue{"team": "web", "empty": "", LabelManagedBy: "forged", LabelName: "forged"},
		Annotations: map[string]v1alpha1.AnnotationValue{"note": "x", Annotation: "forged"},
	})), full(), key)
	if diff := cmp.Diff(map[string]string{"team": "web", "empty": "", LabelManagedBy: ManagedBy, LabelName: "shop"}, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if got.Annotations["note"] != "x" || len(got.Annotations) != 2 || got.Annotations[Annotation] == "forged" {
		t.Errorf("annotations are %v", got.Annotations)
	}
	if got.Name != "shop-token" || got.Namespace != "web" || got.Type != corev1.SecretTypeOpaque {
		t.Errorf("it is %s/%s of type %s", got.Namespace, got.Name, got.Type)
	}
	owner := got.OwnerReferences[0]
	if len(got.OwnerReferences) != 1 || owner.UID != "u" || owner.Name != "shop" || owner.Kind != "WeChatToken" || !*owner.Controller {
		t.Errorf("the owner is %+v", owner)
	}
}

// Each change of the spec that changes the Secret is another layout, and makes the
// operator write it. What means the same is the same.
func TestLayout(t *testing.T) {
	t.Parallel()
	labels := func(all map[string]v1alpha1.LabelValue) func(*v1alpha1.WeChatToken) {
		return storing(v1alpha1.TokenSecret{Labels: all})
	}
	annotations := func(all map[string]v1alpha1.AnnotationValue) func(*v1alpha1.WeChatToken) {
		return storing(v1alpha1.TokenSecret{Annotations: all})
	}
	both := wanting(v1alpha1.TicketJSAPI, v1alpha1.TicketWxCard)
	seen := map[string]string{}
	for name, wt := range map[string]*v1alpha1.WeChatToken{
		"nothing":       weChatToken(),
		"jsapi":         weChatToken(wanting(v1alpha1.TicketJSAPI)),
		"card":          weChatToken(wanting(v1alpha1.TicketWxCard)),
		"both":          weChatToken(both),
		"key":           weChatToken(storing(v1alpha1.TokenSecret{Keys: &v1alpha1.SecretKeys{AccessToken: "TOKEN"}})),
		"ticket's key":  weChatToken(both, storing(v1alpha1.TokenSecret{Keys: &v1alpha1.SecretKeys{JSAPITicket: "x"}})),
		"label":         weChatToken(labels(map[string]v1alpha1.LabelValue{"a": "b"})),
		"other label":   weChatToken(labels(map[string]v1alpha1.LabelValue{"a": "c"})),
		"empty label":   weChatToken(labels(map[string]v1alpha1.LabelValue{"a": ""})),
		"two labels":    weChatToken(labels(map[string]v1alpha1.LabelValue{"a": "b", "c": "d"})),
		"annotation":    weChatToken(annotations(map[string]v1alpha1.AnnotationValue{"a": "b"})),
		"like two":      weChatToken(annotations(map[string]v1alpha1.AnnotationValue{"a": `b","annotation c="d`})),
		"like a quote":  weChatToken(annotations(map[string]v1alpha1.AnnotationValue{"a": `b"`})),
		"like a ticket": weChatToken(annotations(map[string]v1alpha1.AnnotationValue{"a": `b",ticket,"jsapi_ticket`})),
	} {
		layout := layoutOf(wt)
		if other := seen[layout]; other != "" {
			t.Errorf("%s and %s have one layout", name, other)
		}
		seen[layout] = name
	}

	for name, pair := range map[string][2]*v1alpha1.WeChatToken{
		"TicketOrder": {weChatToken(both), weChatToken(wanting(v1alpha1.TicketWxCard, v1alpha1.TicketJSAPI))},
		"EmptySecret": {weChatToken(), weChatToken(storing(v1alpha1.TokenSecret{}))},
		"Defaults":    {weChatToken(), weChatToken(storing(v1alpha1.TokenSecret{Keys: &v1alpha1.SecretKeys{AccessToken: "access_token"}}))},
		"UnusedKey":   {weChatToken(), weChatToken(storing(v1alpha1.TokenSecret{Keys: &v1alpha1.SecretKeys{JSAPITicket: "x"}}))},
	} {
		if layoutOf(pair[0]) != layoutOf(pair[1]) {
			t.Errorf("%s: what means the same has two layouts", name)
		}
	}
	// The maps of Go have no order.
	many := map[string]v1alpha1.LabelValue{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}
	first := layoutOf(weChatToken(labels(many)))
	for range 100 {
		if layoutOf(weChatToken(labels(many))) != first {
			t.Fatal("the layout depends on chance")
		}
	}
}

// A label that was taken out of the spec is still on the Secret, as one of other
// people would be. The layout tells them apart.
func TestALabelTakenOutOfTheSpecIsMissed(t *testing.T) {
	t.Parallel()
	before := Render(weChatToken(storing(v1alpha1.TokenSecret{Labels: map[string]v1alpha1.LabelValue{"team": "web"}})), full(), key)
	if !Matches(before, before) {
		t.Error("the Secret is not as it was written")
	}
	if Matches(before, Render(weChatToken(), full(), key)) {
		t.Error("the Secret would keep the label")
	}
}

// A name of 253 bytes is a label of 63, which is valid wherever it is cut, and is
// told from that of a name with the same beginning.
func TestALongNameIsAValidLabel(t *testing.T) {
	t.Parallel()
	labelOf := func(name string) string {
		return Render(weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Name = name }), full(), key).Labels[LabelName]
	}
	for _, unit := range []string{"a", "a.", "a-", "ab-.c"} {
		for length := 1; length <= 253; length++ {
			name := strings.Repeat(unit, 253)[:length]
			if len(validation.IsDNS1123Subdomain(name)) > 0 {
				continue // the API server does not take it
			}
			label := labelOf(name)
			if problems := validation.IsValidLabelValue(label); len(problems) > 0 {
				t.Errorf("%q for the name %q: %v", label, name, problems)
			}
			if length <= 63 && label != name {
				t.Errorf("%q for the name %q", label, name)
			}
			if other := labelOf(name + "z"); other == label {
				t.Errorf("%q for two names, %q and z behind it", label, name)
			}
		}
	}
}
