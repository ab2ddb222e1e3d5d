//go:build integration

package config_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestInstallingTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	installed(t)
	for _, dir := range []string{"consumers", "token-server", "shards"} {
		versions := func() string {
			return cluster.kubectl(t, "get", "-k", dir, "-o", "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion")
		}
		once := versions()
		cluster.kubectl(t, "diff", "--server-side", "-k", dir)
		cluster.kubectl(t, "apply", "--server-side", "--validate=strict", "-k", dir)
		if diff := cmp.Diff(once, versions()); diff != "" {
			t.Errorf("config/%s the second time (-once +twice):\n%s", dir, diff)
		}
	}
}

func TestPodsPassRestrictedPodSecurity(t *testing.T) {
	t.Parallel()
	installed(t)
	admin := cluster.admin(t)
	tryToRun := func(d appsv1.Deployment, change func(*corev1.PodSpec)) error {
		spec := d.Spec.Template.Spec.DeepCopy()
		change(spec)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: name}, Spec: *spec}
		return admin.Create(t.Context(), pod, client.DryRunAll)
	}
	for _, d := range slices.Concat(deployments(t, "default"), deployments(t, "token-server"), deployments(t, "samples"), deployments(t, "samples/sdk-cache")) {
		if err := tryToRun(d, func(*corev1.PodSpec) {}); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
		for what, loosen := range map[string]func(*corev1.PodSpec){
			"privileged": func(s *corev1.PodSpec) {
				s.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
			},
			"without a seccomp profile": func(s *corev1.PodSpec) { s.SecurityContext.SeccompProfile = nil },
			"with capabilities":         func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil },
			"perhaps as root":           func(s *corev1.PodSpec) { s.SecurityContext.RunAsNonRoot = nil },
		} {
			if err := tryToRun(d, loosen); err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
				t.Errorf("%s %s: got %v, want a refusal: does the namespace enforce anything?", d.Name, what, err)
			}
		}
	}
}

func TestTheProgramsUnderstandTheirPods(t *testing.T) {
	t.Parallel()
	for dir, tc := range map[string]struct {
		command string
		ports   map[string]string // and their flags
	}{
		"default":      {"manager", map[string]string{"metrics": "metrics-bind-address", "health": "health-probe-bind-address"}},
		"token-server": {"token-server", map[string]string{"https": "bind-address", "metrics": "metrics-bind-address", "health": "health-probe-bind-address"}},
	} {
		c := container(only(t, deployments(t, dir)))
		help := func(args ...string) (string, error) {
			out, err := exec.Command(program(t, tc.command), append(args, "--help")...).CombinedOutput()
			return string(out), err
		}
		text, err := help(c.Args...)
		if err != nil {
			t.Errorf("%s does not take %q: %v\n%s", tc.command, c.Args, err, text)
		}
		if _, err := help("--no-such-flag"); err == nil {
			t.Errorf("%s takes any flag, so this test shows nothing", tc.command)
		}

		// No flag sets the ports, so that they are the program's own.
		ports := map[string]string{}
		for _, p := range c.Ports {
			ports[p.Name] = fmt.Sprintf(":%d", p.ContainerPort)
		}
		defaults := map[string]string{}
		for port, flag := range tc.ports {
			found := regexp.MustCompile(`(?s) -` + flag + ` .*?\(default "(.*?)"\)`).FindStringSubmatch(text)
			if found == nil {
				t.Fatalf("there is no flag %s in\n%s", flag, text)
			}
			defaults[port] = found[1]
		}
		if diff := cmp.Diff(defaults, ports); diff != "" {
			t.Errorf("ports (-%s +pod):\n%s", tc.command, diff)
		}
	}
}

// isAsApplied waits until a file is what there is: a status that is written while kubectl
// compares is a difference, too.
func (p plane) isAsApplied(t *testing.T, file string, flags ...string) {
	t.Helper()
	testcluster.Eventually(t, file+" is as it was applied", func() error {
		diff, err := p.Kubectl(append(flags, "diff", "--server-side", "-f", file)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, diff)
		}
		return err
	})
}

// GitOps tools compare what they applied with what is there for ever.
func TestEachSampleWorksAndNeverDrifts(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	cluster.serve(t, ns, url)
	var names []string
	for _, file := range sampleFiles(t) {
		for _, wxt := range cluster.applyWeChatTokens(t, fake, ns, file) {
			cluster.awaitReady(t, ns, wxt)
		}
		cluster.isAsApplied(t, file, "-n", ns)
		names = append(names, strings.Fields(cluster.kubectl(t, "get", "-n", ns, "-f", file, "-o", "name"))...)
	}
	all := strings.Fields(cluster.kubectl(t, "apply", "--server-side", "--dry-run=server", "-n", ns, "-k", "samples", "-o", "name"))
	slices.Sort(all)
	slices.Sort(names)
	if diff := cmp.Diff(names, all); diff != "" {
		t.Errorf("samples/kustomization.yaml (-files +kustomization):\n%s", diff)
	}
}

