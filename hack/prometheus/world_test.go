//go:build integration

package prometheus

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m, 1)) }

// Time here is 180 times faster than at WeChat.
const (
	life    = 40 * time.Second
	window  = 10 * time.Second
	overlap = 10 * time.Second
	scrape  = time.Second
)

// operator is the name of its namespace, ServiceAccount and lease.
const operator = "wechat-token-operator"

// world is a cluster with two replicas of the operator, which have the permissions of
// config/default, a WeChat, and a Prometheus that scrapes them as config/prometheus
// says.
type world struct {
	*testcluster.Namespace

	t        *testing.T
	weChat   *wechattest.Server
	managers []*testcluster.Program
	api      promv1.API
}

func newWorld(t *testing.T) *world {
	t.Helper()
	bin := t.TempDir()
	if err := testcluster.BuildCommands(bin, "manager"); err != nil {
		t.Fatal(err)
	}
	w := &world{Namespace: testcluster.NewNamespace(t), t: t}
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{
		Life: life, Window: window, Overlap: overlap,
		Latency: 40 * time.Millisecond, OpenAccounts: true,
	})
	w.weChat = fake
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", filepath.Join(root, "config", "default")},
		// As docs/monitoring.md has it.
		{"create", "namespace", "monitoring"},
		{"create", "serviceaccount", "-n", "monitoring", "prometheus-k8s"},
		{"create", "clusterrolebinding", "prometheus-reads-wechat-token-operator", "--clusterrole=" + operator + "-metrics-reader", "--serviceaccount=monitoring:prometheus-k8s"},
	} {
		w.kubectl(args...)
	}
	asOperator := *w.Cluster
	asOperator.Kubeconfig = w.kubeconfig(w.kubectl("create", "token", operator, "-n", operator))
	var targets []string
	for range 2 {
		metrics := freeAddress(t)
		targets = append(targets, metrics)
		m := asOperator.StartManager(t, filepath.Join(bin, "manager"), url, "--stable-window="+window.String(),
			"--leader-elect", "--leader-election-namespace="+operator, "--metrics-bind-address="+metrics)
		m.AwaitReady()
		w.managers = append(w.managers, m)
	}
	w.startPrometheus(targets)
	return w
}

