//go:build integration

package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
)

var errNotYet = errors.New("not yet")

func TestRefreshBringsANewToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.install()
	w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	old := w.token("shop")
	// Who has no more than this role may do it.
	w.runAs(w.person("wechattoken-refresher"), "refresh", "shop", "--wait").wants(t, 0, "the Secret shop-token holds the token "+w.get("shop").Status.TokenFingerprint)
	if w.token("shop") == old {
		t.Error("the token is the old one")
	}
	w.runAs(w.person("wechat-token-operator-view"), "refresh", "shop").wants(t, exitCluster, "wechattoken-refresher also refresh")

	// The next one has to wait for WeChat, and the time may be up before.
	w.run("refresh", "shop", "--wait", "--timeout=3s").wants(t, exitTimeout, "RefreshDeferred", "It is not done within 3s", "waits until")
	w.run("refresh", "shop").wants(t, 0, "a new token was asked for")
	w.run("refresh", "none").wants(t, exitCluster, `There is no WeChatToken "none"`)
	w.run("refresh").wants(t, exitUsage, "accepts 1 arg")
	w.create("taker", v1alpha1.ModeStable, func(wt *v1alpha1.WeChatToken) {
		wt.Spec = v1alpha1.WeChatTokenSpec{SourceRef: v1alpha1.SourceReference{Namespace: "platform", Name: "shop"}, Secret: wt.Spec.Secret}
	})
	w.run("refresh", "taker").wants(t, exitNo, "takes the token of WeChatToken shop in namespace platform")
	w.run("refresh", "shop", "--timeout=0s").wants(t, exitUsage, "--timeout")
}

func TestRefreshIfInvalidAsksWeChatFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeStable, v1alpha1.ModeClassic} {
		name := strings.ToLower(string(mode))
		w.create(name, mode)
		w.awaitReady(name)
		old := w.token(name)
		w.run("refresh", name, "--if-invalid").wants(t, 0, "WeChat says that the token "+w.get(name).Status.TokenFingerprint+" is valid")
		if w.token(name) != old {
			t.Errorf("%s: a living token was replaced", name)
		}
	}
	w.create("killed", v1alpha1.ModeStable)
	w.awaitReady("killed")
	old := w.token("killed")
	if !w.fake.Revoke(old) {
		t.Fatal("the fake does not know the token")
	}
	w.run("refresh", "killed", "--if-invalid").wants(t, 0, "was invalid, and has been replaced")
	if now := w.token("killed"); now == old || !w.fake.Valid(now) {
		t.Error("the invalid token was not replaced by a valid one")
	}
}

func TestRefreshTellsWhenTheBudgetIsUsedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operator := w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	operator.Kill()
	next := w.exhaust("shop")
	w.operate()
	began := time.Now()
	got := w.run("refresh", "shop", "--wait", "--timeout=100s")
	got.wants(t, exitLimit, "the next is possible at "+stamp(next.Add(time.Second)))
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("it took %s to give up", took)
	}
	w.run("revoke", "shop", "--yes").wants(t, exitLimit, "It takes 2 forced refreshes, and 0 are left", stamp(next))
}

// exhaust makes the Secret say that the forced refreshes are used up, the first an
// hour ago. It returns when the next one is possible.
func (w *world) exhaust(name string) time.Time {
	w.t.Helper()
	first := time.Now().Add(-time.Hour).Truncate(time.Second)
	w.remember(name, func(r *record.Record) {
		r.Spent.Forced = nil
		for i := range budget.ForcedPerDay {
			r.Spent.Forced = append(r.Spent.Forced, first.Add(time.Duration(i)*time.Minute))
		}
	})
	return first.Add(24 * time.Hour)
}

func TestRefreshGivesUpWhereNothingIsToBeExpected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.create("suspended", v1alpha1.ModeStable)
	w.create("frozen", v1alpha1.ModeStable)
	w.awaitReady("suspended")
	w.awaitReady("frozen")
	w.kubectl("patch", "wxt/suspended", "--type=merge", `-p={"spec":{"suspend":true}}`)
	w.await("suspended", v1alpha1.ReasonSuspended)
	w.run("refresh", "suspended", "--wait", "--timeout=60s").wants(t, exitNo, "kubectl wechattoken resume suspended")
	w.run("refresh", "suspended").wants(t, 0, "the request waits until kubectl wechattoken resume suspended")
	w.run("revoke", "suspended", "--yes").wants(t, exitNo, "spec.suspend is true")

	w.fake.Freeze(w.get("frozen").Spec.AppID, true)
	w.run("refresh", "frozen", "--wait", "--timeout=60s").wants(t, exitNo, "AppSecretFrozen", "Unfreeze")
}

func TestRefreshSaysThatNoOperatorAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", v1alpha1.ModeStable)
	w.run("refresh", "shop", "--wait", "--timeout=2s").wants(t, exitTimeout, "no operator has seen", "kubectl wechattoken doctor shop")
	w.run("refresh", "shop", "--if-invalid").wants(t, exitNo, "There is no token yet")
}

func TestCtrlCEndsTheWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", v1alpha1.ModeStable)
	ctx, interrupt := context.WithCancel(t.Context())
	kubeconfig := w.Proxy(t, func(api http.RoundTripper) testcluster.RoundTrip {
		return func(r *http.Request) (*http.Response, error) {
			if strings.Contains(testcluster.RequestOf(r), "wechattokens") && w.get("shop").Annotations[v1alpha1.AnnotationRefreshRequestedAt] != "" {
				interrupt() // it waits
			}
			return api.RoundTrip(r)
		}
	})
	w.runWithin(ctx, kubeconfig, "refresh", "shop", "--wait", "--timeout=100s").wants(t, exitInterrupted, "Interrupted. What was asked of the operator stays asked")
}