// The WeChatToken of one namespace has the AppSecret, that of the other takes its token.
func TestTheSampleOfTwoNamespacesWorksAndNeverDrifts(t *testing.T) {
	t.Parallel()
	installed(t)
	const file = "samples/other-namespace/shop.yaml"
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	for _, ns := range []string{"platform", "web"} {
		cluster.kubectl(t, "create", "namespace", ns)
	}
	operator := cluster.person(t, "platform", name, name)
	cluster.bind(t, "web", "platform", name, name)
	cluster.operate(t, operator, url, "--namespaces=platform,web")
	fake.AddAccount(ofKind[v1alpha1.WeChatToken](t, "WeChatToken", objectsIn(t, file))[0].Spec.AppID, appSecret)
	cluster.kubectl(t, "create", "secret", "generic", "shop-app", "-n", "platform", "--from-literal=appsecret="+appSecret)
	cluster.kubectl(t, "apply", "--server-side", "--validate=strict", "-f", file)
	for _, ns := range []string{"platform", "web"} {
		cluster.awaitReady(t, ns, "shop")
	}
	cluster.isAsApplied(t, file)
}

// The programs of the consumers run here as they would in their containers.
func TestConsumersGetTheTokenAndDoNotPrintIt(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	cluster.serve(t, ns, url)
	shop := cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	cluster.awaitReady(t, ns, shop)
	want := cluster.kubectl(t, "get", "-n", ns, "wxt/"+shop, "-o", "jsonpath=token {.status.tokenFingerprint} works until {.status.expirationTime}")

	for _, consumer := range deployments(t, "samples") {
		t.Run(consumer.Name, func(t *testing.T) {
			t.Parallel()
			if got := firstLine(t, consumer, ns); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// firstLine runs the program of a consumer here, with what its Secret holds now,
// and returns the first line it prints.
func firstLine(t *testing.T, consumer appsv1.Deployment, namespace string) string {
	t.Helper()
	admin, c, pod := cluster.admin(t), container(consumer), consumer.Spec.Template.Spec
	data := func(secret string) map[string][]byte {
		var s corev1.Secret
		if err := admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: secret}, &s); err != nil {
			t.Fatal(err)
		}
		return s.Data
	}
	program := strings.Join(c.Command[2:], "")
	for i, m := range c.VolumeMounts {
		if m.SubPath != "" || m.SubPathExpr != "" {
			t.Errorf("%s is mounted by subPath and would never change", m.MountPath)
		}
		dir := t.TempDir()
		for key, value := range data(pod.Volumes[i].Secret.SecretName) {
			write(t, filepath.Join(dir, key), string(value))
		}
		program = strings.ReplaceAll(program, m.MountPath, dir)
	}
	cmd := exec.Command(c.Command[0], c.Command[1], program)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for _, e := range c.Env {
		from := e.ValueFrom.SecretKeyRef
		cmd.Env = append(cmd.Env, e.Name+"="+string(data(from.Name)[from.Key]))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end its sleep, too
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	line := make([]byte, 4096)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(line[:n]), "\n")
}

// Each works on what has its label, with the permissions it was installed with.
func TestShardsWorkBesideEachOther(t *testing.T) {
	t.Parallel()
	installed(t)
	served := map[string]*wechattest.Server{}
	for _, s := range shards {
		fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
		served[s] = fake
		args := slices.Concat(container(only(t, deployments(t, "shards/"+s))).Args, []string{"--leader-elect", "--leader-election-namespace=" + name + "-" + s})
		cluster.operate(t, cluster.serviceAccount(t, name+"-"+s, name), url, args...)
	}
	for _, s := range shards {
		ns := newNamespace(t)
		shop := cluster.applyWeChatTokens(t, served[s], ns, "samples/stable.yaml")[0]
		cluster.kubectl(t, "label", "-n", ns, "wxt/"+shop, "wechattoken.io/shard="+s)
		cluster.awaitReady(t, ns, shop)
		if holder := cluster.kubectl(t, "get", "-n", name+"-"+s, "lease/"+name, "-o", "jsonpath={.spec.holderIdentity}"); holder == "" {
			t.Errorf("nobody leads in shard %s", s)
		}
	}
	for s, w := range served {
		if got := w.Counts("").Stable.Calls; got != 1 {
			t.Errorf("shard %s has made %d calls, want 1 for its own", s, got)
		}
	}
}
