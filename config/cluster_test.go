//go:build integration

package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// plane is an API server, and what a test does there as an administrator.
type plane struct{ *testcluster.Cluster }

// cluster is that of most tests, with config/consumers, config/token-server and
// config/shards installed.
var cluster plane

// folder has the programs that are built.
var folder string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	var err error
	if folder, err = os.MkdirTemp("", "wechattoken-"); err == nil {
		cluster.Cluster, err = testcluster.StartAudited()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := testcluster.Main(m, 16)
	if err := errors.Join(stopHelmCluster(), cluster.Stop(), os.RemoveAll(folder)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

var installOnce sync.Once

// installed does what users do, once for all tests, and waits until the API server
// has taken notice of the policies, which takes it some seconds.
func installed(t *testing.T) {
	t.Helper()
	installOnce.Do(func() {
		makeOldReport(t)
		for _, dir := range []string{"crd", "consumers", "token-server", "shards"} {
			cluster.kubectl(t, "apply", "--server-side", "--validate=strict", "-k", dir)
		}
		ns, admin := cluster.newNamespace(t), cluster.admin(t)
		operator, tokenServer := clientFor(t, cluster.serviceAccount(t, name, name)), clientFor(t, cluster.serverElsewhere())
		report := newPrecious(ns)
		report.SetAnnotations(map[string]string{v1alpha1.AnnotationInvalidToken: "probe"})
		pod, shop, served := consumerPod(ns), consumerDeployment(ns), newPrecious(ns)
		served.SetName("served")
		for _, o := range []client.Object{pod, shop, served} {
			if err := admin.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		label := merge(`{"metadata":{"labels":{"a":"b"}}}`)
		for policy, try := range map[string]func() error{
			"wechattoken-annotations": func() error { return admin.Create(t.Context(), report.DeepCopy(), client.DryRunAll) },
			name + "-secrets":         func() error { return operator.Create(t.Context(), ownedBy(ns), client.DryRunAll) },
			touchRole:                 func() error { return operator.Patch(t.Context(), pod, label, client.DryRunAll) },
			restartRole:               func() error { return operator.Patch(t.Context(), shop, label, client.DryRunAll) },
			server:                    func() error { return tokenServer.Patch(t.Context(), served, label, client.DryRunAll) },
		} {
			testcluster.Eventually(t, policy+" binds", func() error {
				if err := try(); err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy+"'") {
					return fmt.Errorf("got %w, want a refusal", err)
				}
				return nil
			})
		}
	})
}

// newNamespace is a namespace on the cluster where all is installed.
func newNamespace(t *testing.T) string {
	t.Helper()
	installed(t)
	return cluster.newNamespace(t)
}

// newNamespace is a namespace that enforces restricted Pod Security.
func (p plane) newNamespace(t *testing.T) string {
	t.Helper()
	ns := p.NewNamespace(t)
	label := merge(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	if err := ns.All.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns.Name}}, label); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// kubectl runs as an administrator, must succeed, and returns what it prints.
func (p plane) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return succeed(t, p.Kubectl(args...))
}

// with is the same for the user of another kubeconfig.
func (p plane) with(kubeconfig string) plane {
	other := *p.Cluster
	other.Kubeconfig = kubeconfig
	return plane{&other}
}

func succeed(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

func (p plane) admin(t *testing.T) client.Client {
	t.Helper()
	return clientFor(t, p.Config)
}

func clientFor(t *testing.T, who *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(who, client.Options{Scheme: testcluster.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serviceAccount is the configuration of a pod that runs as a ServiceAccount.
func (p plane) serviceAccount(t *testing.T, namespace, account string) *rest.Config {
	t.Helper()
	request := &authenticationv1.TokenRequest{}
	of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: namespace}}
	if err := p.admin(t).SubResource("token").Create(t.Context(), of, request); err != nil {
		t.Fatal(err)
	}
	cfg := rest.AnonymousClientConfig(p.Config)
	cfg.QPS = -1
	cfg.BearerToken = request.Status.Token
	return cfg
}

// person is a ServiceAccount with ClusterRoles in its own namespace.
func (p plane) person(t *testing.T, namespace, account string, roles ...string) *rest.Config {
	t.Helper()
	if err := p.admin(t).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: namespace}}); err != nil {
		t.Fatal(err)
	}
	p.bind(t, namespace, namespace, account, roles...)
	return p.serviceAccount(t, namespace, account)
}

