//go:build integration

package config_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
