package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// name is that of the operator, its namespace, its ServiceAccount and its lease.
const name = "wechat-token-operator"

// server is that of the token server, and its ServiceAccount.
const server = "wechat-token-server"

// objects are what kubectl applies of a kustomization. kubectl has the same library.
func objects(t *testing.T, dir string) []unstructured.Unstructured {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, bytes.NewReader(text))
}

// render is what `helm template` prints of a release that is called like the operator
// and has a namespace of that name, with values: pairs of a path and JSON.
func render(pairs ...string) (string, error) { return renderAs(name, pairs...) }

// renderAs is the same for a release of another name.
func renderAs(release string, pairs ...string) (string, error) {
	chart, err := loader.Load("chart")
	if err != nil {
		return "", err
	}
	set := map[string]any{}
	for pair := range slices.Chunk(pairs, 2) {
		if err := strvals.ParseJSON(pair[0]+"="+pair[1], set); err != nil {
			return "", err
		}
	}
	kubernetes, err := common.ParseKubeVersion("v1.33.0") // the least that takes everything
	if err != nil {
		return "", err
	}
	cluster := common.DefaultCapabilities.Copy()
	cluster.KubeVersion = *kubernetes
	values, err := util.ToRenderValues(chart, set, common.ReleaseOptions{Name: release, Namespace: name, Revision: 1, IsInstall: true}, cluster)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(file) == ".yaml" {
			text.WriteString("---\n" + files[file] + "\n")
		}
	}
	return text.String(), nil
}

// rendered are the objects of [render] that a release consists of.
func rendered(t *testing.T, pairs ...string) []unstructured.Unstructured {
	t.Helper()
	return slices.DeleteFunc(renderedWithTests(t, pairs...), isTest)
}

// renderedWithTests are these, and those of helm test.
func renderedWithTests(t *testing.T, pairs ...string) []unstructured.Unstructured {
	t.Helper()
	text, err := render(pairs...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, strings.NewReader(text))
}

// isTest reports whether only helm test makes an object.
func isTest(o unstructured.Unstructured) bool { return o.GetAnnotations()["helm.sh/hook"] == "test" }

// objectsIn are those of a file.
func objectsIn(t *testing.T, file string) []unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, bytes.NewReader(text))
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

// withEvict is config/consumers with all that may be added to it.
func withEvict(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	return append(objects(t, "consumers"), objectsIn(t, "consumers/evict/role.yaml")...)
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

// deploymentOf is the Deployment of a program; a release may put its name before it.
func deploymentOf(t *testing.T, program string, all []unstructured.Unstructured) appsv1.Deployment {
	t.Helper()
	return only(t, slices.DeleteFunc(ofKind[appsv1.Deployment](t, "Deployment", all), func(d appsv1.Deployment) bool { return !strings.HasSuffix(d.Name, program) }))
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

func contains(text string, parts ...string) error {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return fmt.Errorf("no %q in\n%s", part, text)
		}
	}
	return nil
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

// all are values with which the chart renders everything it can, but what is of the
// cluster's namespaces.
var all = []string{
	"commonLabels", `{"team": "payments"}`,
	"replicaCount", "3",
	"selector", `"wechattoken.io/shard=a"`,
	"consumers", `{"watch": true, "touch": true, "restart": true, "evict": true}`,
	"workers", "64",
	"logLevel", `"DEBUG"`,
	"logFormat", `"text"`,
	"extraArgs", `["--request-timeout=5s"]`,
	"image.pullPolicy", `"Always"`,
	"imagePullSecrets", `[{"name": "registry"}]`,
	"extraEnv", `[{"name": "GODEBUG", "value": "netdns=go"}]`,
	"extraVolumes", `[{"name": "more", "emptyDir": {}}]`,
	"extraVolumeMounts", `[{"name": "more", "mountPath": "/more"}]`,
	"wechat", `{"url": "http://127.0.0.1:8090", "allowPlainHTTP": true}`,
	"proxy", `{"existingSecret": {"name": "proxy"}, "port": 3128, "noProxy": [".example.com"]}`,
	"extraCA.configMap", `"authorities"`,
	"metrics.readers", `["monitoring/prometheus-k8s"]`,
	"serviceMonitor", `{"enabled": true, "labels": {"release": "prometheus"}}`,
	"prometheusRule", `{"enabled": true, "labels": {"release": "prometheus"}, "runbookBaseURL": "https://git.example.com/main/"}`,
	"grafanaDashboard.enabled", "true",
	"networkPolicy", `{"metricsFrom": [{"namespaceSelector": {}}], "extraEgress": [{"ports": [{"port": 8080}]}]}`,
	"tokenServer", `{"enabled": true, "replicaCount": 3, "image": {"pullPolicy": "Always"}, "service": {"type": "LoadBalancer", "annotations": {"example.com/internal": "true"}},
		"clientsFrom": [{"namespaceSelector": {}}], "podAnnotations": {"example.com/a": "b"}, "podLabels": {"a": "b"}}`,
	"deploymentAnnotations", `{"example.com/a": "b"}`,
	"podAnnotations", `{"example.com/a": "b"}`,
	"podLabels", `{"a": "b"}`,
	"strategy", `{"rollingUpdate": {"maxSurge": 1}}`,
	"revisionHistoryLimit", "2",
	"podDisruptionBudget.maxUnavailable", `"50%"`,
	"podSecurityContext", `{"supplementalGroups": [1000]}`,
	"securityContext", `{"seLinuxOptions": {"level": "s0"}}`,
	"hostAliases", `[{"ip": "192.0.2.1", "hostnames": ["registry.example.com"]}]`,
	"dnsPolicy", `"None"`,
	"dnsConfig", `{"nameservers": ["192.0.2.53"], "options": [{"name": "ndots", "value": "1"}]}`,
	"serviceAccount.annotations", `{"example.com/role": "operator"}`,
	"priorityClassName", `"system-cluster-critical"`,
	"nodeSelector", `{"kubernetes.io/os": "linux"}`,
	"tolerations", `[{"operator": "Exists"}]`,
	"topologySpreadConstraints", `[{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}]`,
	"affinity", `{"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}`,
}
