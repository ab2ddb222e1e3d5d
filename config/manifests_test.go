// Package config_test meets the manifests as their users do: kubectl applies
// them to a real API server, and the manager runs there with the rights that
// they give it and no others. Nothing there makes pods of Deployments.
package config_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// name is that of the operator, its namespace, its ServiceAccount and its lease.
const name = "wechat-token-operator"

// cluster is the one API server of these tests.
var cluster *testcluster.Cluster

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	ctrl.SetLogger(logr.Discard()) // kubectl and the manager tell what matters
	var err error
	if cluster, err = testcluster.StartAudited(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := errors.Join(cluster.Stop(), os.RemoveAll(buildFolder), os.RemoveAll(helmFolder)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestInstallingTwiceChangesNothing(t *testing.T) {
	versions := func() string {
		return kubectl(t, "get", "-k", "default", "-o", "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion")
	}
	install(t)
	once := versions()
	install(t)
	if diff := cmp.Diff(once, versions()); diff != "" {
		t.Errorf("the second time (-once +twice):\n%s", diff)
	}
	kubectl(t, "diff", "--server-side", "-k", "default")
}

func TestTheKindCanBeInstalledAlone(t *testing.T) {
	kubectl(t, "apply", "--server-side", "--validate=strict", "-k", "crd")
	kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd/wechattokens.wechattoken.io")
	var kinds []string
	for _, o := range objects(t, "crd") {
		kinds = append(kinds, o.GetKind()+" "+o.GetName())
	}
	if diff := cmp.Diff([]string{"CustomResourceDefinition wechattokens.wechattoken.io"}, kinds); diff != "" {
		t.Errorf("config/crd (-want +got):\n%s", diff)
	}
}

// A user keeps their own choices in a kustomization of their own.
func TestNamespaceAndImageAreChosenInOnePlace(t *testing.T) {
	own := t.TempDir()
	write(t, filepath.Join(own, "kustomization.yaml"), `
namespace: another
resources: [`+relative(t, own, "default")+`]
images: [{name: ghcr.io/wechattoken/wechat-token-operator, newName: registry.example.com/operator, newTag: v1}]
`)
	for _, o := range objects(t, own) {
		if ns := o.GetNamespace(); ns != "" && ns != "another" {
			t.Errorf("%s %s is in namespace %s", o.GetKind(), o.GetName(), ns)
		}
		if o.GetKind() == "Namespace" && o.GetName() != "another" {
			t.Errorf("the namespace is called %s", o.GetName())
		}
		subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
		for _, s := range subjects {
			if ns := s.(map[string]any)["namespace"]; ns != "another" {
				t.Errorf("%s %s binds a ServiceAccount of namespace %v", o.GetKind(), o.GetName(), ns)
			}
		}
	}
	if got, want := container(only(t, deployments(t, own))).Image, "registry.example.com/operator:v1"; got != want {
		t.Errorf("got image %s, want %s", got, want)
	}
}

func TestPodsPassRestrictedPodSecurity(t *testing.T) {
	install(t)
	admin := clientFor(t, cluster.Config)
	tryToRun := func(d appsv1.Deployment, change func(*corev1.PodSpec)) error {
		spec := d.Spec.Template.Spec.DeepCopy()
		change(spec)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: name}, Spec: *spec}
		return admin.Create(t.Context(), pod, client.DryRunAll)
	}
	for _, d := range slices.Concat(deployments(t, "default"), deployments(t, "samples")) {
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

func TestPodsAreConfinedBeyondPodSecurity(t *testing.T) {
	for _, d := range slices.Concat(deployments(t, "default"), deployments(t, "samples")) {
		c, pod := container(d), d.Spec.Template.Spec
		if readOnly := c.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
			t.Errorf("%s writes to its root file system", d.Name)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: got resources %v, want requests, and a limit of memory", d.Name, c.Resources)
		}
		usesKubernetes := d.Name == name
		if mounts := pod.AutomountServiceAccountToken; mounts == nil || *mounts != usesKubernetes {
			t.Errorf("%s: automountServiceAccountToken must be %t", d.Name, usesKubernetes)
		}
	}
}

func TestTheCollectorWorksHarderBeforeTheKernelKills(t *testing.T) {
	c := container(only(t, deployments(t, "default")))
	i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "GOMEMLIMIT" })
	if i < 0 {
		t.Fatal("there is no GOMEMLIMIT")
	}
	mebibytes, err := strconv.ParseInt(strings.TrimSuffix(c.Env[i].Value, "MiB"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if share := float64(mebibytes<<20) / float64(c.Resources.Limits.Memory().Value()); share < 0.8 || share > 0.95 {
		t.Errorf("GOMEMLIMIT is %.2f of the limit of memory, want 0.80 to 0.95", share)
	}
}

func TestTheManagerUnderstandsItsPods(t *testing.T) {
	c := container(only(t, deployments(t, "default")))
	help := func(args ...string) (string, error) {
		out, err := exec.Command(manager(t), append(args, "--help")...).CombinedOutput()
		return string(out), err
	}
	text, err := help(c.Args...)
	if err != nil {
		t.Errorf("the manager does not take %q: %v\n%s", c.Args, err, text)
	}
	if _, err := help("--no-such-flag"); err == nil {
		t.Error("the manager takes any flag, so this test shows nothing")
	}

	// No flag sets the ports, so that they are the manager's own.
	ports := map[string]string{}
	for _, p := range c.Ports {
		ports[p.Name] = fmt.Sprintf(":%d", p.ContainerPort)
	}
	defaults := map[string]string{}
	for port, flag := range map[string]string{"metrics": "metrics-bind-address", "health": "health-probe-bind-address"} {
		found := regexp.MustCompile(`(?s)-` + flag + ` .*?\(default "(.*?)"\)`).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("there is no flag %s in\n%s", flag, text)
		}
		defaults[port] = found[1]
	}
	if diff := cmp.Diff(defaults, ports); diff != "" {
		t.Errorf("ports (-manager +pod):\n%s", diff)
	}
}

