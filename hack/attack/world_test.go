package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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

const (
	// operatorName is that of the operator's namespace, ServiceAccount and lease.
	operatorName = "wechat-token-operator"

	// patience is how long a test waits for what must happen in the end.
	patience = 45 * time.Second
)

// The one world of these tests.
var (
	dir      string // of the programs and logs
	plane    *testcluster.Cluster
	scheme   = runtime.NewScheme()
	admin    client.WithWatch
	weChat   *fakeWeChat
	stolen   *rest.Config // the credential of the operator's ServiceAccount
	managers []*manager   // the last one is at work
	known    sync.Map     // the beginning of each AppSecret and token, of which no log may hold one
)

func startWorld() (err error) {
	ctrl.SetLogger(logr.Discard())
	if dir, err = os.MkdirTemp("", "wechattoken-attack-"); err != nil {
		return err
	}
	if said, err := exec.Command("go", "build", "-o", dir+"/", "../../cmd/manager").CombinedOutput(); err != nil {
		return fmt.Errorf("build the manager: %w\n%s", err, said)
	}
	if plane, err = testcluster.Start(); err != nil {
		return err
	}
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if admin, err = client.NewWithWatch(plane.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if said, err := plane.Kubectl("apply", "--server-side", "-k", "../../config/consumers").CombinedOutput(); err != nil {
		return fmt.Errorf("install: %w\n%s", err, said)
	}
	probe := newWeChatToken("default", "probe", newAppID())
	probe.Annotations = map[string]string{v1alpha1.AnnotationInvalidToken: "probe"}
	for end := time.Now().Add(patience); admin.Create(context.Background(), probe.DeepCopy(), client.DryRunAll) == nil; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("the policies do not bind")
		}
	}
	if stolen, err = serviceAccount(operatorName, operatorName); err != nil {
		return err
	}
	weChat = &fakeWeChat{Server: wechattest.New(wechattest.Config{})}
	server := httptest.NewServer(weChat) // until the process ends
	weChat.url = server.URL
	return startManager()
}

// endWorld ends what was started. Who reads the logs is the last attacker.
func endWorld() error {
	var err error
	for _, m := range managers {
		m.crash()
		err = errors.Join(err, m.leaked())
	}
	logs := row{thief, fmt.Sprintf("the logs of %d managers at level DEBUG, with all goroutines at the end", len(managers)), "yes"}
	if err != nil {
		logs.held = "NO"
	}
	rows = append(rows, logs)
	if plane != nil {
		_ = plane.SignalAPIServer(syscall.SIGKILL) // faster than Stop alone
		err = errors.Join(err, plane.Stop())
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// fakeWeChat keeps what it was sent.
type fakeWeChat struct {
	*wechattest.Server

	url string

	mu   sync.Mutex
	sent []string
}

func (w *fakeWeChat) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	w.sent = append(w.sent, r.URL.RequestURI()+"\n"+string(body))
	w.mu.Unlock()
	w.Server.ServeHTTP(rw, r)
}

// newAccount is the AppSecret of an appid that WeChat knows from now on.
func (w *fakeWeChat) newAccount(appID string) string {
	appSecret := newAppSecret()
	known.Store(appSecret, true)
	w.AddAccount(appID, appSecret)
	return appSecret
}

// sentFor are the requests that have a word in them.
func (w *fakeWeChat) sentFor(word string) (requests []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, request := range w.sent {
		if strings.Contains(request, word) {
			requests = append(requests, request)
		}
	}
	return requests
}

// manager is a process of the operator.
type manager struct {
	*testcluster.Process

	log, health, metrics string
}

// crash ends it. The Go runtime logs all goroutines then.
func (m *manager) crash() {
	m.Signal(syscall.SIGQUIT)
	select {
	case <-m.Ended():
	case <-time.After(10 * time.Second):
		m.Kill()
	}
}

// present is the manager that is at work.
func present() *manager { return managers[len(managers)-1] }

// startManager starts a manager as its Deployment does, and ends the one before it as
// a crash does. Flags given replace those that are usual here.
func startManager(flags ...string) error {
	if len(managers) > 0 {
		present().crash()
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	err := writeKubeconfig(kubeconfig, stolen)
	for range 3 { // another process may take a free address first
		if err != nil {
			return err
		}
		if err = launch(kubeconfig, flags...); !errors.Is(err, testcluster.ErrEnded) {
			return err
		}
	}
	return err
}

// launch starts a manager on addresses that are free, and waits until it is ready.
func launch(kubeconfig string, flags ...string) error {
	health, err1 := testcluster.FreeAddress()
	metrics, err2 := testcluster.FreeAddress()
	m := &manager{log: filepath.Join(dir, fmt.Sprintf("manager-%d.log", len(managers))), health: health, metrics: metrics}
	out, err3 := os.Create(m.log)
	if err := errors.Join(err1, err2, err3, os.Setenv("GOMEMLIMIT", "230MiB")); err != nil { // as in config/manager
		return err
	}
	defer out.Close()
	usual := []string{
		"--wechat-url=" + weChat.url, "--allow-plain-http", "--consumers", "--leader-elect=false", "--log-level=DEBUG",
		"--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + health,
	}
	var err error
	if m.Process, err = testcluster.StartProcess(filepath.Join(dir, "manager"), kubeconfig, out, out, append(usual, flags...)...); err != nil {
		return err
	}
	managers = append(managers, m)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ready, err := m.Ready(context.Background(), "http://"+health+"/readyz")
		if ready {
			return nil
		}
		if err != nil {
			said, _ := os.ReadFile(m.log)
			return fmt.Errorf("the manager is not ready: %w\n%s", err, said[max(0, len(said)-1000):])
		}
	}
	return fmt.Errorf("the manager is not ready within %s", patience)
}

// restart puts a new manager in the place of the present one.
func restart(t *testing.T, flags ...string) {
	t.Helper()
	if err := startManager(flags...); err != nil {
		t.Fatal(err)
	}
}

// memory is what the manager holds, in MiB: now, or at most so far.
func (m *manager) memory(t *testing.T, line string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.PID()))
	if err != nil {
		t.Fatalf("the manager is gone: %v", err)
	}
	var kB int
	_, rest, _ := strings.Cut(string(status), line+":")
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		t.Fatal(err)
	}
	return kB >> 10
}

