//go:build integration

package attack

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/procfs"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

const (
	// operatorName is that of the operator's namespace, ServiceAccount and lease.
	operatorName = "wechat-token-operator"
	// serverName is that of the token-server's ServiceAccount.
	serverName = "wechat-token-server"
)

// The one world of these tests.
var (
	dir      string     // of the program
	outlives testing.TB // ends after all tests, and the managers with it
	plane    *testcluster.Cluster
	operator testcluster.Cluster // the same, for who has the credential of the operator
	admin    client.WithWatch
	weChat   *fakeWeChat
	stolen   *rest.Config // the credential of the operator's ServiceAccount
	managers []*manager   // the last one is at work
	servers  []*testcluster.TokenServer
	known    sync.Map // the beginning of each AppSecret, token and credential, of which no log may hold one
)

func TestMain(m *testing.M) { os.Exit(runIn(m)) }

// runIn runs the tests in their world.
func runIn(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	_ = flag.Set("test.parallel", "16") // they wait most of the time
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go endAt(interrupted)
	code := 1
	err := testcluster.Run(context.Background(), func(tb testing.TB) {
		tb.Helper()
		startWorld(tb)
		code = m.Run()
		readLogs(tb)
	})
	printTable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

// endAt leaves nothing behind at Ctrl-C, which ends no test.
func endAt(interrupted <-chan os.Signal) {
	<-interrupted
	if plane != nil {
		for _, m := range managers {
			m.Kill()
		}
		for _, s := range servers {
			s.Kill()
		}
		_ = plane.Stop()
	}
	os.Exit(130)
}

func startWorld(tb testing.TB) {
	tb.Helper()
	outlives, dir = tb, tb.TempDir()
	must(tb, testcluster.BuildCommands(dir, "manager", "token-server"))
	cluster, err := testcluster.Start()
	must(tb, err)
	tb.Cleanup(func() {
		_ = cluster.SignalAPIServer(syscall.SIGKILL) // faster than Stop alone
		_ = cluster.Stop()                           // and so it says that it was killed
	})
	plane = cluster
	admin = clientOf(tb, plane.Config)
	for _, folder := range []string{"consumers", "token-server"} {
		if said, err := plane.Kubectl("apply", "--server-side", "-k", "../../config/"+folder).CombinedOutput(); err != nil {
			tb.Fatalf("install: %v\n%s", err, said)
		}
	}
	probe := newWeChatToken("default", "probe", newAppID())
	probe.Annotations = map[string]string{v1alpha1.AnnotationInvalidToken: "probe"}
	testcluster.Eventually(tb, "the policies bind", func() error {
		if admin.Create(tb.Context(), probe.DeepCopy(), client.DryRunAll) == nil {
			return errors.New("they do not")
		}
		return nil
	})
	stolen = serviceAccount(tb, operatorName, operatorName)
	operator = *plane
	operator.Kubeconfig = testcluster.WriteKubeconfig(tb, stolen)
	must(tb, os.Setenv("GOMEMLIMIT", "230MiB")) //nolint:usetesting // tb is no test; as in config/manager
	weChat = &fakeWeChat{Server: wechattest.New(wechattest.Config{})}
	server := httptest.NewServer(weChat) // until the process ends
	weChat.url = server.URL
	restart(tb)
	restartServer(tb)
}

// readLogs is the last attack: who reads the logs.
func readLogs(tb testing.TB) {
	tb.Helper()
	logs := row{thief, fmt.Sprintf("the logs of %d managers and %d token-servers at level DEBUG, with all goroutines at the end", len(managers), len(servers)), "yes"}
	var all []*testcluster.Program
	for _, m := range managers {
		all = append(all, m.Program)
	}
	for _, s := range servers {
		all = append(all, s.Program)
	}
	for i, p := range all {
		crash(p)
		if leaked(p.Output.String()) {
			tb.Errorf("log %d of %d managers and %d token-servers has an AppSecret, a token or a credential in it", i, len(managers), len(servers))
			logs.held = "NO"
		}
	}
	rows = append(rows, logs)
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
	*testcluster.Program

	metrics string // address
}

// crash ends a program. The Go runtime logs all goroutines then.
func crash(p *testcluster.Program) {
	p.Signal(syscall.SIGQUIT)
	select {
	case <-p.Ended():
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

// present is the manager that is at work.
func present() *manager { return managers[len(managers)-1] }

// restart puts a new manager in the place of the present one, which ends as by a
// crash, and waits until it is ready. It has the flags of its Deployment; those given
// replace them.
func restart(tb testing.TB, flags ...string) {
	tb.Helper()
	if len(managers) > 0 {
		crash(present().Program)
	}
	metrics, err := testcluster.FreeAddress()
	must(tb, err)
	flags = append([]string{"--consumers", "--log-level=DEBUG", "--metrics-bind-address=" + metrics}, flags...)
	m := &manager{operator.StartManager(outlives, filepath.Join(dir, "manager"), weChat.url, flags...), metrics}
	managers = append(managers, m)
	testcluster.Eventually(tb, "the manager is ready", func() error { return m.Probe("/readyz") })
}

// server is the token-server that is at work.
func server() *testcluster.TokenServer { return servers[len(servers)-1] }

// restartServer puts a new token-server in the place of the present one.
func restartServer(tb testing.TB) {
	tb.Helper()
	if len(servers) > 0 {
		crash(server().Program)
	}
	as := *plane
	as.Kubeconfig = testcluster.WriteKubeconfig(outlives, serviceAccount(tb, operatorName, serverName))
	s := as.StartTokenServer(outlives, filepath.Join(dir, "token-server"), "--log-level=DEBUG")
	servers = append(servers, s)
	testcluster.Eventually(tb, "the token-server is ready", func() error { return s.Probe("/readyz") })
}

// memory is what a program holds, and has held at most, in MB.
func memory(t *testing.T, p *testcluster.Program) (now, most int) {
	t.Helper()
	process, err := procfs.NewProc(p.PID())
	must(t, err)
	status, err := process.NewStatus()
	must(t, err)
	return int(status.VmRSS / 1e6), int(status.VmHWM / 1e6)
}

var longWord = regexp.MustCompile(`[0-9A-Za-z_-]{32,}`)

// leaked reports whether a log has a secret in it.
func leaked(log string) bool {
	for _, word := range longWord.FindAllString(log, -1) {
		for i := range len(word) - 31 {
			if _, secret := known.Load(word[i : i+32]); secret {
				return true
			}
		}
	}
	return false
}

// serviceAccount is the configuration of a pod that runs as a ServiceAccount.
func serviceAccount(tb testing.TB, namespace, account string) *rest.Config {
	tb.Helper()
	token, err := plane.Kubectl("create", "token", account, "-n", namespace, "--duration=10h").Output()
	must(tb, err)
	cfg := rest.AnonymousClientConfig(plane.Config)
	cfg.BearerToken = strings.TrimSpace(string(token))
	return cfg
}

func clientOf(tb testing.TB, who *rest.Config) client.WithWatch {
	tb.Helper()
	c, err := client.NewWithWatch(who, client.Options{Scheme: testcluster.Scheme()})
	must(tb, err)
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

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
