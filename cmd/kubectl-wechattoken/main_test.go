//go:build integration

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The tests with the tag integration run the plugin on a real API server, beside the
// real manager and a fake WeChat on loopback. Each has a namespace and a manager of
// its own, so that they run side by side; only a test that changes the installed
// operator keeps those waiting that look at it.

// binaries is the folder of both programs.
var binaries string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "plugin-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	if err := testcluster.BuildCommands(binaries, "kubectl-wechattoken", "manager"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return testcluster.Main(m, 12)
}

// world is a namespace with WeChatTokens, and a WeChat for them.
type world struct {
	*testcluster.Namespace
	testcluster.Canaries

	t    *testing.T
	fake *wechattest.Server
	url  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Namespace: testcluster.NewNamespace(t), t: t}
	w.fake, w.url = w.Canaries.FakeWeChat(t, wechattest.Config{})
	return w
}

// create creates a WeChatToken with its account and its AppSecret.
func (w *world) create(name string, mode v1alpha1.Mode, change ...func(*v1alpha1.WeChatToken)) *v1alpha1.WeChatToken {
	w.t.Helper()
	appID, secret := w.account()
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

// account is a new one at WeChat.
func (w *world) account() (appID, secret string) {
	number := accounts.Add(1)
	appID, secret = fmt.Sprintf("wx%016x", number), fmt.Sprintf("%016xc0ffee0%08xf", uint64(0xabcdef0123456789), number)
	w.fake.AddAccount(appID, secret)
	w.Add("an AppSecret", secret)
	return appID, secret
}

var accounts atomic.Int64

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// operate starts a manager for the namespace.
func (w *world) operate(flags ...string) *testcluster.Program {
	w.t.Helper()
	return w.StartManager(w.t, filepath.Join(binaries, "manager"), w.url, append([]string{"--namespaces=" + w.Name}, flags...)...)
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
	testcluster.Eventually(w.t, name+" is "+reason, func() error {
		c := meta.FindStatusCondition(w.get(name).Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Reason != reason {
			return fmt.Errorf("it is %v", c)
		}
		return nil
	})
}

// run runs the plugin for the namespace. No secret may be in what it prints.
func (w *world) run(args ...string) result {
	w.t.Helper()
	return w.runAs(w.Kubeconfig, args...)
}

func (w *world) runAs(kubeconfig string, args ...string) result {
	w.t.Helper()
	return w.runWithin(w.t.Context(), kubeconfig, args...)
}

// runWithin is runAs until ctx ends, as it does at Ctrl-C.
func (w *world) runWithin(ctx context.Context, kubeconfig string, args ...string) result {
	w.t.Helper()
	return w.runOn(ctx, "", kubeconfig, args...)
}

// runOn is runWithin with something on stdin.
func (w *world) runOn(ctx context.Context, stdin, kubeconfig string, args ...string) result {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(ctx, append([]string{"--kubeconfig=" + kubeconfig, "-n", w.Name}, args...), genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &stdout, ErrOut: &stderr})
	return w.check(result{stdout.String(), stderr.String(), code}, args)
}

// finish runs the plugin as a process.
func (w *world) finish(cmd *exec.Cmd) result {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return w.check(result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}, cmd.Args)
}

func (w *world) check(r result, args []string) result {
	w.t.Helper()
	for _, what := range w.In(r.stdout + r.stderr) {
		w.t.Errorf("%v tells %s", args, what)
	}
	return r
}

func (w *world) kubectl(args ...string) {
	w.t.Helper()
	if out, err := w.Kubectl(append([]string{"--namespace", w.Name}, args...)...).CombinedOutput(); err != nil {
		w.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
}

// person is the kubeconfig of somebody with these ClusterRoles in the namespace.
func (w *world) person(roles ...string) string {
	w.t.Helper()
	user := "person-" + w.Name + "-" + strings.Join(roles, "-")
	for _, role := range roles {
		w.kubectl("create", "rolebinding", user+"-"+role, "--clusterrole="+role, "--user="+user)
	}
	cfg, err := w.User(user)
	w.must(err)
	return testcluster.WriteKubeconfig(w.t, cfg)
}

var once sync.Once

// install installs the operator's manifests for all tests. Nothing runs its pods here,
// but all looks as if they did, and one of them led.
func (w *world) install() {
	w.t.Helper()
	once.Do(func() {
		w.apply()
		w.available(2)
		w.must(w.All.Create(w.t.Context(), &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: operatorName, Namespace: operatorName},
			Spec: coordinationv1.LeaseSpec{
				HolderIdentity: new("leader"), LeaseDurationSeconds: new(int32(time.Hour.Seconds())), RenewTime: new(metav1.NowMicro()),
			},
		}))
	})
}

func (w *world) apply() {
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
	w.must(w.All.Status().Patch(w.t.Context(), &d, client.RawPatch("application/merge-patch+json", []byte(patch))))
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

// expire makes the status of name say when the token expires. The operator must not
// run.
func (w *world) expire(name string, at time.Time) {
	w.t.Helper()
	patch := fmt.Sprintf(`{"status":{"expirationTime":%q}}`, stamp(at))
	w.must(w.Status().Patch(w.t.Context(), w.get(name), client.RawPatch("application/merge-patch+json", []byte(patch))))
}
