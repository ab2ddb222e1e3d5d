//go:build integration

package main

import (
	"testing"

	"wechattoken.io/operator/api/v1alpha1"
)

func TestRevokedTokenIsInvalid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.install()
	w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	leaked := w.token("shop")
	fingerprint := w.get("shop").Status.TokenFingerprint

	w.run("revoke", "shop").wants(t, exitUsage, "There is no terminal to ask on", fingerprint)
	if w.token("shop") != leaked {
		t.Fatal("it did something without a word of a person")
	}
	if !w.fake.Valid(leaked) {
		t.Fatal("the leaked token was invalid before")
	}
	// Somebody on call, who may not read Secrets.
	got := w.runAs(w.person("wechattoken-refresher"), "revoke", "shop", "--yes")
	got.wants(t, 0, "How many forced refreshes are left is unknown", "Step 1 of 2 is done", "WeChat wants 30s between", "RefreshDeferred",
		"Step 2 of 2 is done", "the leaked token "+fingerprint+" is invalid since", "If the AppSecret may have leaked", "Secret shop-app")
	if w.fake.Valid(leaked) {
		t.Error("the leaked token is valid")
	}
	if now := w.token("shop"); now == leaked || !w.fake.Valid(now) {
		t.Error("the Secret holds no valid token")
	}
	if got := w.fake.Counts(w.get("shop").Spec.AppID).Forced; got != 2 {
		t.Errorf("got %d forced calls, want 2", got)
	}
}

// One refresh is not enough: that is why there are two.
func TestOneRefreshLeavesTheLeakedTokenValid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	leaked := w.token("shop")
	w.run("refresh", "shop", "--wait").wants(t, 0)
	if !w.fake.Valid(leaked) {
		t.Error("the leaked token is invalid after one refresh")
	}
}

func TestRevokeInClassicModeIsOneRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.create("shop", v1alpha1.ModeClassic)
	w.awaitReady("shop")
	leaked := w.token("shop")
	w.run("revoke", "shop", "--yes").wants(t, 0, "Step 1 of 1 is done", "5 minutes after the refresh", "!Step 2")
	if w.token("shop") == leaked {
		t.Error("the Secret still holds the leaked token")
	}
}
