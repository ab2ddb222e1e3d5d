package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The tests of this package run the plugin as a process, on a real API server,
// beside the real manager and a fake WeChat on loopback.

// binaries is the folder of both programs.
var binaries string

var (
	startControlPlane = sync.OnceValues(testcluster.Start)
	planeStarted      atomic.Bool
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	log.SetLogger(logr.Discard()) // the libraries that the tests use have nothing to say
	var err error
	if binaries, err = os.MkdirTemp("", "plugin-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	if out, err := exec.Command("go", "build", "-o", binaries, ".", "../manager").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if planeStarted.Load() {
		if plane, err := startControlPlane(); err == nil {
			if err := plane.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}
	return code
}

// world is a namespace with WeChatTokens, and a WeChat for them.
type world struct {
	*testcluster.Cluster
	client.Client

	t     *testing.T
	name  string // of the namespace
	fake  *wechattest.Server
	url   string
	mu    sync.Mutex
	signs map[string]string // what must not be told, to what that is
}

func newWorld(t *testing.T) *world {
	t.Helper()
	planeStarted.Store(true)
	plane, err := startControlPlane()
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(plane.Config, client.Options{Scheme: scheme, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	w := &world{Cluster: plane, Client: client.NewNamespacedClient(c, ns.Name), t: t, name: ns.Name, signs: map[string]string{}}
	t.Cleanup(func() {
		if err := c.DeleteAllOf(context.Background(), &v1alpha1.WeChatToken{}, client.InNamespace(w.name)); err != nil {
			t.Error(err)
		}
	})
	w.fake = wechattest.New(wechattest.Config{})
	issued := regexp.MustCompile(`"access_token":"([^"]+)"`)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.fake.ServeHTTP(&recorder{ResponseWriter: rw, seen: func(body []byte) {
			for _, m := range issued.FindAllSubmatch(body, -1) {
				w.hide("a token", string(m[1]))
			}
		}}, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	w.url = server.URL
	return w
}

// recorder shows each piece of an answer to seen. An answer of the fake has one.
type recorder struct {
	http.ResponseWriter

	seen func([]byte)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.seen(p)
	return r.ResponseWriter.Write(p)
}

// hide makes a canary of a secret.
func (w *world) hide(what, secret string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signs[secret[:16]] = what
	w.signs[secret[len(secret)-16:]] = what
	w.signs[base64.StdEncoding.EncodeToString([]byte(secret))[:20]] = what + " in base64"
}

// told are the secrets in a text.
func (w *world) told(text string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []string
	for sign, what := range w.signs {
		if strings.Contains(text, sign) {
			found = append(found, what)
		}
	}
	return found
}

// create creates a WeChatToken with its account and its AppSecret.
func (w *world) create(name string, mode v1alpha1.Mode, change ...func(*v1alpha1.WeChatToken)) *v1alpha1.WeChatToken {
	w.t.Helper()
	number := accounts.Add(1)
	appID, secret := fmt.Sprintf("wx%016x", number), fmt.Sprintf("%016xc0ffee0%08xf", uint64(0xabcdef0123456789), number)
	w.fake.AddAccount(appID, secret)
	w.hide("an AppSecret", secret)
	wt := &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.WeChatTokenSpec{
			AppID: appID, Mode: mode, AppSecretRef: v1alpha1.AppSecretReference{Name: name + "-app"},
			Secret: &v1alpha1.TokenSecret{Name: name + "-token"},
		},
	}
	for _, c := range change {
		c(wt)
	}
	w.must(w.Create(w.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name + "-app"}, StringData: map[string]string{"appsecret": secret}}))
	w.must(w.Create(w.t.Context(), wt))
	return wt
}

var accounts atomic.Int64

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// operate starts a manager for the namespace. It ends with the test at the
// latest.
func (w *world) operate(flags ...string) *testcluster.Process {
	w.t.Helper()
	var out output
	p, err := testcluster.StartProcess(filepath.Join(binaries, "manager"), w.Kubeconfig, &out, &out, append([]string{
		"--wechat-url=" + w.url, "--allow-plain-http", "--namespaces=" + w.name, "--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0",
	}, flags...)...)
	w.must(err)
	w.t.Cleanup(func() {
		p.Kill()
		if w.t.Failed() {
			w.t.Logf("what the manager wrote:\n%s", out.String())
		}
	})
	return p
}

// output is what a process has written so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (w *world) get(name string) *v1alpha1.WeChatToken {
	w.t.Helper()
	var wt v1alpha1.WeChatToken
	w.must(w.Get(w.t.Context(), client.ObjectKey{Name: name}, &wt))
	return &wt
}

// token is the one in the Secret of the WeChatToken called name.
func (w *world) token(name string) string {
	w.t.Helper()
	var s corev1.Secret
	w.must(w.Get(w.t.Context(), client.ObjectKey{Name: name + "-token"}, &s))
	return string(s.Data["access_token"])
}

