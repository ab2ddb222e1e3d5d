//go:build integration

package controllers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The whole way of the tickets on a real API server: they come with the spec,
// under the keys it names, and go with it.
func TestTicketsComeAndGoWithTheSpec(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	n.operate(url)
	n.create(appSecret(testAppSecret), weChatToken(bothTickets))
	n.kubectl("wait", "--for=condition=TicketsReady", "wxt/shop", "--timeout=60s")

	keys := func() []string { return slices.Sorted(maps.Keys(n.secret("shop").Data)) }
	s, wt := n.secret("shop"), n.token("shop")
	if diff := cmp.Diff([]string{"access_token", "appid", "expires_at", "jsapi_ticket", "jsapi_ticket_expires_at", "obtained_at", "wx_card_ticket", "wx_card_ticket_expires_at"}, keys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	for i, key := range []string{"jsapi_ticket", "wx_card_ticket"} {
		got := wt.Status.Tickets[i]
		if !fake.TicketValid(string(s.Data[key])) || got.Fingerprint != record.Fingerprint(string(s.Data[key])) || got.ExpirationTime.UTC().Format(time.RFC3339) != string(s.Data[key+"_expires_at"]) {
			t.Errorf("%s works: %t, status %+v", key, fake.TicketValid(string(s.Data[key])), got)
		}
	}
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)

	rename := func(wt *v1alpha1.WeChatToken) {
		wanting(v1alpha1.TicketWxCard)(wt)
		wt.Spec.Secret = &v1alpha1.TokenSecret{Keys: &v1alpha1.SecretKeys{WxCardTicket: "card", WxCardTicketExpiresAt: "card-until"}}
	}
	update(n, n.token("shop"), rename)
	want := []string{"access_token", "appid", "card", "card-until", "expires_at", "obtained_at"}
	testcluster.Eventually(t, "the keys follow", func() error {
		if diff := cmp.Diff(want, keys()); diff != "" {
			return fmt.Errorf("keys (-want +got):\n%s", diff)
		}
		return nil
	})
	if got := string(n.secret("shop").Data["card"]); got != string(s.Data["wx_card_ticket"]) {
		t.Error("the ticket is another one")
	}

	update(n, n.token("shop"), wanting())
	testcluster.Eventually(t, "nothing is left of the tickets", func() error {
		s, wt := n.secret("shop"), n.token("shop")
		if len(s.Data) != 4 || strings.Contains(s.Annotations[record.Annotation], "ticket") || wt.Status.Tickets != nil || len(wt.Status.Conditions) != 1 {
			return fmt.Errorf("keys %s, record %s, status %+v", keys(), s.Annotations[record.Annotation], wt.Status)
		}
		return nil
	})
	if c := fake.Counts(testAppID); c.Ticket.Calls != 2 || c.Stable.Calls != 1 {
		t.Errorf("calls %+v", c)
	}
}

// Events and the status tell of an account without the JS-SDK, and the token
// does not mind. A change of the spec asks again.
func TestUnauthorizedTicketIsTold(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	fake.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Endpoint: wechattest.Ticket, Code: 48001})
	n.operate(url)
	n.create(appSecret(testAppSecret), weChatToken(wanting(v1alpha1.TicketJSAPI)))
	n.kubectl("wait", "--for=jsonpath={.status.conditions[?(@.type==\"TicketsReady\")].reason}=TicketUnauthorized", "wxt/shop", "--timeout=60s")
	n.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	if out := n.kubectl("describe", "wxt", "shop"); !strings.Contains(out, "48001 (api unauthorized)") || !strings.Contains(out, "take the type out of spec.tickets") {
		t.Errorf("kubectl describe:\n%s", out)
	}
	testcluster.Eventually(t, "an event tells it", func() error {
		var events eventsv1.EventList
		if err := n.List(t.Context(), &events); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Reason == v1alpha1.ReasonTicketUnauthorized && e.Type == "Warning" {
				return nil
			}
		}
		return fmt.Errorf("%d events", len(events.Items))
	})
	fake.ClearFaults()
	update(n, n.token("shop"), bothTickets)
	n.kubectl("wait", "--for=condition=TicketsReady", "wxt/shop", "--timeout=60s")
}