var longWord = regexp.MustCompile(`[0-9A-Za-z_-]{32,}`)

// leaked says that the log has a secret in it.
func (m *manager) leaked() error {
	said, err := os.ReadFile(m.log)
	if err != nil {
		return err
	}
	for _, word := range longWord.FindAllString(string(said), -1) {
		for i := range len(word) - 31 {
			if _, secret := known.Load(word[i : i+32]); secret {
				return fmt.Errorf("%s has an AppSecret or a token in it", filepath.Base(m.log))
			}
		}
	}
	return nil
}

func writeKubeconfig(file string, who *rest.Config) error {
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: who.Host, CertificateAuthorityData: who.CAData}
	c.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: who.BearerToken}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	return clientcmd.WriteToFile(*c, file)
}

// serviceAccount is the configuration of a pod that runs as a ServiceAccount.
func serviceAccount(namespace, account string) (*rest.Config, error) {
	token, err := plane.Kubectl("create", "token", account, "-n", namespace, "--duration=10h").Output()
	cfg := rest.AnonymousClientConfig(plane.Config)
	cfg.BearerToken = strings.TrimSpace(string(token))
	return cfg, err
}

func clientOf(t *testing.T, who *rest.Config) client.WithWatch {
	t.Helper()
	c, err := client.NewWithWatch(who, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// roles of an attacker. Nobody aggregates the role edit here, so it is in parts.
var roles = map[attacker][]string{
	editor:    {"system:aggregate-to-edit", "system:aggregate-to-view", operatorName + "-edit", operatorName + "-view"},
	writer:    {operatorName + "-edit", operatorName + "-view"},
	refresher: {"wechattoken-refresher"},
}

// as is a user with the roles of an attacker in a namespace.
func as(t *testing.T, who attacker, namespace string) client.WithWatch {
	t.Helper()
	name := fmt.Sprintf("%s-of-%s", who, namespace)
	cfg, err := plane.User(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range roles[who] {
		must(t, admin.Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "attacker-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		}))
	}
	return clientOf(t, cfg)
}

// newNamespace is one that is empty again after the test.
func newNamespace(t *testing.T, name string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"}}
	must(t, admin.Create(t.Context(), ns))
	t.Cleanup(func() {
		for _, all := range []client.Object{&v1alpha1.WeChatToken{}, &corev1.Secret{}} {
			if err := admin.DeleteAllOf(context.Background(), all, client.InNamespace(ns.Name)); err != nil {
				t.Error(err)
			}
		}
	})
	return ns.Name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until holds returns nil.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %s: %v", what, patience, err)
}