func TestTheRolesAreLeast(t *testing.T) {
	install(t)
	operator := clientFor(t, serviceAccount(t, name, name))
	type access = authorizationv1.ResourceAttributes
	const (
		ours   = "wechattoken.io"
		leases = "coordination.k8s.io"
		events = "events.k8s.io"
	)
	allowed := []access{
		{Verb: "list", Group: ours, Resource: "wechattokens"},
		{Verb: "watch", Group: ours, Resource: "wechattokens"},
		{Verb: "patch", Group: ours, Resource: "wechattokens", Subresource: "status", Namespace: "web"},
		{Verb: "get", Resource: "secrets", Namespace: "web"},
		{Verb: "list", Resource: "secrets"},
		{Verb: "watch", Resource: "secrets"},
		{Verb: "create", Resource: "secrets", Namespace: "web"},
		{Verb: "patch", Resource: "secrets", Namespace: "web"},
		{Verb: "delete", Resource: "secrets", Namespace: "web"},
		{Verb: "create", Group: events, Resource: "events", Namespace: "web"},
		{Verb: "create", Group: leases, Resource: "leases", Namespace: name},
		{Verb: "get", Group: leases, Resource: "leases", Namespace: name, Name: name},
		{Verb: "update", Group: leases, Resource: "leases", Namespace: name, Name: name},
		{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"},
		{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"},
	}
	denied := []access{
		{Verb: "*", Group: "*", Resource: "*"},
		{Verb: "*", Resource: "secrets", Namespace: "web"},
		{Verb: "update", Resource: "secrets", Namespace: "web"},
		{Verb: "deletecollection", Resource: "secrets", Namespace: "web"},
		{Verb: "*", Group: ours, Resource: "*"},
		{Verb: "create", Group: ours, Resource: "wechattokens", Namespace: "web"},
		{Verb: "update", Group: ours, Resource: "wechattokens", Namespace: "web"},
		{Verb: "patch", Group: ours, Resource: "wechattokens", Namespace: "web"},
		{Verb: "delete", Group: ours, Resource: "wechattokens", Namespace: "web"},
		{Verb: "update", Group: ours, Resource: "wechattokens", Subresource: "status", Namespace: "web"},
		{Verb: "update", Group: ours, Resource: "wechattokens", Subresource: "finalizers", Namespace: "web"},
		{Verb: "get", Resource: "configmaps", Namespace: name},
		{Verb: "list", Resource: "pods"},
		{Verb: "create", Resource: "pods", Namespace: name},
		{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: "web"},
		{Verb: "list", Resource: "nodes"},
		{Verb: "get", Resource: "nodes", Subresource: "proxy"},
		{Verb: "get", Resource: "namespaces"},
		{Verb: "list", Group: events, Resource: "events"},
		{Verb: "patch", Group: events, Resource: "events", Namespace: "web"},
		{Verb: "patch", Resource: "events", Namespace: name},
		{Verb: "create", Resource: "events", Namespace: name},
		{Verb: "create", Resource: "events", Namespace: "web"},
		{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: name},
		{Verb: "impersonate", Resource: "users"},
		{Verb: "impersonate", Resource: "serviceaccounts", Namespace: "kube-system"},
		{Verb: "get", Group: "apps", Resource: "deployments", Namespace: name},
		{Verb: "get", Group: leases, Resource: "leases", Namespace: name, Name: "another"},
		{Verb: "update", Group: leases, Resource: "leases", Namespace: name, Name: "another"},
		{Verb: "delete", Group: leases, Resource: "leases", Namespace: name, Name: name},
		{Verb: "list", Group: leases, Resource: "leases", Namespace: name},
		{Verb: "create", Group: leases, Resource: "leases", Namespace: "kube-system"},
		{Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "escalate", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "get", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Verb: "create", Group: "certificates.k8s.io", Resource: "certificatesigningrequests"},
	}
	for _, a := range allowed {
		if !may(t, operator, a) {
			t.Errorf("the operator may not %s", sentence(a))
		}
	}
	for _, a := range denied {
		if may(t, operator, a) {
			t.Errorf("the operator may %s", sentence(a))
		}
	}
}

func TestTheRolesForPeopleGiveNoSecrets(t *testing.T) {
	install(t)
	ns := newNamespace(t)
	reads := []string{"get", "list", "watch"}
	writes := []string{"create", "update", "patch", "delete", "deletecollection"}
	for role, can := range map[string][]string{"view": reads, "edit": writes} {
		kubectl(t, "create", "serviceaccount", role, "-n", ns)
		kubectl(t, "create", "rolebinding", role, "-n", ns, "--clusterrole="+name+"-"+role, "--serviceaccount="+ns+":"+role)
		person := clientFor(t, serviceAccount(t, ns, role))
		for _, verb := range slices.Concat(reads, writes) {
			wxt := authorizationv1.ResourceAttributes{Verb: verb, Group: "wechattoken.io", Resource: "wechattokens", Namespace: ns}
			if want := slices.Contains(can, verb); may(t, person, wxt) != want {
				t.Errorf("%s may %s: got %t, want %t", role, sentence(wxt), !want, want)
			}
			secret := authorizationv1.ResourceAttributes{Verb: verb, Resource: "secrets", Namespace: ns}
			if may(t, person, secret) {
				t.Errorf("%s may %s", role, sentence(secret))
			}
		}
	}
}

// The operator is given what it asks for and nothing else. This fails when a verb
// is taken from a role, and when one is added that it never uses.
func TestTheOperatorNeedsNothingButItsRoles(t *testing.T) {
	install(t)
	uses(t, name, []string{name, leaseRole, metricsRole}, func() {
		exercise(t, name, newNamespace(t), "")
	})
}

func TestMetricsAreForTheirReadersOnly(t *testing.T) {
	install(t)
	ns, addr := newNamespace(t), freeAddress(t)
	operate(t, serviceAccount(t, name, name), "--leader-election-namespace="+name, "--metrics-bind-address="+addr)
	kubectl(t, "create", "serviceaccount", "prometheus", "-n", ns)
	kubectl(t, "create", "serviceaccount", "stranger", "-n", ns)
	kubectl(t, "create", "clusterrolebinding", ns, "--clusterrole="+name+"-metrics-reader", "--serviceaccount="+ns+":prometheus")

	for who, want := range map[string]int{
		serviceAccount(t, ns, "prometheus").BearerToken: http.StatusOK,
		serviceAccount(t, ns, "stranger").BearerToken:   http.StatusForbidden,
		"": http.StatusUnauthorized,
	} {
		eventually(t, "an answer", func() error {
			got, err := scrape(t.Context(), addr, who)
			if err == nil && got != want {
				err = fmt.Errorf("got %d, want %d", got, want)
			}
			return err
		})
	}
}

// GitOps tools compare what they applied with what is there for ever.
func TestEachSampleWorksAndNeverDrifts(t *testing.T) {
	install(t)
	weChat := newWeChat(t)
	operate(t, serviceAccount(t, name, name), "--wechat-url="+weChat.url, "--leader-election-namespace="+name)
	var names []string
	for _, file := range sampleFiles(t) {
		t.Run(file, func(t *testing.T) {
			ns := newNamespace(t)
			for _, wxt := range applyWeChatTokens(t, weChat, ns, file) {
				kubectl(t, "wait", "-n", ns, "--for=condition=Ready", "--timeout=60s", "wxt/"+wxt)
			}
			kubectl(t, "diff", "--server-side", "-n", ns, "-f", file)
			names = append(names, strings.Fields(kubectl(t, "get", "-n", ns, "-f", file, "-o", "name"))...)
		})
	}
	all := strings.Fields(kubectl(t, "apply", "--server-side", "--dry-run=server", "-n", newNamespace(t), "-k", "samples", "-o", "name"))
	slices.Sort(all)
	slices.Sort(names)
	if diff := cmp.Diff(names, all); diff != "" {
		t.Errorf("samples/kustomization.yaml (-files +kustomization):\n%s", diff)
	}
}

// The programs of the consumers run here as they would in their containers.
func TestConsumersGetTheTokenAndDoNotPrintIt(t *testing.T) {
	install(t)
	weChat, ns := newWeChat(t), newNamespace(t)
	operate(t, serviceAccount(t, name, name), "--wechat-url="+weChat.url, "--leader-election-namespace="+name)
	shop := applyWeChatTokens(t, weChat, ns, "samples/stable.yaml")[0]
	kubectl(t, "wait", "-n", ns, "--for=condition=Ready", "--timeout=60s", "wxt/"+shop)
	want := kubectl(t, "get", "-n", ns, "wxt/"+shop, "-o", "jsonpath=token {.status.tokenFingerprint} works until {.status.expirationTime}")

	for _, consumer := range deployments(t, "samples") {
		t.Run(consumer.Name, func(t *testing.T) {
			if got := firstLine(t, consumer, ns); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestNoManifestHoldsASecret(t *testing.T) {
	placeholders := []string{"wx0123456789abcdef", "wxfedcba9876543210"}
	suspicious := map[string]*regexp.Regexp{
		"an AppSecret":          regexp.MustCompile(`\b[0-9a-fA-F]{32}\b`),
		"a token":               regexp.MustCompile(`[A-Za-z0-9_-]{64,}`),
		"a key":                 regexp.MustCompile(`-----BEGIN|\bgh[pousr]_\w{20,}|\bAKIA[0-9A-Z]{16}\b`),
		"a Secret":              regexp.MustCompile(`(?m)^\s*kind: Secret$`),
		"the appid of somebody": regexp.MustCompile(`\bwx[0-9a-f]{16}\b`),
	}
	for what, example := range map[string]string{
		"an AppSecret":          "appsecret: " + strings.Repeat("0123456789abcdef", 2),
		"a token":               "access_token: " + strings.Repeat("99_J", 34),
		"a key":                 "-----BEGIN PRIVATE KEY-----",
		"a Secret":              "apiVersion: v1\nkind: Secret\n",
		"the appid of somebody": "appID: wx00000000000000aa # ours",
	} {
		if !suspicious[what].MatchString(example) {
			t.Errorf("%s would not be found", what)
		}
	}
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for what, pattern := range suspicious {
			for _, found := range pattern.FindAllString(string(text), -1) {
				if !slices.Contains(placeholders, found) {
					t.Errorf("%s holds what looks like %s: %s", path, what, found)
				}
			}
		}
		return err
	})
	if err != nil || files < 10 {
		t.Errorf("looked at %d files: %v", files, err)
	}
}

// install is what the user does.
func install(t *testing.T) {
	t.Helper()
	kubectl(t, "apply", "--server-side", "--validate=strict", "-k", "default")
}

// kubectl runs as an administrator, must succeed, and returns what it prints.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return succeed(t, cluster.Kubectl(args...))
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

// newNamespace is a namespace that enforces restricted Pod Security.
func newNamespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "t-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := clientFor(t, cluster.Config).Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

func decode(t *testing.T, r io.Reader) []unstructured.Unstructured {
	t.Helper()
	var all []unstructured.Unstructured
	for d := yaml.NewYAMLOrJSONDecoder(r, 4096); ; {
		var o unstructured.Unstructured
		err := d.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if o.Object != nil {
			all = append(all, o)
		}
	}
}

// ofKind are those of all that are of a kind.
func ofKind[T any](t *testing.T, kind string, all []unstructured.Unstructured) []T {
	t.Helper()
	var some []T
	for _, o := range all {
		if o.GetKind() != kind {
			continue
		}
		var typed T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &typed, true); err != nil {
			t.Fatal(err)
		}
		some = append(some, typed)
	}
	return some
}

func deployments(t *testing.T, dir string) []appsv1.Deployment {
	t.Helper()
	return ofKind[appsv1.Deployment](t, "Deployment", objects(t, dir))
}

func container(d appsv1.Deployment) corev1.Container { return d.Spec.Template.Spec.Containers[0] }

func only[T any](t *testing.T, some []T) T {
	t.Helper()
	if len(some) != 1 {
		t.Fatalf("got %d, want 1", len(some))
	}
	return some[0]
}

func sampleFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("samples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "kustomization.yaml" })
}

func clientFor(t *testing.T, who *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(who, client.Options{Scheme: clientgoscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serviceAccount is the configuration of a pod that runs as a ServiceAccount.
func serviceAccount(t *testing.T, namespace, account string) *rest.Config {
	t.Helper()
	cfg := rest.AnonymousClientConfig(cluster.Config)
	cfg.BearerToken = strings.TrimSpace(kubectl(t, "create", "token", account, "-n", namespace))
	return cfg
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

// weChat is a WeChat on loopback.
type weChat struct {
	*wechattest.Server

	url string
}

func newWeChat(t *testing.T) weChat {
	t.Helper()
	s := wechattest.New(wechattest.Config{})
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return weChat{s, srv.URL}
}

var appSecret = strings.Repeat("0123456789abcdef", 2)

// applyWeChatTokens does what a sample says, and returns the names of its
// WeChatTokens. They go with the test, for the next operator sees them all.
func applyWeChatTokens(t *testing.T, w weChat, namespace, file string) []string {
	t.Helper()
	sample, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer sample.Close()
	var names []string
	for _, wt := range ofKind[v1alpha1.WeChatToken](t, "WeChatToken", decode(t, sample)) {
		w.AddAccount(wt.Spec.AppID, appSecret)
		create := cluster.Kubectl("create", "secret", "generic", wt.Spec.AppSecretRef.Name, "-n", namespace,
			"--from-file="+wt.Spec.AppSecretRef.KeyOrDefault()+"=/dev/stdin")
		create.Stdin = strings.NewReader(appSecret + "\n")
		succeed(t, create)
		names = append(names, wt.Name)
	}
	t.Cleanup(func() { kubectl(t, "delete", "--ignore-not-found", "-n", namespace, "-f", file) })
	kubectl(t, "apply", "--server-side", "--validate=strict", "-n", namespace, "-f", file)
	return names
}

var buildFolder string

var buildManager = sync.OnceValues(func() (string, error) {
	var err error
	if buildFolder, err = os.MkdirTemp("", "wechattoken-"); err != nil {
		return "", err
	}
	program := filepath.Join(buildFolder, "manager")
	out, err := exec.Command("go", "build", "-o", program, "../cmd/manager").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// manager is the path of the program that the image holds.
func manager(t *testing.T) string {
	t.Helper()
	program, err := buildManager()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// operator is a manager that runs. It ends with the test, and has then been
// forbidden nothing.
type operator struct{ stop func() }

func operate(t *testing.T, who *rest.Config, flags ...string) operator {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(manager(t), append([]string{"--allow-plain-http", "--metrics-bind-address=0", "--health-probe-bind-address=0"}, flags...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig(t, who))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		killer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer killer.Stop()
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait(), out.Close()); err != nil {
			t.Errorf("the manager ended with %v", err)
		}
		told, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(bytes.ToLower(told), []byte("forbidden")) {
			t.Error("the manager was forbidden something")
		}
		if t.Failed() {
			t.Logf("the manager's log:\n%s", told)
		}
	})
	t.Cleanup(stop)
	return operator{stop}
}

// kubeconfig is a file with who.
func kubeconfig(t *testing.T, who *rest.Config) string {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: who.Host, CertificateAuthorityData: who.CAData}
	c.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: who.BearerToken}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// scrape asks for the metrics as a Prometheus does that does not look at the
// certificate.
func scrape(ctx context.Context, addr, token string) (int, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// firstLine runs the program of a consumer here, with what its Secret holds now,
// and returns the first line it prints.
func firstLine(t *testing.T, consumer appsv1.Deployment, namespace string) string {
	t.Helper()
	admin, c, pod := clientFor(t, cluster.Config), container(consumer), consumer.Spec.Template.Spec
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

func contains(text string, parts ...string) error {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return fmt.Errorf("no %q in\n%s", part, text)
		}
	}
	return nil
}

// eventually waits until what holds.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	const deadline = 60 * time.Second
	var err error
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %s: %v", what, deadline, err)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// relative is the path from one folder to another.
func relative(t *testing.T, from, to string) string {
	t.Helper()
	from, err := filepath.EvalSymlinks(from) // as kustomize does
	if err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs(to)
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(from, abs)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}
