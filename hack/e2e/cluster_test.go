//go:build e2e

// The end-to-end tests: the operator as its Deployment in a real cluster, with
// real pods of users and a fake WeChat among them. `make e2e` runs them on a
// cluster made of this machine; E2E_KUBECONFIG=… on another one.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// What the tests install.
const (
	operatorNamespace = "wechat-token-operator"
	operatorName      = "wechat-token-operator"
	operatorImage     = "wechattoken.io/operator:e2e"
	nextOperatorImage = "wechattoken.io/operator:e2e-next"
	weChatNamespace   = "fake-wechat"
	weChatCA          = "fake-wechat-ca"     // see certificate
	weChatURL         = "https://10.96.0.80" // see fake-wechat.yaml
	consumerImage     = "wechattoken.io/consumer:e2e"
)

// patience bounds each wait for the cluster. Nothing here is measured by it.
const patience = 3 * time.Minute

// cluster is where the tests run.
type cluster struct {
	client.Client
	clients    *kubernetes.Clientset
	kubeconfig string

	weChatCertificate string // as PEM, with who signs it
}

func connect(t *testing.T) *cluster {
	t.Helper()
	ctrllog.SetLogger(logr.Discard()) // its client would complain that nobody did
	c := &cluster{kubeconfig: os.Getenv("E2E_KUBECONFIG")}
	if c.kubeconfig == "" {
		t.Fatal("E2E_KUBECONFIG does not say which cluster to use: run `make e2e`, which makes one of this machine, or set it to the kubeconfig of a cluster that has the images of hack/node/images.sh")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS = -1
	if err := v1alpha1.AddToScheme(clientgoscheme.Scheme); err != nil {
		t.Fatal(err)
	}
	if c.Client, err = client.New(cfg, client.Options{}); err != nil {
		t.Fatal(err)
	}
	c.clients = kubernetes.NewForConfigOrDie(cfg)
	return c
}

// kubectl runs kubectl, as a user would, and returns what it says.
func (c *cluster) kubectl(args ...string) (string, error) {
	program := filepath.Join("..", "..", "bin", "controlplane", "kubectl")
	if _, err := os.Stat(program); err != nil {
		program = "kubectl"
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}

func (c *cluster) mustKubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.kubectl(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually waits until check is content.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < patience; time.Sleep(100 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("waited in vain for %s: %v", what, err)
}

// create makes objects in a namespace that it makes too, and removes it in the
// end.
func (c *cluster) create(t *testing.T, namespace string, objects ...client.Object) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if err := c.Create(t.Context(), ns); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Delete(context.Background(), ns) }) // nobody waits for it
	eventually(t, "the ServiceAccount default", func() error {
		return c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "default"}, &corev1.ServiceAccount{})
	})
	for _, o := range objects {
		o.SetNamespace(namespace)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatalf("create %T %s: %v", o, o.GetName(), err)
		}
	}
}

// sample reads one of config/samples.
func sample[T any](t *testing.T, file string) *T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "samples", file))
	if err != nil {
		t.Fatal(err)
	}
	object := new(T)
	if err := yaml.UnmarshalStrict(text, object); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return object
}

// appSecret is the Secret that a user of the samples makes first.
func appSecret() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "shop-app"},
		StringData: map[string]string{"appsecret": "0123456789abcdef0123456789abcdef"},
	}
}

// available waits until all replicas of a Deployment are of its present template
// and available.
func (c *cluster) available(t *testing.T, namespace, name string) {
	t.Helper()
	eventually(t, "Deployment "+name, func() error {
		var d appsv1.Deployment
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
			return err
		}
		if s := d.Status; s.ObservedGeneration < d.Generation || s.UpdatedReplicas < *d.Spec.Replicas || s.Replicas > s.UpdatedReplicas || s.AvailableReplicas < s.UpdatedReplicas {
			return fmt.Errorf("%d replicas, %d updated, %d available", s.Replicas, s.UpdatedReplicas, s.AvailableReplicas)
		}
		return nil
	})
}

// token reads a WeChatToken.
func (c *cluster) token(namespace, name string) (*v1alpha1.WeChatToken, error) {
	var wt v1alpha1.WeChatToken
	return &wt, c.Get(context.Background(), client.ObjectKey{Namespace: namespace, Name: name}, &wt)
}

