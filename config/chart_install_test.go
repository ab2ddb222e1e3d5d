//go:build integration

package config_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// findHelm is the program of hack/helm. Go keeps it in its cache.
var findHelm = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "tool", "-modfile=../hack/helm/go.mod", "-n", "helm").Output()
	return strings.TrimSpace(string(out)), err
})

// helmCommand is helm as an administrator, without what a user has set up for theirs.
func (p plane) helmCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := findHelm()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	home := filepath.Join(folder, "helm")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+p.Kubeconfig, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	return cmd
}

// helm must succeed, and returns what it prints.
func (p plane) helm(t *testing.T, args ...string) string {
	t.Helper()
	return succeed(t, p.helmCommand(t, args...))
}

// values are flags of helm that set values: pairs of a path and JSON.
func values(pairs ...string) []string {
	var flags []string
	for i := 0; i < len(pairs); i += 2 {
		flags = append(flags, "--set-json="+pairs[i]+"="+pairs[i+1])
	}
	return flags
}

func TestChartPassesLint(t *testing.T) {
	t.Parallel()
	for _, pairs := range [][]string{nil, all, append(slices.Clone(all), "namespaces", `["a", "b"]`)} {
		cluster.helm(t, append([]string{"lint", "chart", "--strict", "--namespace=" + name}, values(pairs...)...)...)
	}
}

// Only what is switched on asks for a newer Kubernetes.
func TestChartNeedsTheKubernetesOfWhatIsOn(t *testing.T) {
	t.Parallel()
	off := []string{"policy.enabled", "false"}
	for what, tc := range map[string]struct {
		kubernetes string
		values     []string
		refusal    string // empty for none
	}{
		"NoPolicies":       {"1.29.9", off, "chart requires kubeVersion: >=1.30.0-0"},
		"Least":            {"1.30.0", off, ""},
		"LeastOfACloud":    {"v1.30.0-cloud.1", off, ""},
		"Policy":           {"1.32.9", nil, "policy.enabled comes with a policy that needs Kubernetes 1.33, and this is v1.32.9"},
		"Touch":            {"1.32.9", append([]string{"consumers", `{"watch": true, "touch": true}`}, off...), "consumers.touch comes with"},
		"Restart":          {"1.32.9", append([]string{"consumers", `{"watch": true, "restart": true}`}, off...), "consumers.restart comes with"},
		"Server":           {"1.32.9", append([]string{"tokenServer.enabled", "true"}, off...), "tokenServer.enabled comes with"},
		"ServersNamespace": {"1.32.9", append([]string{"tokenServer.enabled", "true", "namespaces", `["web"]`}, off...), ""},
		"Everything":       {"1.33.0", all, ""},
		"EverythingCloud":  {"v1.33.0-cloud.1", all, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			out, err := cluster.helmCommand(t, append([]string{"template", name, "chart", "--kube-version=" + tc.kubernetes}, values(tc.values...)...)...).CombinedOutput()
			if (err == nil) != (tc.refusal == "") {
				t.Fatalf("got %v, want %q:\n%.500s", err, tc.refusal, out)
			}
			if err := contains(string(out), tc.refusal); err != nil {
				t.Error(err)
			}
		})
	}
}