// kubectl returns what a kubectl command prints.
func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	cmd := w.Kubectl(args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// kubeconfig is a file for who has a token.
func (w *world) kubeconfig(token string) string {
	c := clientcmdapi.NewConfig()
	c.Clusters[operator] = &clientcmdapi.Cluster{Server: w.Config.Host, CertificateAuthorityData: w.Config.CAData}
	c.AuthInfos[operator] = &clientcmdapi.AuthInfo{Token: token}
	c.Contexts[operator] = &clientcmdapi.Context{Cluster: operator, AuthInfo: operator}
	c.CurrentContext = operator
	file := filepath.Join(w.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		w.t.Fatal(err)
	}
	return file
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := testcluster.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// service is the Service that the ServiceMonitor selects. The Prometheus Operator
// makes its name a label of every series.
func (w *world) service(m *monitoringv1.ServiceMonitor) string {
	w.t.Helper()
	selects, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
	if err != nil {
		w.t.Fatal(err)
	}
	var found corev1.ServiceList
	if err := w.All.List(w.t.Context(), &found, client.InNamespace(m.Namespace), client.MatchingLabelsSelector{Selector: selects}); err != nil {
		w.t.Fatal(err)
	}
	if len(found.Items) != 1 || found.Items[0].Spec.Ports[0].Name != m.Spec.Endpoints[0].Port {
		w.t.Fatalf("the ServiceMonitor selects %v, want one Service with the port %s", found.Items, m.Spec.Endpoints[0].Port)
	}
	return found.Items[0].Name
}

// startPrometheus starts a Prometheus with the configuration that the Prometheus
// Operator would make of the ServiceMonitor, but that it scrapes more often, and
// finds its targets in a list.
func (w *world) startPrometheus(targets []string) {
	w.t.Helper()
	m := read[monitoringv1.ServiceMonitor](w.t, "service-monitor.yaml")
	service, e, dir := w.service(&m), m.Spec.Endpoints[0], w.t.TempDir()
	bearer := e.BearerTokenFile //nolint:staticcheck // what shall replace it takes a Secret, and no file
	if want := "/var/run/secrets/kubernetes.io/serviceaccount/token"; bearer != want {
		w.t.Fatalf("bearerTokenFile is %s, and a pod has %s", bearer, want)
	}
	tokenFile := filepath.Join(dir, "token")
	if err := os.WriteFile(tokenFile, []byte(w.kubectl("create", "token", "-n", "monitoring", "prometheus-k8s")), 0o600); err != nil {
		w.t.Fatal(err)
	}
	labels := map[string]string{"namespace": m.Namespace, "service": service, "endpoint": e.Port, "container": "manager"}
	var pods []any
	for i, target := range targets {
		pod := maps.Clone(labels)
		pod["pod"] = fmt.Sprintf("%s-%d", operator, i)
		pods = append(pods, map[string]any{"targets": []string{target}, "labels": pod})
	}
	write(w.t, filepath.Join(dir, "rules.json"), compressed(w.t))
	config := filepath.Join(dir, "prometheus.json")
	write(w.t, config, map[string]any{
		"global":     map[string]string{"scrape_interval": scrape.String(), "scrape_timeout": scrape.String(), "evaluation_interval": scrape.String()},
		"rule_files": []string{"rules.json"},
		"scrape_configs": []any{map[string]any{
			"job_name": service, "scheme": e.Scheme, "honor_labels": e.HonorLabels, "static_configs": pods,
			"authorization": map[string]string{"credentials_file": tokenFile},
			"tls_config":    map[string]any{"insecure_skip_verify": e.TLSConfig.InsecureSkipVerify},
		}},
	})
	address, said := freeAddress(w.t), &testcluster.Output{}
	p, err := testcluster.StartProcess(tool(w.t, "prometheus"), "", said, said, "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Kill)
	connection, err := api.NewClient(api.Config{Address: "http://" + address})
	if err != nil {
		w.t.Fatal(err)
	}
	w.api = promv1.NewAPI(connection)
	testcluster.Eventually(w.t, "Prometheus is ready", func() error {
		if ready, err := p.Ready(w.t.Context(), "http://"+address+"/-/ready"); err != nil || !ready {
			return fmt.Errorf("%w: %s", err, said)
		}
		return nil
	})
}

// compressed are the rules with times that fit the life of a token here: 10 s from
// due to expired instead of 300.
func compressed(t *testing.T) *monitoringv1.PrometheusRuleSpec {
	t.Helper()
	const factor = 30
	r := rules(t)
	for i := range r.Groups {
		r.Groups[i].Interval = new(monitoringv1.Duration(scrape.String()))
	}
	times := strings.NewReplacer("> 0 < 600", "> 0 < 20", "time() - 60", "time() - 2")
	each(r, func(rule *monitoringv1.Rule) {
		rule.Expr.StrVal = times.Replace(rule.Expr.StrVal)
		if e := rule.Expr.StrVal; rule.Alert == "WeChatTokenExpiring" && (!strings.Contains(e, "< 20") || !strings.Contains(e, "- 2")) {
			t.Fatalf("the times of %s have changed; compress them here, too", rule.Alert)
		}
		if rule.For == nil {
			return
		}
		wait, err := model.ParseDuration(string(*rule.For))
		if err != nil {
			t.Fatal(err)
		}
		rule.For = new(monitoringv1.Duration((time.Duration(wait) / factor).String()))
	})
	return r
}

// create creates a WeChatToken with its AppSecret.
func (w *world) create(name, appID string, mode v1alpha1.Mode) {
	w.t.Helper()
	secret := &corev1.Secret{Name: name + "-app", StringData: map[string]string{"appsecret": strings.Repeat("0123456789abcdef", 2)}}
	token := &v1alpha1.WeChatToken{Name: name}
	token.Spec.AppID, token.Spec.Mode, token.Spec.AppSecretRef.Name = appID, mode, secret.Name
	for _, o := range []client.Object{secret, token} {
		if err := w.Create(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}
