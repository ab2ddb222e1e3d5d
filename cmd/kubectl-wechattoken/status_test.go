//go:build integration

package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

// timely are the parts of the output that depend on the time.
var timely = regexp.MustCompile(`\b(in )?\d+[hms](\d+[ms])?\b +`)

func TestStatusTellsHowTheTokensStand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.create("live", v1alpha1.ModeStable)
	wrong := w.create("wrong", v1alpha1.ModeStable, func(wt *v1alpha1.WeChatToken) { wt.Spec.AppSecretRef.Name = "live-app" })
	w.must(w.Create(t.Context(), deployment("web", "live-token", false)))
	w.must(w.Create(t.Context(), deployment("worker", "live-token", true)))
	w.awaitReady("live")
	w.await("wrong", v1alpha1.ReasonAppSecretInvalid)

	got := w.run("status")
	got.wants(t, exitNo)
	table := timely.ReplaceAllString(got.stdout, "<time> ")
	table = regexp.MustCompile(` +`).ReplaceAllString(table, " ")
	want := `NAME READY REASON LEFT REFRESH LAST ERROR SECRET CONSUMERS
live True TokenValid <time> <time> - live-token Deployment/worker(!), Deployment/web
wrong False AppSecretInvalid - - 40125 invalid appsecret wrong-token -
`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	w.run("status", "live").wants(t, 0, "TokenValid", "!wrong-token")
	w.run("status", "-o", "wide").wants(t, exitNo, wrong.Spec.AppID, "Stable", w.get("live").Status.TokenFingerprint, "Put the AppSecret")
	w.run("status", "-A", "-l", "no=such").wants(t, 0, "There are no WeChatTokens here")
	w.run("status", "live", "-A").wants(t, exitUsage, "not both")
	w.run("status", "-o", "xml").wants(t, exitUsage, "wide, json or yaml")
	w.run("status", "none").wants(t, exitCluster, `There is no WeChatToken "none"`)
	w.run("status", "-A").wants(t, exitNo, "NAMESPACE", w.Name)

	type items struct {
		Items []row `json:"items"`
	}
	var fromJSON, fromYAML items
	w.must(json.Unmarshal([]byte(w.run("status", "-o", "json").stdout), &fromJSON))
	w.must(yaml.Unmarshal([]byte(w.run("status", "-o", "yaml").stdout), &fromYAML))
	if len(fromJSON.Items) != 2 || fromJSON.Items[0].SecondsLeft == nil || *fromJSON.Items[0].SecondsLeft < 6000 || !fromJSON.Items[0].ConsumersKnown {
		t.Errorf("-o json: got %+v", fromJSON)
	}
	for _, all := range []items{fromJSON, fromYAML} {
		all.Items[0].SecondsLeft = nil
	}
	if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
		t.Errorf("-o (-json +yaml):\n%s", diff)
	}
}

// An operator that is down does not say that a token is invalid. The plugin does.
func TestStatusDoesNotBelieveADeadOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operator := w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	operator.Kill()
	w.expire("shop", time.Now().Add(-time.Minute))
	w.run("status").wants(t, exitNo, "TokenExpired", "expired")
}

// Who only refreshes sees no workloads, and is told so.
func TestStatusSaysWhatItMayNotSee(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.install()
	w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	w.runAs(w.person("wechattoken-refresher"), "status").wants(t, 0, "unknown", "you may not list the workloads and pods of namespace "+w.Name)
	w.runAs(w.person(), "status").wants(t, exitCluster, "view lets you read")
}

func TestStatusTakesConsumersFromTheOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.install()
	w.operate("--consumers")
	w.create("shop", v1alpha1.ModeStable)
	w.must(w.Create(t.Context(), deployment("web", "shop-token", false)))
	w.awaitReady("shop")
	who := w.person("wechattoken-refresher")
	testcluster.Eventually(t, "the status names the Deployment", func() error {
		if got := w.runAs(who, "status"); !strings.Contains(got.stdout, "Deployment/web") || got.stderr != "" {
			return errNotYet
		}
		return nil
	})
}

// Anybody who may not read the Secret does not learn what Reloader finds on it.
func TestStatusKnowsWhatReloaderRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.install()
	w.create("shop", v1alpha1.ModeStable)
	w.must(w.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: "shop-token", Annotations: map[string]string{"reloader.stakater.com/match": "true"},
	}}))
	for name, annotation := range map[string]string{"searches": "reloader.stakater.com/search", "automatic": "reloader.stakater.com/auto"} {
		d := deployment(name, "shop-token", true)
		d.Annotations = map[string]string{annotation: "true"}
		w.must(w.Create(t.Context(), d))
	}
	w.run("status").wants(t, exitNo, "Deployment/automatic, Deployment/searches", "!(!)")
	viewer := w.person("wechat-token-operator-view", "system:aggregate-to-view")
	w.runAs(viewer, "status").wants(t, exitNo, "Deployment/searches(!), Deployment/automatic")
}