// What the API server refuses, and fields that it does not know, come out before
// somebody installs it.
func TestChartIsValidWithEverythingOn(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	var text []byte
	kinds := map[string]int{}
	everything := renderedWithTests(t, all...)
	for _, o := range everything {
		kinds[o.GetKind()]++
		switch {
		case o.GetKind() == "Pod":
			continue // below, with those of the Deployments
		case strings.HasPrefix(o.GetAPIVersion(), "monitoring.coreos.com/"):
			continue // not of Kubernetes
		case o.GetKind() == "CustomResourceDefinition":
			continue // installed, and its name is what it is
		case o.GetNamespace() != "":
			o.SetNamespace(ns)
		}
		o.SetName("t-" + o.GetName()) // beside what is installed
		one, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, "---\n"...), one...)
	}
	for kind, want := range map[string]int{"ServiceMonitor": 1, "PrometheusRule": 1, "ConfigMap": 1, "NetworkPolicy": 3, "Pod": 1} {
		if kinds[kind] != want {
			t.Errorf("got %d of %s, want %d", kinds[kind], kind, want)
		}
	}
	apply := cluster.Kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
	apply.Stdin = strings.NewReader(string(text))
	succeed(t, apply)

	pods := ofKind[corev1.Pod](t, "Pod", everything)
	for _, d := range ofKind[appsv1.Deployment](t, "Deployment", everything) {
		pods = append(pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: d.Name}, Spec: d.Spec.Template.Spec})
	}
	for _, pod := range pods {
		pod.Namespace = ns
		pod.Spec.ServiceAccountName, pod.Spec.PriorityClassName = "", "" // admission looks for them
		if err := cluster.admin(t).Create(t.Context(), &pod, client.DryRunAll); err != nil {
			t.Errorf("the namespace is one of restricted Pod Security: %v", err)
		}
	}
	for deployment, command := range map[string]string{name: "manager", server: "token-server"} {
		args := container(deploymentOf(t, deployment, rendered(t, all...))).Args
		if out, err := exec.Command(program(t, command), append(args, "--help")...).CombinedOutput(); err != nil {
			t.Errorf("%s does not take %q: %v\n%s", command, args, err, out)
		}
	}
}

// A release is told from another by its version, so that its archive is always the same.
func TestChartIsPackedReproducibly(t *testing.T) {
	t.Parallel()
	sums := map[string]bool{}
	for range 2 {
		dir := t.TempDir()
		if err := os.CopyFS(filepath.Join(dir, "chart"), os.DirFS("chart")); err != nil { // with other times
			t.Fatal(err)
		}
		cmd := cluster.helmCommand(t, "package", filepath.Join(dir, "chart"), "--destination="+dir, "--version=1.2.3", "--app-version=v1.2.3")
		cmd.Env = append(cmd.Env, "SOURCE_DATE_EPOCH=1000000000")
		succeed(t, cmd)
		archive, err := os.ReadFile(filepath.Join(dir, name+"-1.2.3.tgz"))
		if err != nil {
			t.Fatal(err)
		}
		sums[string(archive)] = true
	}
	if len(sums) != 1 {
		t.Error("the same chart has two archives")
	}
}

const crd = "crd/wechattokens.wechattoken.io"

// helmCluster is the cluster without anything of ours: Helm takes over nothing that
// others have installed. One test has it at a time.
var helmCluster struct {
	sync.Mutex
	plane
}

func emptyCluster(t *testing.T) plane {
	t.Helper()
	helmCluster.Lock()
	t.Cleanup(helmCluster.Unlock)
	if helmCluster.Cluster == nil {
		c, err := testcluster.Start()
		if err != nil {
			t.Fatal(err)
		}
		helmCluster.Cluster = c
	}
	helmCluster.kubectl(t, "delete", crd, "--ignore-not-found") // the harness installs it, and Helm keeps it
	return helmCluster.plane
}

func stopHelmCluster() error {
	if helmCluster.Cluster == nil {
		return nil
	}
	return helmCluster.Stop()
}

// release does something with the release of a namespace, with values.
func (p plane) release(t *testing.T, what, name, namespace string, pairs ...string) {
	t.Helper()
	p.helm(t, append([]string{what, name, "chart", "--namespace=" + namespace}, values(pairs...)...)...)
}

// argsOf are the flags with which a release runs the manager.
func (p plane) argsOf(t *testing.T, release, namespace string) []string {
	t.Helper()
	manifest := decode(t, strings.NewReader(p.helm(t, "get", "manifest", release, "--namespace="+namespace)))
	return container(deploymentOf(t, name, manifest)).Args
}

// namesOf are the objects of kinds that there are in a cluster with this label.
func (p plane) namesOf(t *testing.T, kinds, instance string) []string {
	t.Helper()
	return strings.Fields(p.kubectl(t, "get", kinds, "-A", "-l", "app.kubernetes.io/instance="+instance, "-o", "name"))
}