func (w *world) awaitReady(name string) {
	w.t.Helper()
	w.await(name, v1alpha1.ReasonTokenValid)
}

// await waits until Ready has that reason.
func (w *world) await(name, reason string) {
	w.t.Helper()
	eventually(w.t, name+" is "+reason, func() error {
		c := meta.FindStatusCondition(w.get(name).Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Reason != reason {
			return fmt.Errorf("it is %v", c)
		}
		return nil
	})
}

// result is how a run of the plugin ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string { return fmt.Sprintf("exit code %d\n%s%s", r.code, r.stdout, r.stderr) }

// run runs the plugin for the namespace. No secret may be in what it prints.
func (w *world) run(args ...string) result {
	w.t.Helper()
	return w.runAs(w.Kubeconfig, args...)
}

func (w *world) runAs(kubeconfig string, args ...string) result {
	w.t.Helper()
	cmd := exec.Command(filepath.Join(binaries, "kubectl-wechattoken"), append([]string{"-n", w.name}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	return w.finish(cmd)
}

func (w *world) finish(cmd *exec.Cmd) result {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if _, ended := errors.AsType[*exec.ExitError](err); !ended {
			w.t.Fatal(err)
		}
	}
	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	for _, what := range w.told(r.stdout + r.stderr) {
		w.t.Errorf("%v tells %s", cmd.Args, what)
	}
	return r
}

// wants checks the exit code and what is printed; each text that begins with !
// must not be.
func (r result) wants(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("got exit code %d, want %d", r.code, code)
	}
	for _, text := range texts {
		text, not := strings.CutPrefix(text, "!")
		if strings.Contains(r.stdout+r.stderr, text) == not {
			t.Errorf("%q must be there: %t", text, !not)
		}
	}
	if t.Failed() {
		t.Fatalf("%s", r)
	}
}

func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	out, err := w.Kubectl(append([]string{"--namespace", w.name}, args...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// person is the kubeconfig of somebody with these ClusterRoles in the namespace.
func (w *world) person(roles ...string) string {
	w.t.Helper()
	user := "person-" + w.name + "-" + strings.Join(roles, "-")
	for _, role := range roles {
		w.kubectl("create", "rolebinding", user+"-"+role, "--clusterrole="+role, "--user="+user)
	}
	cfg, err := w.User(user)
	w.must(err)
	return kubeconfig(w.t, cfg)
}

// kubeconfig is a file with cfg.
func kubeconfig(t *testing.T, cfg *rest.Config) string {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["it"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	c.AuthInfos["it"] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData, Token: cfg.BearerToken}
	c.Contexts["it"] = &clientcmdapi.Context{Cluster: "it", AuthInfo: "it"}
	c.CurrentContext = "it"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// install installs the operator's manifests, whose pods nothing runs here.
func (w *world) install() {
	w.t.Helper()
	out, err := w.Kubectl("apply", "--server-side", "--force-conflicts", "-k", "../../config/default").CombinedOutput()
	if err != nil {
		w.t.Fatalf("install the operator: %v\n%s", err, out)
	}
}

// available makes the operator's Deployment have so many pods.
func (w *world) available(pods int32) {
	w.t.Helper()
	var d appsv1.Deployment
	d.Name, d.Namespace = operatorName, operatorName
	patch := fmt.Sprintf(`{"status":{"replicas":%[1]d,"readyReplicas":%[1]d,"availableReplicas":%[1]d,"updatedReplicas":%[1]d}}`, pods)
	w.must(w.everywhere().Status().Patch(w.t.Context(), &d, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// everywhere is a client that is not bound to the namespace.
func (w *world) everywhere() client.Client {
	w.t.Helper()
	c, err := client.New(w.Config, client.Options{Scheme: w.Scheme()})
	w.must(err)
	return c
}

const patience = 2 * time.Minute

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

// remember changes what the Secret of name remembers, as if the operator had, which
// must not run.
func (w *world) remember(name string, change func(*record.Record)) {
	w.t.Helper()
	var app, s corev1.Secret
	w.must(w.Get(w.t.Context(), client.ObjectKey{Name: name + "-app"}, &app))
	w.must(w.Get(w.t.Context(), client.ObjectKey{Name: name + "-token"}, &s))
	key := record.NewKey(string(app.Data["appsecret"]))
	r := record.Read(&s, key)
	if r == nil || !r.Verified {
		w.t.Fatalf("the Secret of %s has no record of the operator's", name)
	}
	change(r)
	before := s.DeepCopy()
	s.Annotations[record.Annotation] = record.Render(w.get(name), *r, key).Annotations[record.Annotation]
	w.must(w.Patch(w.t.Context(), &s, client.MergeFrom(before), client.FieldOwner(record.ManagedBy)))
}