// fingerprint is what the status says of the token in the Secret; empty before
// the first.
func (c *cluster) fingerprint(t *testing.T, namespace, name string) string {
	t.Helper()
	wt, err := c.token(namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return wt.Status.TokenFingerprint
}

// isReady waits until a WeChatToken is.
func (c *cluster) isReady(t *testing.T, namespace, name string) {
	t.Helper()
	c.mustKubectl(t, "wait", "--namespace="+namespace, "--for=condition=Ready", "--timeout="+patience.String(), "wechattoken/"+name)
}

// nextToken waits until the Secret has another token than the one with the
// fingerprint before.
func (c *cluster) nextToken(t *testing.T, namespace, name, before string) string {
	t.Helper()
	var after string
	eventually(t, "another token", func() error {
		if after = c.fingerprint(t, namespace, name); after == before {
			return fmt.Errorf("it is still %s", before)
		}
		return nil
	})
	return after
}

// stats are what WeChat has counted of an account.
func (c *cluster) stats(t *testing.T, appID string) wechattest.Counts {
	t.Helper()
	var counts wechattest.Counts
	eventually(t, "WeChat's counts", func() error {
		text, err := c.clients.CoreV1().Services(weChatNamespace).ProxyGet("https", "fake-wechat", "443", "/fake/stats", map[string]string{"appid": appID}).DoRaw(t.Context())
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &counts)
	})
	return counts
}

// install puts the operator and the fake WeChat into the cluster.
func (c *cluster) install(t *testing.T) {
	t.Helper()
	c.startWeChat(t)
	c.mustKubectl(t, "apply", "-k", "operator")
	if *realTime {
		c.setArgs(t, weChatNamespace, "fake-wechat", "--listen=:8090", "--tls-cert-file=/tls/tls.crt", "--tls-key-file=/tls/tls.key", "--open-accounts", "--quiet")
		c.setArgs(t, operatorNamespace, operatorName, "--wechat-url="+weChatURL, "--consumers")
	}
	c.available(t, weChatNamespace, "fake-wechat")
	c.available(t, operatorNamespace, operatorName)
	t.Cleanup(func() {
		if t.Failed() {
			c.tell(t)
		}
	})
}

// startWeChat puts the fake WeChat into the cluster. Its certificate stays when it is
// there: programs that run have read it.
func (c *cluster) startWeChat(t *testing.T) {
	t.Helper()
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: weChatNamespace, Name: "fake-wechat"}
	if err := c.Get(t.Context(), key, &secret); apierrors.IsNotFound(err) {
		made, err := exec.Command("go", "run", "./certificate", c.nodeAddress(t)).Output()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "certificate.json")
		if err := os.WriteFile(file, made, 0o600); err != nil {
			t.Fatal(err)
		}
		c.mustKubectl(t, "apply", "-f", file)
	}
	if err := c.Get(t.Context(), key, &secret); err != nil {
		t.Fatal(err)
	}
	c.weChatCertificate = string(secret.Data[corev1.TLSCertKey])
	c.mustKubectl(t, "apply", "-f", "fake-wechat.yaml")
}

// nodeAddress is that by which a node is reached from here.
func (c *cluster) nodeAddress(t *testing.T) string {
	t.Helper()
	var nodes corev1.NodeList
	if err := c.List(t.Context(), &nodes); err != nil {
		t.Fatal(err)
	}
	for _, a := range nodes.Items[0].Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return a.Address
		}
	}
	t.Fatalf("node %s has no address", nodes.Items[0].Name)
	return ""
}

// setArgs gives the first container of a Deployment other arguments.
func (c *cluster) setArgs(t *testing.T, namespace, name string, args ...string) {
	t.Helper()
	var d appsv1.Deployment
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
		t.Fatal(err)
	}
	before := d.DeepCopy()
	d.Spec.Template.Spec.Containers[0].Args = args
	if err := c.Patch(t.Context(), &d, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// leader is the name of the pod that leads.
func (c *cluster) leader(t *testing.T) string {
	t.Helper()
	var holder string
	eventually(t, "a leader", func() error {
		lease, err := c.clients.CoordinationV1().Leases(operatorNamespace).Get(t.Context(), operatorName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
			return errors.New("nobody holds the lease")
		}
		holder, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "_") // POD_uuid
		return nil
	})
	return holder
}

// operatorPods are the names of the operator's pods that are not about to go.
func (c *cluster) operatorPods(t *testing.T) []string {
	t.Helper()
	var pods corev1.PodList
	if err := c.List(t.Context(), &pods, client.InNamespace(operatorNamespace), client.MatchingLabels{"app.kubernetes.io/name": operatorName}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pods.Items {
		if p.DeletionTimestamp.IsZero() {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

// gone waits until an object is not there any more.
func (c *cluster) gone(t *testing.T, o client.Object) {
	t.Helper()
	eventually(t, fmt.Sprintf("the end of %T %s", o, o.GetName()), func() error {
		err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o)
		if err == nil {
			return errors.New("it is still there")
		}
		return client.IgnoreNotFound(err)
	})
}

// tell prints what helps to find out why a test has failed.
func (c *cluster) tell(t *testing.T) {
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "-o", "wide"},
		{"get", "wechattokens", "--all-namespaces", "-o", "yaml"},
		{"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
		{"logs", "--namespace=" + operatorNamespace, "--selector=app.kubernetes.io/name=" + operatorName, "--prefix", "--tail=200"},
	} {
		out, err := c.kubectl(args...)
		t.Logf("kubectl %s\n%s%v", strings.Join(args, " "), out, err)
	}
}
