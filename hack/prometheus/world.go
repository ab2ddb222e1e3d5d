package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Time here is 180 times faster than at WeChat.
const (
	life    = 40 * time.Second
	window  = 10 * time.Second
	overlap = 10 * time.Second
	scrape  = time.Second
)

const (
	operator = "wechat-token-operator" // its namespace, ServiceAccount and lease
	apps     = "web"                   // the namespace of the WeChatTokens
	replicas = 2
)

// world is a cluster with the operator of config/default, a WeChat, and a
// Prometheus that scrapes the one as config/prometheus says.
type world struct {
	root  string
	dir   string
	plane *testcluster.Cluster

	weChat *wechattest.Server
	http   *http.Server

	processes []*testcluster.Process
	api       promv1.API
}

// newWorld starts everything. Stop it in the end, also after an error.
func newWorld(ctx context.Context, root, manager string, r rules) (w *world, err error) {
	w = &world{root: root}
	if w.dir, err = os.MkdirTemp("", "wechattoken-prometheus-"); err != nil {
		return w, err
	}
	if w.plane, err = testcluster.Start(); err != nil {
		return w, err
	}
	url, err := w.startWeChat()
	if err != nil {
		return w, err
	}
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", filepath.Join(root, "config", "default")},
		{"create", "namespace", apps},
		// As docs/monitoring.md has it.
		{"create", "namespace", "monitoring"},
		{"create", "serviceaccount", "-n", "monitoring", "prometheus-k8s"},
		{"create", "clusterrolebinding", "prometheus-reads-wechat-token-operator", "--clusterrole=" + operator + "-metrics-reader", "--serviceaccount=monitoring:prometheus-k8s"},
	} {
		if _, err := w.kubectl(args...); err != nil {
			return w, err
		}
	}
	var targets []string
	for i := range replicas {
		address, err := w.startManager(ctx, manager, url, i)
		if err != nil {
			return w, err
		}
		targets = append(targets, address)
	}
	return w, w.startPrometheus(ctx, r, targets)
}