const kinds = "deployments,poddisruptionbudgets,services,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings," +

	"validatingadmissionpolicies,validatingadmissionpolicybindings,networkpolicies,configmaps"

// The life of a release. Nothing that Helm does costs a WeChatToken or its Secret,
// unless the user says so.
func TestChartLives(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	home := c.newNamespace(t)

	c.release(t, "install", name, home, "crds.keep", "false")
	c.helm(t, "uninstall", name, "--namespace="+home)
	testcluster.Eventually(t, "with crds.keep=false the CRD goes with the release", func() error {
		if left := c.kubectl(t, "get", crd, "--ignore-not-found"); left != "" {
			return errors.New(left)
		}
		return nil
	})

	old := filepath.Join(t.TempDir(), "chart") // one of a time when the CRD had no short name
	if err := os.CopyFS(old, os.DirFS("chart")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("chart/files/crd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	older := strings.Replace(string(text), "    shortNames:\n    - wxt\n", "", 1)
	if older == string(text) {
		t.Fatal("the CRD has no short name")
	}
	write(t, filepath.Join(old, "files", "crd.yaml"), older)
	c.helm(t, "install", name, old, "--namespace="+home)
	c.kubectl(t, "wait", "--for=condition=Established", "--timeout="+testcluster.Patience.String(), crd)

	c.release(t, "upgrade", name, home)
	if got := c.kubectl(t, "get", crd, "-o", "jsonpath={.spec.names.shortNames}"); got != `["wxt"]` {
		t.Errorf("after the upgrade the CRD has the short names %s", got)
	}

	// It works with the permissions that the release gives it.
	ns := c.newNamespace(t)
	stop := c.operate(t, c.serviceAccount(t, home, name), url, append(c.argsOf(t, name, home), "--leader-election-namespace="+home)...)
	shop := c.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	c.awaitReady(t, ns, shop)
	stop()
	secret := func() string {
		return c.kubectl(t, "get", "-n", ns, "secret/shop-token", "-o", "jsonpath={.metadata.uid}")
	}
	before := secret()
	mustBeTheSame := func(after string) {
		if got := secret(); got != before {
			t.Errorf("%s the Secret is another one", after)
		}
	}

	// Features come and go with their permissions.
	c.release(t, "upgrade", name, home, "consumers", `{"watch": true, "touch": true}`, "replicaCount", "3", "tokenServer.enabled", "true")
	for _, role := range []string{"watch", "touch"} {
		c.kubectl(t, "get", "clusterrole/"+name+"-"+role)
	}
	c.kubectl(t, "get", "-n", home, "networkpolicy/"+name, "deployment/"+server, "validatingadmissionpolicy/"+server)
	c.release(t, "upgrade", name, home, "crds.enabled", "false", "policy.enabled", "false")
	for _, gone := range []string{"clusterrole/" + name + "-touch", "clusterrole/" + server, "validatingadmissionpolicy/" + name + "-touch", "validatingadmissionpolicy/" + server, "validatingadmissionpolicy/wechattoken-annotations"} {
		if got := c.kubectl(t, "get", gone, "--ignore-not-found"); got != "" {
			t.Errorf("%s is still there", gone)
		}
	}
	mustBeTheSame("without the kind in the release")

	c.helm(t, "uninstall", name, "--namespace="+home)
	if left := c.namesOf(t, kinds, name); len(left) > 0 {
		t.Errorf("helm uninstall leaves %q", left)
	}
	mustBeTheSame("after helm uninstall")

	// The kind that was kept goes into the next release.
	c.release(t, "install", name, home)
	mustBeTheSame("installed again")
	c.helm(t, "uninstall", name, "--namespace="+home)
	mustBeTheSame("uninstalled again")
}

// helm test fails while nobody leads, passes when a replica does, and leaves nothing then.
// This test is the kubelet.
func TestHelmTestChecksTheRelease(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	home := c.newNamespace(t)
	c.release(t, "install", name, home)
	t.Cleanup(func() { c.helm(t, "uninstall", name, "--namespace="+home) })
	c.kubectl(t, "wait", "--for=condition=Established", "--timeout="+testcluster.Patience.String(), crd)
	who, lease := c.serviceAccount(t, home, name), "--leader-election-namespace="+home
	kubeconfig := testcluster.WriteKubeconfig(t, who)
	helmTest := func() (code int, err error) {
		cmd := c.helmCommand(t, "test", name, "--namespace="+home)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var pod corev1.Pod
		testcluster.Eventually(t, "there is a pod to run", func() error {
			err := c.admin(t).Get(t.Context(), client.ObjectKey{Namespace: home, Name: name + "-check"}, &pod)
			if err == nil && pod.Status.Phase != corev1.PodPending {
				err = errors.New("it is that of the test before")
			}
			return err
		})
		run := exec.CommandContext(t.Context(), manager(t), append(pod.Spec.Containers[0].Args, lease)...)
		run.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
		out, _ := run.CombinedOutput()
		t.Logf("it says:\n%s", out)
		pod.Status.Phase = corev1.PodFailed
		if code = run.ProcessState.ExitCode(); code == 0 {
			pod.Status.Phase = corev1.PodSucceeded
		}
		if err := c.admin(t).Status().Update(t.Context(), &pod); err != nil {
			t.Fatal(err)
		}
		return code, cmd.Wait()
	}
	if code, err := helmTest(); code != 1 || err == nil {
		t.Errorf("nobody leads: exit code %d, and helm ends with %v", code, err)
	}
	c.operate(t, who, url, append(c.argsOf(t, name, home), "--leader-elect", lease)...)
	if code, err := helmTest(); code != 0 || err != nil {
		t.Errorf("a replica leads: exit code %d, and helm ends with %v", code, err)
	}
	if left := c.kubectl(t, "get", "pods,networkpolicies", "-n", home, "-l", "app.kubernetes.io/name="+name+"-check", "-o", "name"); left != "" {
		t.Errorf("helm test leaves %s", left)
	}
}

// Who has installed the kustomization goes over to Helm without a gap.
func TestChartTakesOverTheKustomization(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	for _, applied := range []string{"-kconsumers", "-ktoken-server", "-fconsumers/evict/role.yaml"} {
		c.kubectl(t, "apply", applied)
		c.kubectl(t, "apply", "--server-side", "--field-manager=helm", "--force-conflicts", applied)
	}
	uid := func() string {
		return c.kubectl(t, "get", "-n", name, "deployment/"+name, crd, "-o", "jsonpath={.items[*].metadata.uid}")
	}
	before := uid()
	if out, err := c.helmCommand(t, "install", name, "chart", "--namespace="+name).CombinedOutput(); err == nil {
		t.Errorf("Helm takes what is not its own, so this test shows nothing:\n%s", out)
	}
	c.helm(t, append([]string{"install", name, "chart", "--namespace=" + name, "--take-ownership", "--force-conflicts"}, values(
		"consumers.watch", "true", "consumers.touch", "true", "consumers.restart", "true", "consumers.evict", "true",
		"tokenServer.enabled", "true", "tokenServer.image.tag", `"v0.1.0"`)...)...)
	t.Cleanup(func() { c.helm(t, "uninstall", name, "--namespace="+name) })
	if got := uid(); got != before {
		t.Error("the Deployment and the kind are other ones now")
	}
	for _, o := range slices.Concat(objects(t, "consumers"), objects(t, "token-server"), objectsIn(t, "consumers/evict/role.yaml")) {
		if o.GetKind() == "Namespace" {
			continue
		}
		args := []string{"get", strings.ToLower(o.GetKind()), o.GetName(), "-o", "jsonpath={.metadata.annotations.meta\\.helm\\.sh/release-name}"}
		if o.GetNamespace() != "" {
			args = append(args, "-n", o.GetNamespace())
		}
		if owner := c.kubectl(t, args...); owner != name {
			t.Errorf("%s %s is of the release %q, want %q", o.GetKind(), o.GetName(), owner, name)
		}
	}
	// It owns every field, too.
	c.helm(t, "upgrade", name, "chart", "--namespace="+name, "--reset-then-reuse-values", "--set=replicaCount=3")
	if got := c.kubectl(t, "get", "-n", name, "deployment/"+name, "-o", "jsonpath={.spec.replicas}"); got != "3" {
		t.Errorf("after the upgrade there are %s replicas, want 3", got)
	}
}

// A tenant who may do what they like in two namespaces, and nothing elsewhere,
// installs the operator there. Somebody else has installed the kind.
func TestChartOfSomeNamespacesNeedsNoOthers(t *testing.T) {
	t.Parallel()
	home, other, foreign := newNamespace(t), newNamespace(t), newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	cluster.kubectl(t, "create", "serviceaccount", "tenant", "-n", home)
	for _, ns := range []string{home, other} {
		cluster.kubectl(t, "create", "rolebinding", "tenant", "-n", ns, "--clusterrole=cluster-admin", "--serviceaccount="+home+":tenant")
	}
	cmd := cluster.helmCommand(t, append([]string{"install", name, "chart", "--namespace=" + home}, values(
		"namespaces", `["`+home+`", "`+other+`"]`, "crds.enabled", "false", "policy.enabled", "false", "userRoles.enabled", "false",
		"metrics.enabled", "false", "consumers.watch", "true")...)...)
	cmd.Env = append(cmd.Env, "KUBECONFIG="+testcluster.WriteKubeconfig(t, cluster.serviceAccount(t, home, "tenant")))
	succeed(t, cmd)

	who := cluster.serviceAccount(t, home, name)
	cluster.operate(t, who, url, append(cluster.argsOf(t, name, home), "--leader-election-namespace="+home)...)
	for _, ns := range []string{home, other} {
		shop := cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
		cluster.awaitReady(t, ns, shop)
	}
	for _, verb := range []string{"get", "list", "watch", "create", "patch", "delete"} {
		for _, ns := range []string{foreign, ""} {
			if a := (authorizationv1.ResourceAttributes{Verb: verb, Resource: "secrets", Namespace: ns}); may(t, clientFor(t, who), a) {
				t.Errorf("the operator may %s", sentence(a))
			}
		}
	}
}

// Two releases share what a cluster has once.
func TestChartsLiveBesideEachOther(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	homes := map[string]string{"shard-a": c.newNamespace(t), "shard-b": c.newNamespace(t)}
	c.release(t, "install", "shard-a", homes["shard-a"], "selector", `"wechattoken.io/shard=a"`, "consumers", `{"watch": true, "touch": true}`, "tokenServer.enabled", "true")
	c.kubectl(t, "wait", "--for=condition=Established", "--timeout="+testcluster.Patience.String(), crd)
	c.release(t, "install", "shard-b", homes["shard-b"], "selector", `"wechattoken.io/shard=b"`, "crds.enabled", "false", "policy.enabled", "false")
	t.Cleanup(func() {
		for shard, home := range homes {
			c.helm(t, "uninstall", shard, "--namespace="+home)
		}
	})
	for _, shard := range slices.Sorted(maps.Keys(homes)) {
		t.Run(shard, func(t *testing.T) {
			t.Parallel()
			fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
			ns, account := c.newNamespace(t), shard+"-"+name
			c.operate(t, c.serviceAccount(t, homes[shard], account), url,
				append(c.argsOf(t, shard, homes[shard]), "--leader-election-namespace="+homes[shard])...)
			shop := c.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
			c.kubectl(t, "label", "-n", ns, "wxt/"+shop, "wechattoken.io/shard="+strings.TrimPrefix(shard, "shard-"))
			c.awaitReady(t, ns, shop)
		})
	}
	// What keeps its credential to its own Secrets each has for itself.
	for shard, home := range homes {
		who := clientFor(t, c.serviceAccount(t, home, shard+"-"+name))
		testcluster.Eventually(t, "the policy of "+shard+" binds", func() error {
			err := who.Create(t.Context(), ownedBy(home), client.DryRunAll)
			if err == nil || !strings.Contains(err.Error(), "'"+shard+"-"+name+"-secrets' denied request") {
				return fmt.Errorf("a Secret without an owner: got %w, want a refusal", err)
			}
			return nil
		})
	}
	// The policies know the programs by the names of their own accounts.
	for policy, account := range map[string]string{name + "-touch": name, server: server} {
		condition := c.kubectl(t, "get", "validatingadmissionpolicy/shard-a-"+policy, "-o", "jsonpath={.spec.matchConditions[0].expression}")
		if err := contains(condition, ":shard-a-"+account+"$"); err != nil {
			t.Error(err)
		}
	}
}

// Without config/policy, the token server is kept to its annotation, and that to its form.
func TestChartKeepsTheTokenServerToItsAnnotationByItself(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	home := c.newNamespace(t)
	c.release(t, "install", name, home, "policy.enabled", "false", "tokenServer.enabled", "true")
	t.Cleanup(func() { c.helm(t, "uninstall", name, "--namespace="+home) })
	c.kubectl(t, "wait", "--for=condition=Established", "--timeout="+testcluster.Patience.String(), crd)
	shop := newPrecious(home)
	if err := c.admin(t).Create(t.Context(), shop.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.kubectl(t, "delete", "-n", home, "wxt/precious") })
	tokenServer := clientFor(t, c.serviceAccount(t, home, server))
	patch := func(p client.Patch) error {
		return tokenServer.Patch(t.Context(), shop.DeepCopy(), p, client.DryRunAll)
	}
	refuses := func(err error) error {
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), serverPolicy) {
			return fmt.Errorf("got %w, want a refusal", err)
		}
		return nil
	}
	testcluster.Eventually(t, "the policy binds", func() error { return refuses(patch(merge(`{"spec":{"suspend":false}}`))) })
	if err := tokenServer.Patch(t.Context(), shop.DeepCopy(), reportOf(t, goodReport)); err != nil {
		t.Error(err)
	}
	for what, p := range map[string]client.Patch{
		"a token":         reportOf(t, invalidToken),
		"a long time":     reportOf(t, fingerprint+"@"+strings.Repeat("1", 41)),
		"no report":       merge(`{"metadata":{"annotations":{"wechattoken.io/invalid-token":null}}}`),
		"no annotations":  merge(`{"metadata":{"annotations":null}}`),
		"another request": merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1"}}}`),
	} {
		if err := refuses(patch(p)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The manager trusts the authorities of extraCA as the pod gives them to it.
func TestChartAddsCertificateAuthorities(t *testing.T) {
	t.Parallel()
	fake := wechattest.New(wechattest.Config{})
	srv := httptest.NewTLSServer(fake)
	t.Cleanup(srv.Close)
	d := only(t, ofKind[appsv1.Deployment](t, "Deployment", rendered(t, "extraCA.configMap", `"authorities"`)))
	mount, volume := container(d).VolumeMounts[0], d.Spec.Template.Spec.Volumes[0].ConfigMap
	// As the kubelet lays a ConfigMap out: a link to a file behind a link.
	dir := t.TempDir()
	file := volume.Items[0].Path
	if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "..2026", file), string(pemOf(srv.Certificate())))
	for link, to := range map[string]string{"..data": "..2026", file: filepath.Join("..data", file)} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	var authorities string
	for _, e := range container(d).Env {
		if e.Name == "SSL_CERT_DIR" {
			authorities = e.Name + "=" + strings.ReplaceAll(e.Value, mount.MountPath, dir)
		}
	}
	if err := contains(authorities, "/etc/ssl/certs:", dir); err != nil {
		t.Fatal(err)
	}
	ns := newNamespace(t)
	cluster.run(t, managerWith(t, authorities), cluster.person(t, ns, name, name), srv.URL, "--namespaces="+ns)
	shop := cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	cluster.awaitReady(t, ns, shop)
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