// bind gives the ServiceAccount of a namespace ClusterRoles in a namespace, or
// everywhere if that is empty, and waits until the API server knows of it.
func (p plane) bind(t *testing.T, namespace, home, account string, roles ...string) {
	t.Helper()
	admin := p.admin(t)
	who := rest.CopyConfig(p.Config)
	who.Impersonate.UserName = "system:serviceaccount:" + home + ":" + account
	for _, role := range roles {
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}
		subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: home, Name: account}}
		meta := metav1.ObjectMeta{Name: home + "-" + account + "-" + role, Namespace: namespace}
		var binding client.Object = &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}
		if namespace == "" {
			binding = &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}
		}
		var is rbacv1.ClusterRole
		if err := errors.Join(admin.Create(t.Context(), binding), admin.Get(t.Context(), client.ObjectKey{Name: role}, &is)); err != nil {
			t.Fatal(err)
		}
		resource, sub, _ := strings.Cut(is.Rules[0].Resources[0], "/")
		a := authorizationv1.ResourceAttributes{Verb: is.Rules[0].Verbs[0], Group: is.Rules[0].APIGroups[0], Resource: resource, Subresource: sub, Namespace: namespace}
		testcluster.Eventually(t, role+" is bound", func() error {
			if !may(t, clientFor(t, who), a) {
				return fmt.Errorf("%s may not %s", account, sentence(a))
			}
			return nil
		})
	}
}

// may asks the API server whether who may do a.
func may(t *testing.T, who client.Client, a authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a}}
	if err := who.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

func sentence(a authorizationv1.ResourceAttributes) string {
	return fmt.Sprintf("%s %s of group %q (namespace %q, name %q)", a.Verb, strings.TrimSuffix(a.Resource+"/"+a.Subresource, "/"), a.Group, a.Namespace, a.Name)
}

var appSecret = strings.Repeat("0123456789abcdef", 2)

// applyWeChatTokens does what a sample says, and returns the names of its WeChatTokens.
func (p plane) applyWeChatTokens(t *testing.T, fake *wechattest.Server, namespace, file string) []string {
	t.Helper()
	var names []string
	for _, wt := range ofKind[v1alpha1.WeChatToken](t, "WeChatToken", objectsIn(t, file)) {
		fake.AddAccount(wt.Spec.AppID, appSecret)
		ref := wt.Spec.AppSecretRef
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: ref.Name, Namespace: namespace}, StringData: map[string]string{ref.KeyOrDefault(): appSecret + "\n"}}
		if err := p.admin(t).Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		names = append(names, wt.Name)
	}
	p.kubectl(t, "apply", "--server-side", "--validate=strict", "-n", namespace, "-f", file)
	return names
}

func (p plane) awaitReady(t *testing.T, namespace, weChatToken string) {
	t.Helper()
	p.kubectl(t, "wait", "-n", namespace, "--for=condition=Ready", "--timeout="+testcluster.Patience.String(), "wxt/"+weChatToken)
}

var buildPrograms = sync.OnceValue(func() error { return testcluster.BuildCommands(folder, "manager", "token-server") })

// manager is the path of the program that the image holds.
func manager(t *testing.T) string {
	t.Helper()
	return program(t, "manager")
}

// program is the path of one of cmd.
func program(t *testing.T, command string) string {
	t.Helper()
	if err := buildPrograms(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, command)
}

// serve runs an operator for one namespace, with the permissions that it needs there.
func (p plane) serve(t *testing.T, namespace, url string) {
	t.Helper()
	p.operate(t, p.person(t, namespace, name, name), url, "--namespaces="+namespace)
}

// operate runs an operator with the permissions of who. It ends with the test at the
// latest, and has then been forbidden nothing.
func (p plane) operate(t *testing.T, who *rest.Config, url string, flags ...string) (stop func()) {
	t.Helper()
	return p.run(t, manager(t), who, url, flags...)
}

// run is operate with another program.
func (p plane) run(t *testing.T, program string, who *rest.Config, url string, flags ...string) (stop func()) {
	t.Helper()
	m := p.with(testcluster.WriteKubeconfig(t, who)).StartManager(t, program, url, flags...)
	stop = sync.OnceFunc(func() {
		if code := m.Terminate(); code != 0 {
			t.Errorf("the manager ended with exit code %d", code)
		}
		if strings.Contains(strings.ToLower(m.Output.String()), "forbidden") {
			t.Error("the manager was forbidden something")
		}
	})
	t.Cleanup(stop)
	return stop
}

// managerWith is the manager with a variable in its environment, which a test that
// runs beside others cannot set for itself.
func managerWith(t *testing.T, variable string) string {
	t.Helper()
	return programWith(t, "manager", variable)
}

// programWith is the same for any of cmd.
func programWith(t *testing.T, command, variable string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), command)
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec env '"+variable+"' '"+program(t, command)+"' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}
