//go:build integration

package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// there reports whether a Secret is in the namespace.
func (w *world) there(name string) bool {
	w.t.Helper()
	err := w.Get(w.t.Context(), client.ObjectKey{Name: name}, &corev1.Secret{})
	w.must(client.IgnoreNotFound(err))
	return !apierrors.IsNotFound(err)
}

func TestCreateBringsAFirstToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	appID, secret := w.account()
	got := w.runOn(t.Context(), secret+"\n", w.Kubeconfig, "create", "shop", "--appid="+appID)
	got.wants(t, 0, "/shop is created. It takes the AppSecret from Secret shop-app.", "the Secret shop-token holds the token", "mount Secret shop-token as a directory")
	if !w.fake.Valid(w.token("shop")) {
		t.Error("the Secret holds no valid token")
	}
	// What is there stays as it is.
	before := w.get("shop").ResourceVersion
	other, _ := w.account()
	w.run("create", "shop", "--appid="+other).wants(t, exitNo, "is there already, and nothing was changed", "kubectl wechattoken status shop")
	if w.get("shop").ResourceVersion != before {
		t.Error("the WeChatToken was changed")
	}
	// A Secret that is there can be used.
	w.run("create", "again", "--appid="+appID, "--appsecret-ref=shop-app").wants(t, 0, "the Secret again-token holds the token")
}

func TestCreateWritesNothingAfterARefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	appID, secret := w.account()
	w.must(w.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "old-app"}, StringData: map[string]string{"appsecret": "theirs"}}))
	w.must(w.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "used-token"}}))
	file := filepath.Join(t.TempDir(), "appsecret")
	w.must(os.WriteFile(file, []byte(secret), 0o600))
	create := func(stdin string, args ...string) result {
		t.Helper()
		return w.runOn(t.Context(), stdin, w.Kubeconfig, append([]string{"create", "--appid=" + appID}, args...)...)
	}
	create("", "Shop").wants(t, exitCluster, "metadata.name")
	create("", "shop").wants(t, exitUsage, "There was no AppSecret. Nothing was created")
	create("hunter2", "shop").wants(t, exitUsage, "it is not 32 hex digits", "!hunter2")
	create("", "shop", "--appsecret-ref=none").wants(t, exitNo, "There is no Secret none")
	create("", "shop", "--appsecret-file=/no/such").wants(t, exitUsage, "no such file")
	create(secret, "old").wants(t, exitNo, "Secret old-app is there already", "--appsecret-ref=old-app")
	create(secret, "used").wants(t, exitNo, "Secret used-token is there already")
	var all v1alpha1.WeChatTokenList
	w.must(w.List(t.Context(), &all))
	if len(all.Items) != 0 || w.there("shop-app") || w.there("used-app") {
		t.Errorf("something was created: %v", all.Items)
	}
	create("", "shop", "--appsecret-file="+file, "--wait=false").wants(t, 0, "is created", "kubectl wechattoken status shop")
	if !w.there("shop-app") {
		t.Error("there is no Secret with the AppSecret")
	}
	// Nobody works on it.
	create(secret, "lonely", "--timeout=3s").wants(t, exitTimeout, "no operator has seen", "kubectl wechattoken doctor lonely")
}

func TestCreateSaysWhichAddressToAllow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	appID, secret := w.account()
	w.fake.Allow(appID, netip.MustParsePrefix("192.0.2.0/24"))
	w.runOn(t.Context(), secret, w.Kubeconfig, "create", "shop", "--appid="+appID).
		wants(t, exitNo, "Add 127.0.0.1 to the IP allow-list", "Then run: kubectl wechattoken refresh shop -n "+w.Name+" --wait")
	w.fake.Allow(appID)
	w.run("refresh", "shop", "--wait").wants(t, 0, "the Secret shop-token holds the token")
}

func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.install()
	w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.create("mini", v1alpha1.ModeStable)
	w.awaitReady("shop")
	w.awaitReady("mini")
	w.run("suspend", "shop", "none").wants(t, exitCluster, `There is no WeChatToken "none"`)
	if w.get("shop").Spec.Suspend {
		t.Fatal("one of two was suspended")
	}
	w.runAs(w.person("wechattoken-refresher"), "suspend", "shop").wants(t, exitCluster, "!suspended. ")
	w.run("suspend", "shop", "mini").wants(t, 0, "shop: suspended. The token is not refreshed, and is valid until", "kubectl wechattoken resume mini")
	w.await("shop", v1alpha1.ReasonSuspended)
	w.await("mini", v1alpha1.ReasonSuspended)
	w.run("resume", "shop", "--wait").wants(t, 0, "shop: resumed", "the Secret shop-token holds the token")
	w.awaitReady("shop")
	if !w.get("mini").Spec.Suspend || w.get("shop").Spec.Suspend {
		t.Error("the wrong one was resumed")
	}
	w.run("resume", "mini").wants(t, 0, "mini: resumed")
	w.awaitReady("mini")
	w.run("resume", "shop").wants(t, 0) // as it is
}