// stop ends everything, and removes what it has left behind.
func (w *world) stop() error {
	var errs []error
	for _, p := range w.processes {
		p.Kill()
	}
	if w.http != nil {
		errs = append(errs, w.http.Close())
	}
	if w.plane != nil {
		errs = append(errs, w.plane.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

func (w *world) startWeChat() (url string, err error) {
	w.weChat = wechattest.New(wechattest.Config{
		Life: life, Window: window, Overlap: overlap,
		Latency: 40 * time.Millisecond, OpenAccounts: true,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.http = &http.Server{Handler: w.weChat, ReadHeaderTimeout: time.Minute}
	go func() { _ = w.http.Serve(l) }() // until it is closed
	return "http://" + l.Addr().String(), nil
}

// startManager starts a replica, with the rights that config/default gives it,
// and returns the address of its metrics.
func (w *world) startManager(ctx context.Context, manager, weChatURL string, number int) (string, error) {
	token, err := w.kubectl("create", "token", operator, "-n", operator)
	if err != nil {
		return "", err
	}
	kubeconfig := filepath.Join(w.dir, "kubeconfig")
	c := clientcmdapi.NewConfig()
	c.Clusters[operator] = &clientcmdapi.Cluster{Server: w.plane.Config.Host, CertificateAuthorityData: w.plane.Config.CAData}
	c.AuthInfos[operator] = &clientcmdapi.AuthInfo{Token: strings.TrimSpace(token)}
	c.Contexts[operator] = &clientcmdapi.Context{Cluster: operator, AuthInfo: operator}
	c.CurrentContext = operator
	if err := clientcmd.WriteToFile(*c, kubeconfig); err != nil {
		return "", err
	}
	metrics, err := testcluster.FreeAddress()
	if err != nil {
		return "", err
	}
	health, err := testcluster.FreeAddress()
	if err != nil {
		return "", err
	}
	p, err := w.start(fmt.Sprintf("manager-%d", number), manager, kubeconfig,
		"--wechat-url="+weChatURL, "--allow-plain-http", "--stable-window="+window.String(),
		"--leader-election-namespace="+operator,
		"--metrics-bind-address="+metrics, "--health-probe-bind-address="+health)
	if err != nil {
		return "", err
	}
	return metrics, w.until(ctx, "the manager is ready", func() (bool, error) { return p.Ready(ctx, "http://"+health+"/readyz") })
}

// start starts a program that ends with w.
func (w *world) start(name, path, kubeconfig string, args ...string) (*testcluster.Process, error) {
	log, err := os.Create(filepath.Join(w.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p, err := testcluster.StartProcess(path, kubeconfig, log, log, args...)
	if err == nil {
		w.processes = append(w.processes, p)
	}
	return p, err
}

// endpoint is an endpoint of the ServiceMonitor.
type endpoint struct {
	Port        string `json:"port"`
	Scheme      string `json:"scheme"`
	Interval    string `json:"interval"`
	HonorLabels bool   `json:"honorLabels"`
	BearerToken string `json:"bearerTokenFile"`
	TLS         struct {
		InsecureSkipVerify bool `json:"insecureSkipVerify"`
	} `json:"tlsConfig"`
}

type serviceMonitor = manifest[struct {
	Selector struct {
		MatchLabels map[string]string `json:"matchLabels"`
	} `json:"selector"`
	Endpoints []endpoint `json:"endpoints"`
}]

// service is the Service that the ServiceMonitor selects. The Prometheus
// Operator makes its labels those of every series.
func (w *world) service(m serviceMonitor) (name string, err error) {
	var selector []string
	for k, v := range m.Spec.Selector.MatchLabels {
		selector = append(selector, k+"="+v)
	}
	e := m.Spec.Endpoints[0]
	out, err := w.kubectl("get", "service", "-n", m.Metadata.Namespace, "-l", strings.Join(selector, ","),
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.ports[*].name}{"\n"}{end}`)
	if err != nil {
		return "", err
	}
	name, port, _ := strings.Cut(strings.TrimSpace(out), " ")
	if port != e.Port {
		return "", fmt.Errorf("%s selects %q, want one Service with the port %s", monitorFile, out, e.Port)
	}
	return name, nil
}

// startPrometheus starts a Prometheus with the configuration that the Prometheus
// Operator would make of the ServiceMonitor, but that it scrapes more often, and
// finds its targets in a list.
func (w *world) startPrometheus(ctx context.Context, r rules, targets []string) error {
	var m serviceMonitor
	if err := read(w.root, monitorFile, &m); err != nil {
		return err
	}
	service, err := w.service(m)
	if err != nil {
		return err
	}
	e := m.Spec.Endpoints[0]
	if want := "/var/run/secrets/kubernetes.io/serviceaccount/token"; e.BearerToken != want {
		return fmt.Errorf("%s: bearerTokenFile is %s, and a pod has %s", monitorFile, e.BearerToken, want)
	}
	bearer, err := w.kubectl("create", "token", "-n", "monitoring", "prometheus-k8s")
	if err != nil {
		return err
	}
	tokenFile := filepath.Join(w.dir, "token")
	if err := os.WriteFile(tokenFile, []byte(strings.TrimSpace(bearer)), 0o600); err != nil {
		return err
	}
	labels := map[string]string{"namespace": m.Metadata.Namespace, "service": service, "endpoint": e.Port, "container": "manager"}
	var pods []any
	for i, target := range targets {
		pod := maps.Clone(labels)
		pod["pod"] = fmt.Sprintf("%s-%d", operator, i)
		pods = append(pods, map[string]any{"targets": []string{target}, "labels": pod})
	}
	config, err := json.Marshal(map[string]any{
		"global":     map[string]string{"scrape_interval": scrape.String(), "scrape_timeout": scrape.String(), "evaluation_interval": scrape.String()},
		"rule_files": []string{"rules.json"},
		"scrape_configs": []any{map[string]any{
			"job_name": service, "scheme": e.Scheme, "honor_labels": e.HonorLabels, "static_configs": pods,
			"authorization": map[string]string{"credentials_file": tokenFile},
			"tls_config":    map[string]bool{"insecure_skip_verify": e.TLS.InsecureSkipVerify},
		}},
	})
	if err != nil {
		return err
	}
	file := filepath.Join(w.dir, "prometheus.json") // JSON is YAML
	if err := errors.Join(os.WriteFile(file, config, 0o600), r.write(filepath.Join(w.dir, "rules.json"))); err != nil {
		return err
	}

	path, err := tool(w.root, "prometheus")
	if err != nil {
		return err
	}
	address, err := testcluster.FreeAddress()
	if err != nil {
		return err
	}
	p, err := w.start("prometheus", path, "", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(w.dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	if err != nil {
		return err
	}
	client, err := api.NewClient(api.Config{Address: "http://" + address})
	if err != nil {
		return err
	}
	w.api = promv1.NewAPI(client)
	return w.until(ctx, "Prometheus is ready", func() (bool, error) { return p.Ready(ctx, "http://"+address+"/-/ready") })
}

// kubectl returns what a kubectl command prints.
func (w *world) kubectl(args ...string) (string, error) {
	out, err := w.plane.Kubectl(args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}

// create creates a WeChatToken with its AppSecret.
func (w *world) create(name, appID, mode string) error {
	cmd := w.plane.Kubectl("apply", "-n", apps, "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: %[1]s-app}
stringData: {appsecret: %[4]s}
---
apiVersion: wechattoken.io/v1alpha1
kind: WeChatToken
metadata: {name: %[1]s}
spec: {appID: %[2]s, mode: %[3]s, appSecretRef: {name: %[1]s-app}}
`, name, appID, mode, strings.Repeat("0123456789abcdef", 2)))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// answers reports whether a query has an answer, which is true in PromQL.
func (w *world) answers(ctx context.Context, query string) (bool, error) {
	got, _, _, err := w.api.Query(ctx, query, time.Now())
	if err != nil {
		return false, err
	}
	v, ok := got.(model.Vector)
	return ok && len(v) > 0, nil
}

// patience is how long what must happen in the end may take, on a machine that
// is shared.
const patience = 2 * time.Minute

// until waits until something holds.
func (w *world) until(ctx context.Context, what string, holds func() (bool, error)) error {
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		ok, err := holds()
		switch {
		case ok:
			return nil
		case errors.Is(err, testcluster.ErrEnded):
			return fmt.Errorf("until %s: %w", what, err)
		}
		last = err
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: not within %s: %w", what, patience, last)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
