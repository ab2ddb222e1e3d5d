//go:build integration

package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

// ward is a world with a healthy operator and a healthy WeChatToken, shop.
type ward struct {
	*world

	operator *testcluster.Program
}

// installed is held by a test that changes the installed operator, and shared by those
// that want it healthy.
var installed sync.RWMutex

func newWard(t *testing.T) *ward {
	t.Helper()
	installed.RLock()
	t.Cleanup(installed.RUnlock)
	return openWard(t)
}

// newWardAlone is of a test that changes the installed operator.
func newWardAlone(t *testing.T) *ward {
	t.Helper()
	installed.Lock()
	t.Cleanup(installed.Unlock)
	return openWard(t)
}

func openWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{world: newWorld(t)}
	w.install()
	w.operator = w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	return w
}

// awaitLine waits until the doctor says so.
func (w *ward) awaitLine(level level, check, text string, args ...string) {
	w.t.Helper()
	var got result
	testcluster.Eventually(w.t, "the doctor says "+text, func() error {
		got = w.run(append([]string{"doctor", "shop"}, args...)...)
		if !hasLine(got.stdout, level, check, text) {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	if failed := strings.Contains(got.stdout, "  FAIL "); (got.code == exitNo) != failed {
		w.t.Errorf("got exit code %d for\n%s", got.code, got)
	}
}

func hasLine(out string, level level, check, text string) bool {
	for line := range strings.SplitSeq(out, "\n") {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == string(level) && fields[1] == check && strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// reinstall puts back what a test has changed of the operator's Deployment. An
// apply would leave what it does not name.
func (w *ward) reinstall() {
	w.t.Helper()
	d := w.object(&appsv1.Deployment{}, operatorName, operatorName)
	w.must(client.IgnoreNotFound(w.All.Delete(w.t.Context(), d)))
	w.apply()
	w.available(2)
}

func (w *ward) patch(obj client.Object, patch string) {
	w.t.Helper()
	w.must(w.All.Patch(w.t.Context(), obj, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

func (w *ward) object(obj client.Object, namespace, name string) client.Object {
	obj.SetNamespace(namespace)
	obj.SetName(name)
	return obj
}

func (w *ward) awaitHealth() {
	w.t.Helper()
	var got result
	testcluster.Eventually(w.t, "all is well", func() error {
		if got = w.run("doctor", "shop"); got.code != 0 {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}

// Each check is seen to fail, and to pass again.
func TestDoctorFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWardAlone(t)
	w.awaitHealth()
	healthy := w.run("doctor", "shop")
	healthy.wants(t, 0, "!FAIL", "!warn", "!unknown", "image wechat-token-operator")
	for _, check := range clusterChecks {
		if check.name != "dial" && !strings.Contains(healthy.stdout, "  "+check.name+"  ") {
			t.Errorf("there is no line %s in %s", check.name, healthy)
		}
	}
	for _, check := range tokenChecks {
		if !strings.Contains(healthy.stdout, "  "+check.name+"  ") {
			t.Errorf("there is no line %s in %s", check.name, healthy)
		}
	}

	deployment := func() client.Object { return w.object(&appsv1.Deployment{}, operatorName, operatorName) }
	shop := func() client.Object { return w.object(&v1alpha1.WeChatToken{}, w.Name, "shop") }
	appID := w.get("shop").Spec.AppID
	renewed := time.Now()
	leads := func() { w.lead("leader", renewed, time.Hour) }
	for _, sickness := range []struct {
		what        string
		begin, end  func()
		level       level
		check, text string
	}{
		{
			what:  "a Deployment without pods",
			begin: func() { w.available(0) }, end: func() { w.available(2) },
			level: fail, check: "operator", text: "no available pod of 2",
		},
		{
			what:  "half of a Deployment",
			begin: func() { w.available(1) }, end: func() { w.available(2) },
			level: warn, check: "operator", text: "1 of 2",
		},
		{
			what: "no Deployment", begin: func() { w.must(w.All.Delete(t.Context(), deployment())) },
			level: fail, check: "operator", text: "there is no Deployment with the label",
			end: w.reinstall,
		},
		{
			what: "nobody leads", begin: func() { w.lead("", renewed, time.Hour) }, end: leads,
			level: fail, check: "leader", text: "nobody leads",
		},
		{
			what: "the leader is gone", begin: func() { w.lead("leader", renewed.Add(-time.Minute), 15*time.Second) }, end: leads,
			level: fail, check: "leader", text: "has not renewed its lease for",
		},
		{
			what: "the leader's clock is wrong", begin: func() { w.lead("far_off", renewed.Add(time.Hour), 15*time.Second) }, end: leads,
			level: fail, check: "clock", text: "the leader of wechat-token-operator/wechat-token-operator is 59m",
		},
		{
			what: "the operator lost its role", begin: func() {
				w.must(w.All.Delete(t.Context(), w.object(&rbacv1.ClusterRoleBinding{}, "", operatorName)))
			},
			level: fail, check: "operator-permissions", text: "may not create secrets in all namespaces", end: w.apply,
		},
		{
			what: "two operators", begin: func() {
				var d appsv1.Deployment
				w.must(w.All.Get(t.Context(), client.ObjectKeyFromObject(deployment()), &d))
				other := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: w.Name, Labels: d.Labels}, Spec: d.Spec}
				w.must(w.All.Create(t.Context(), &other))
			},
			level: fail, check: "watched", text: "work on it, and must not",
			end: func() {
				w.must(w.All.Delete(t.Context(), w.object(&appsv1.Deployment{}, w.Name, operatorName)))
			},
		},
		{
			what: "no operator for it", begin: func() {
				w.patch(deployment(), `{"spec":{"template":{"spec":{"containers":[{"name":"manager","image":"x","args":["--selector=wechattoken.io/shard=a"]}]}}}}`)
			},
			level: fail, check: "watched", text: "no operator works on it", end: w.reinstall,
		},
		{
			what:  "it is suspended",
			begin: func() { w.patch(shop(), `{"spec":{"suspend":true}}`) }, end: func() { w.patch(shop(), `{"spec":{"suspend":null}}`) },
			level: fail, check: "suspended", text: "kubectl wechattoken resume shop",
		},
		{
			what: "the AppSecret's Secret is gone", begin: func() { w.patch(shop(), `{"spec":{"appSecretRef":{"name":"none"}}}`) },
			level: fail, check: "appsecret", text: "there is no Secret none: kubectl",
			end: func() { w.patch(shop(), `{"spec":{"appSecretRef":{"name":"shop-app"}}}`) },
		},
		{
			what: "no such key", begin: func() { w.patch(shop(), `{"spec":{"appSecretRef":{"key":"none"}}}`) },
			level: fail, check: "appsecret", text: "nothing under the key none",
			end: func() { w.patch(shop(), `{"spec":{"appSecretRef":{"key":null}}}`) },
		},
		{
			what: "WeChat does not answer, and the address is not allowed", begin: func() {
				w.fake.Allow(appID, netip.MustParsePrefix("192.0.2.0/24"))
				w.operator.Kill() // what it knows of the token it would write again
				w.must(w.Delete(t.Context(), w.object(&corev1.Secret{}, w.Name, "shop-token")))
				w.operator = w.operate()
			},
			level: fail, check: "allow-list", text: "WeChat saw the address 127.0.0.1",
			end: func() {
				w.fake.Allow(appID)
				w.patch(shop(), `{"spec":{"checkInterval":"1h"}}`) // a change of the spec ends the wait
			},
		},
		{
			what: "a consumer with env", begin: func() { w.must(w.Create(t.Context(), deploymentWith(w.Name, "worker", "shop-token"))) },
			level: fail, check: "consumers", text: "Deployment/worker never see",
			end: func() { w.must(w.All.Delete(t.Context(), w.object(&appsv1.Deployment{}, w.Name, "worker"))) },
		},
		{
			what: "a pod of a kind that nobody here knows", begin: func() { w.must(w.Create(t.Context(), podOfACloneSet(w.Name))) },
			level: fail, check: "consumers", text: "CloneSet/clone never see",
			end: func() { w.must(w.All.Delete(t.Context(), podOfACloneSet(w.Name), client.GracePeriodSeconds(0))) },
		},
		{
			what:  "the schema is old",
			begin: func() { w.crd("remove") }, end: func() { w.crd("restore") },
			level: fail, check: "crd", text: "lacks spec.tickets",
		},
	} {
		t.Log(sickness.what)
		sickness.begin()
		w.awaitLine(sickness.level, sickness.check, sickness.text)
		sickness.end()
		w.awaitHealth()
	}
}

// lead makes the lease of the operator say who leads.
func (w *ward) lead(holder string, renewed time.Time, lasts time.Duration) {
	w.t.Helper()
	w.patch(w.object(&coordinationv1.Lease{}, operatorName, operatorName), fmt.Sprintf(`{"spec":{"holderIdentity":%q,"leaseDurationSeconds":%d,"renewTime":%q}}`,
		holder, int(lasts.Seconds()), renewed.UTC().Format(metav1.RFC3339Micro)))
}

// deploymentWith has the Secret as env.
func deploymentWith(namespace, name, secret string) *appsv1.Deployment {
	d := deployment(name, secret, true)
	d.Namespace = namespace
	return d
}

// podOfACloneSet has the Secret as env.
func podOfACloneSet(namespace string) *corev1.Pod {
	owner := metav1.OwnerReference{APIVersion: "apps.kruise.io/v1alpha1", Kind: "CloneSet", Name: "clone", UID: "clone", Controller: new(true)}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "clone-1", OwnerReferences: []metav1.OwnerReference{owner}},
		Spec:       deployment("clone", "shop-token", true).Spec.Template.Spec,
	}
}

// crd takes a field out of the installed kind, or puts it back.
func (w *ward) crd(what string) {
	w.t.Helper()
	if what == "restore" {
		w.apply()
		return
	}
	var crd unstructured.Unstructured
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	w.must(w.All.Get(w.t.Context(), client.ObjectKey{Name: "wechattokens.wechattoken.io"}, &crd))
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	w.must(err)
	unstructured.RemoveNestedField(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties", "tickets")
	w.must(unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"))
	w.must(w.All.Update(w.t.Context(), &crd))
}

func TestDoctorLooksAtTheTimes(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.operator.Kill()
	w.exhaust("shop")
	w.awaitLine(fail, "budget", "0 of 20 forced refreshes of 24 hours are left; the next one is possible at")

	// An operator that is gone does not replace the token.
	status := fmt.Sprintf(`{"status":{"expirationTime":%q,"nextRefreshTime":%q}}`, stamp(time.Now().Add(3*time.Minute)), stamp(time.Now().Add(-2*time.Minute)))
	wt := w.get("shop")
	w.must(w.Status().Patch(t.Context(), wt, client.RawPatch("application/merge-patch+json", []byte(status))))
	w.awaitLine(fail, "expiry", "its refresh is overdue")
	w.expire("shop", time.Now().Add(-time.Minute))
	w.awaitLine(fail, "expiry", "the token is invalid since")
	w.awaitLine(fail, "ready", "the operator has not reported it")
}

func TestDoctorLooksAtTheAppSecretsForm(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.operator.Kill()
	for value, want := range map[string]struct {
		level level
		text  string
	}{
		"too-short":                              {fail, "is no AppSecret: it is not 32 hex digits"},
		`"0123456789abcdef0123456789abcdef"`:     {fail, "is in quotation marks"},
		"\ufeff0123456789abcdef0123456789abcdef": {warn, "invisible characters"},
		"0123456789abcdef0123456789abcdef\n":     {pass, "32 hex digits"},
		"  ":                                     {fail, "nothing under the key appsecret"},
		"0123456789abcdef0123456789abcdef":       {pass, "32 hex digits"},
	} {
		var s corev1.Secret
		w.must(w.Get(t.Context(), client.ObjectKey{Name: "shop-app"}, &s))
		s.Data["appsecret"] = []byte(value)
		w.must(w.Update(t.Context(), &s))
		w.awaitLine(want.level, "appsecret", want.text)
	}
}

func TestDoctorSaysWhatItMayNotSee(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	got := w.runAs(w.person("wechattoken-refresher"), "doctor", "shop")
	got.wants(t, 0, "!FAIL")
	for check, text := range map[string]string{
		"operator":  "--operator-namespace",
		"appsecret": "you may not read Secret shop-app",
		"secret":    "you may not read Secret shop-token",
		"consumers": "you may not list the workloads",
		"budget":    "Secret shop-token",
	} {
		if !hasLine(got.stdout, unknown, check, text) {
			t.Errorf("no line unknown %s %s in %s", check, text, got)
		}
	}
	if !hasLine(got.stdout, pass, "your-permissions", "") {
		t.Errorf("who may refresh is told something else: %s", got)
	}
	viewer := w.runAs(w.person("wechat-token-operator-view"), "doctor", "shop")
	if !hasLine(viewer.stdout, warn, "your-permissions", "you may not patch wechattokens.wechattoken.io in namespace "+w.Name) {
		t.Errorf("who may not refresh is not told: %s", viewer)
	}
}

func TestDoctorFindsAForeignSecret(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.must(w.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "foreign"}}))
	w.patch(w.object(&v1alpha1.WeChatToken{}, w.Name, "shop"), `{"spec":{"secret":{"name":"foreign"}}}`)
	w.awaitLine(fail, "secret", "Secret foreign is not this WeChatToken's")
	w.awaitLine(fail, "ready", "SecretConflict")
}

// Of two WeChatTokens with one Secret, the older one has it, and the workloads are its own.
func TestDoctorNamesTheWeChatTokenThatHasTheSecret(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.create("older", v1alpha1.ModeStable)
	w.awaitReady("older")
	w.must(w.Create(t.Context(), deployment("web", "older-token", true)))
	w.patch(w.object(&v1alpha1.WeChatToken{}, w.Name, "shop"), `{"spec":{"secret":{"name":"older-token"}}}`)
	w.awaitLine(fail, "secret", "Secret older-token is that of WeChatToken older")
	w.awaitLine(unknown, "consumers", "no workload can have the token")
}

// Another clock is one behind a proxy that shifts the API server's.
func TestDoctorComparesTheClocks(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	for apart, want := range map[time.Duration]struct {
		level level
		text  string
	}{
		20 * time.Second:  {warn, "behind the API server's"},
		-20 * time.Second: {warn, "ahead of the API server's"},
		-time.Hour:        {fail, "ahead of the API server's"},
	} {
		kubeconfig := w.Proxy(t, func(api http.RoundTripper) testcluster.RoundTrip {
			return func(r *http.Request) (*http.Response, error) {
				resp, err := api.RoundTrip(r)
				if err != nil {
					return nil, err
				}
				date, err := http.ParseTime(resp.Header.Get("Date"))
				resp.Header.Set("Date", date.Add(apart).Format(http.TimeFormat))
				return resp, err
			}
		})
		got := w.runAs(kubeconfig, "doctor", "shop")
		if !hasLine(got.stdout, want.level, "clock", want.text) {
			t.Errorf("%s apart: no line %s %s in %s", apart, want.level, want.text, got)
		}
	}
}

// pemOf is the certificate of a server.
func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestDoctorDialsWeChat(t *testing.T) {
	t.Parallel()
	w := newWardAlone(t)
	calls := 0
	weChat := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		calls++
		if r.URL.Path != "/" || r.Method != http.MethodHead {
			t.Errorf("the doctor asked for %s %s", r.Method, r.URL.Path)
		}
	}))
	certificate := filepath.Join(t.TempDir(), "ca.pem")
	w.must(os.WriteFile(certificate, pemOf(weChat), 0o600))
	w.patch(w.object(&appsv1.Deployment{}, operatorName, operatorName), fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"manager","image":"x","args":["--wechat-url=%s"]}]}}}}`, weChat.URL))
	defer w.reinstall()
	dial := func() result {
		cmd := exec.Command(filepath.Join(binaries, "kubectl-wechattoken"), "-n", w.Name, "doctor", "shop", "--dial")
		cmd.Env = append(os.Environ(), "KUBECONFIG="+w.Kubeconfig, "SSL_CERT_FILE="+certificate)
		return w.finish(cmd)
	}
	if got := dial(); !hasLine(got.stdout, pass, "dial", "answers this machine") || calls != 1 {
		t.Errorf("%d calls\n%s", calls, got)
	}
	w.awaitLine(fail, "dial", "certificate", "--dial") // without that certificate
	weChat.Close()
	if got := dial(); !hasLine(got.stdout, fail, "dial", "refused") || got.code != exitNo {
		t.Errorf("%s", got)
	}
	if got := w.run("doctor", "shop"); strings.Contains(got.stdout, " dial ") {
		t.Errorf("without --dial: %s", got)
	}
}

// Without a name all of the namespace are looked at.
func TestDoctorLooksAtAll(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.create("other", v1alpha1.ModeClassic)
	w.awaitReady("other")
	w.run("doctor").wants(t, 0, "WeChatToken "+w.Name+"/shop", "WeChatToken "+w.Name+"/other", "of 2000 calls of the day are left")
	w.run("doctor", "shop", "-A").wants(t, exitUsage, "not both")
	w.run("doctor", "none").wants(t, exitCluster, "There is no WeChatToken")
	w.run("doctor", "shop", "-o", "xml").wants(t, exitUsage, "json or yaml")
	var r report
	w.must(json.Unmarshal([]byte(w.run("doctor", "-o", "json").stdout), &r))
	if len(r.Cluster) < 5 || len(r.WeChatTokens) != 2 || len(r.WeChatTokens[0].Findings) < 10 {
		t.Errorf("got %+v", r)
	}
	w.run("version").wants(t, 0, "kubectl-wechattoken ", "operator wechat-token-operator/wechat-token-operator, image wechat-token-operator:dev")
}

// check is the part of the doctor about the cluster.
func TestCheckLooksAtTheInstall(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.run("check").wants(t, 0, "operator-permissions", "leader leads", "!WeChatToken "+w.Name)
	w.run("check", "--server=https://127.0.0.1:1").wants(t, exitCluster, "The cluster cannot be reached")
	w.run("check", "--pre", "--server=https://127.0.0.1:1").wants(t, exitCluster, "The cluster cannot be reached")
	w.run("check", "--pre").wants(t, 0, "Kubernetes v1.", "the cluster has admission policies", "there is a CRD already", "Deployment wechat-token-operator/wechat-token-operator is there", "you may create what an install creates")
	w.runAs(w.person("wechat-token-operator-view"), "check", "--pre").wants(t, exitNo, "you may not create namespaces in all namespaces", "have a cluster administrator install it")
}
