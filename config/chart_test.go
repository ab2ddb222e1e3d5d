package config_test

import (
	stdcmp "cmp"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
)

// What Helm adds to each object. The rest is that of the kustomizations.
var helmLabels = map[string]string{
	"app.kubernetes.io/name":       name,
	"app.kubernetes.io/instance":   name,
	"app.kubernetes.io/managed-by": "Helm",
	"app.kubernetes.io/version":    "dev",
	"app.kubernetes.io/component":  "controller",
	"app.kubernetes.io/part-of":    name,
	"helm.sh/chart":                name + "-0.0.0",
}

// serverLabels are those of them that say which program it is.
var serverLabels = map[string]string{"app.kubernetes.io/name": server, "app.kubernetes.io/component": "token-server"}

// The chart and the kustomizations are two ways to the same objects. What is wanted
// otherwise: the labels, which the chart puts on everything (those of the token server have
// its own name); the annotation that
// keeps the kind; and a release has its namespace from `helm install
// --create-namespace`. And kustomize puts empty lines into folded text.
func TestChartIsTheKustomizations(t *testing.T) {
	t.Parallel()
	for dir, pairs := range map[string][]string{
		"default":      nil,
		"consumers":    {"consumers", `{"watch": true, "touch": true, "restart": true, "evict": true}`},
		"token-server": {"tokenServer.enabled", "true"},
	} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			want, got := map[string]any{}, map[string]any{}
			id := func(o unstructured.Unstructured) string {
				return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
			}
			unlabelled := func(o unstructured.Unstructured) map[string]any {
				labels := o.GetLabels()
				maps.DeleteFunc(labels, func(key, _ string) bool { return helmLabels[key] != "" })
				if len(labels) == 0 {
					labels = nil // {} says the same
				}
				o.SetLabels(labels)
				if o.GetKind() == "Deployment" { // their selector is compared
					unstructured.RemoveNestedField(o.Object, "spec", "template", "metadata", "labels")
				}
				return o.Object
			}
			from := objects(t, dir)
			switch dir {
			case "consumers":
				from = withEvict(t)
			case "token-server":
				from = append(from, objects(t, "default")...)
			}
			for _, o := range from {
				if o.GetKind() != "Namespace" {
					want[id(o)] = unlabelled(o)
				}
			}
			for _, o := range rendered(t, pairs...) {
				for key, value := range helmLabels {
					if strings.HasPrefix(o.GetName(), server) {
						value = stdcmp.Or(serverLabels[key], value)
					}
					if got := o.GetLabels()[key]; got != value {
						t.Errorf("%s has the label %s=%s, want %s", id(o), key, got, value)
					}
					if o.GetKind() != "Deployment" {
						continue
					}
					if got, _, _ := unstructured.NestedString(o.Object, "spec", "template", "metadata", "labels", key); got != value {
						t.Errorf("the pods of %s have the label %s=%s, want %s", id(o), key, got, value)
					}
				}
				if o.GetKind() == "CustomResourceDefinition" {
					unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "helm.sh/resource-policy")
					unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "argocd.argoproj.io/sync-options")
				}
				got[id(o)] = unlabelled(o)
			}
			tight := func(s string) string { return strings.ReplaceAll(s, "\n\n", "\n") }
			sameText := cmp.Comparer(func(a, b string) bool { return tight(a) == tight(b) })
			if diff := cmp.Diff(want, got, sameText); diff != "" {
				t.Errorf("(-config/%s +chart):\n%s", dir, diff)
			}
		})
	}
}

// Each mistake is told with what is wrong and where.
func TestChartRefusesBadValues(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		values []string // pairs of a path and JSON
		want   string
	}{
		"Unknown":             {[]string{"replicas", "3"}, "additional properties 'replicas' not allowed"},
		"UnknownWithin":       {[]string{"image.name", `"a"`}, "at '/image': additional properties 'name' not allowed"},
		"NotANumber":          {[]string{"replicaCount", `"2"`}, "at '/replicaCount': got string, want integer"},
		"NotABoolean":         {[]string{"crds.enabled", `"no"`}, "at '/crds/enabled': got string, want boolean"},
		"NotAList":            {[]string{"namespaces", `"web"`}, "at '/namespaces': got string, want array"},
		"NoNamespace":         {[]string{"namespaces", `["web,shop"]`}, "at '/namespaces/0': 'web,shop' does not match pattern"},
		"NamespaceTwice":      {[]string{"namespaces", `["web", "web"]`}, "at '/namespaces': items at 0 and 1 are equal"},
		"NoWorkers":           {[]string{"workers", "0"}, "at '/workers': minimum: got 0, want 1"},
		"NoLevel":             {[]string{"logLevel", `"TRACE"`}, "at '/logLevel': value must be one of '', 'DEBUG', 'INFO', 'WARN', 'ERROR'"},
		"NoDigest":            {[]string{"image.digest", `"v1"`}, "at '/image/digest': 'v1' does not match pattern"},
		"NoMemory":            {[]string{"resources.limits.memory", `"256MB"`}, "at '/resources/limits/memory': '256MB' does not match pattern"},
		"NoURL":               {[]string{"proxy.url", `"proxy.example.com:3128"`}, "at '/proxy/url': 'proxy.example.com:3128' does not match pattern"},
		"NoWeChat":            {[]string{"wechat.url", `"https://a@example.com"`}, "at '/wechat/url': 'https://a@example.com' does not match pattern"},
		"NoSecretsName":       {[]string{"imagePullSecrets", `["registry"]`}, "at '/imagePullSecrets/0': got string, want object"},
		"NoVariable":          {[]string{"extraEnv", `[{"value": "a"}]`}, "at '/extraEnv/0': missing property 'name'"},
		"NoBudget":            {[]string{"podDisruptionBudget.maxUnavailable", `"half"`}, "at '/podDisruptionBudget/maxUnavailable': 'half' does not match pattern"},
		"NoName":              {[]string{"fullnameOverride", `"` + strings.Repeat("a", 56) + `"`}, "at '/fullnameOverride': maxLength: got 56, want 55"},
		"NoReader":            {[]string{"metrics.readers", `["prometheus"]`}, "at '/metrics/readers/0': 'prometheus' does not match pattern"},
		"NoFlag":              {[]string{"extraArgs", `["-v"]`}, "at '/extraArgs/0': '-v' does not match pattern"},
		"TagAndDigest":        {[]string{"image", `{"tag": "v1", "digest": "sha256:` + strings.Repeat("0", 64) + `"}`}, "Set image.tag or image.digest, not both"},
		"ServersTagAndDigest": {[]string{"tokenServer.image", `{"tag": "v1", "digest": "sha256:` + strings.Repeat("0", 64) + `"}`}, "Set tokenServer.image.tag or tokenServer.image.digest, not both"},
		"NoServiceType":       {[]string{"tokenServer.service.type", `"ExternalName"`}, "at '/tokenServer/service/type': value must be one of 'ClusterIP', 'LoadBalancer', 'NodePort'"},
		"DefaultAccount":      {[]string{"serviceAccount", `{"create": false, "name": "default"}`}, "set serviceAccount.name to a name of its own"},
		"TwoCAs":              {[]string{"extraCA", `{"configMap": "a", "secret": "b"}`}, "Set extraCA.configMap or extraCA.secret, not both"},
		"TouchAlone":          {[]string{"consumers.touch", "true"}, "consumers.touch, consumers.restart and consumers.evict need consumers.watch"},
		"RestartAlone":        {[]string{"consumers.restart", "true"}, "consumers.touch, consumers.restart and consumers.evict need consumers.watch"},
		"EvictAlone":          {[]string{"consumers.evict", "true"}, "consumers.touch, consumers.restart and consumers.evict need consumers.watch"},
		"TwoCallers":          {[]string{"leaderElection.enabled", "false"}, "set replicaCount to 1, or leaderElection.enabled to true"},
		"NoAccount":           {[]string{"serviceAccount.create", "false"}, "set serviceAccount.name to the one that is there"},
		"NothingToScrape":     {[]string{"metrics.enabled", "false", "serviceMonitor.enabled", "true"}, "need metrics.enabled"},
		"NoPodToScrape":       {[]string{"metrics.enabled", "false", "podMonitor.enabled", "true"}, "need metrics.enabled"},
		"ScrapedTwice":        {[]string{"serviceMonitor.enabled", "true", "podMonitor.enabled", "true", "metrics.tokenSecret.name", `"a"`}, "Enable serviceMonitor or podMonitor, not both"},
		"NothingToSend":       {[]string{"podMonitor.enabled", "true"}, "set metrics.tokenSecret.name, or enable serviceMonitor instead"},
		"NothingToAlert":      {[]string{"metrics.enabled", "false", "prometheusRule.enabled", "true"}, "need metrics.enabled"},
		"NothingToRead":       {[]string{"metrics.enabled", "false", "metrics.readers", `["a/b"]`}, "leave metrics.readers out"},
		"NoProxy":             {[]string{"proxy.noProxy", `["a"]`}, "set proxy.url, or leave proxy.noProxy out"},
		"TwoProxies":          {[]string{"proxy", `{"url": "http://a", "port": 3128, "existingSecret": {"name": "a"}}`}, "Set proxy.url or proxy.existingSecret.name, not both"},
		"ProxyWithLogin":      {[]string{"proxy.url", `"http://user:password@proxy.example.com"`}, "name it in proxy.existingSecret.name instead"},
		"ProxyBehindPolicy":   {[]string{"proxy.existingSecret.name", `"a"`}, "set proxy.port"},
		"PortOfNoSecret":      {[]string{"proxy", `{"url": "http://a", "port": 3128}`}, "put the port into proxy.url"},
		"PlainHTTP":           {[]string{"wechat.url", `"http://127.0.0.1:8090"`}, "or set wechat.allowPlainHTTP to true where its host is a loopback address"},
		"PlainHTTPElsewhere":  {[]string{"wechat", `{"url": "http://127.example.com", "allowPlainHTTP": true}`}, "let wechat.url begin with https://"},
		"NobodyToLetRead":     {[]string{"rbac.create", "false", "metrics.readers", `["a/b"]`}, "leave metrics.readers out"},
		"TwoAtOnce":           {[]string{"leaderElection.enabled", "false", "replicaCount", "1", "strategy.type", `"RollingUpdate"`}, "leave strategy out"},
		"LabelOfTheChart":     {[]string{"commonLabels", `{"app.kubernetes.io/name": "a"}`}, "commonLabels has app.kubernetes.io/name"},
		"LabelOfThePods":      {[]string{"podLabels", `{"app.kubernetes.io/name": "a"}`}, "podLabels has app.kubernetes.io/name"},
		"LabelOfTheServer":    {[]string{"tokenServer.podLabels", `{"helm.sh/chart": "a"}`}, "tokenServer.podLabels has helm.sh/chart"},
		"LabelOfARole":        {[]string{"commonLabels", `{"rbac.authorization.k8s.io/aggregate-to-view": "true"}`}, "leave it out"},
		"VariableWithAValue":  {[]string{"extraEnv", `[{"name": "https_proxy", "value": "a"}]`}, "extraEnv has https_proxy, which has a value of its own: set proxy.url."},
		"FlagWithAValue":      {[]string{"extraArgs", `["--workers=3"]`}, "extraArgs has --workers, which has a value of its own: set workers."},
		"FlagOfTheChart":      {[]string{"extraArgs", `["--health-probe-bind-address=:1"]`}, "which the chart leaves as it is"},
		"FlagOfTheTest":       {[]string{"extraArgs", `["--check"]`}, "which the chart leaves as it is"},
	}
	for what, tc := range cases {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, err := render(tc.values...)
			if err == nil {
				t.Fatal("the chart takes them")
			}
			if err := contains(err.Error(), tc.want); err != nil {
				t.Error(err)
			}
		})
	}
}

// A flag that the chart sets cannot be set a second time.
func TestChartHasOneWayToEachFlag(t *testing.T) {
	t.Parallel()
	off := rendered(t, "leaderElection.enabled", "false", "replicaCount", "1", "metrics.enabled", "false", "namespaces", `["a"]`)
	on := rendered(t, append(slices.Clone(all), "extraArgs", "[]")...)
	for _, o := range [][]unstructured.Unstructured{off, on} {
		args := container(deploymentOf(t, name, o)).Args
		if len(args) == 0 {
			t.Error("there are no flags, so this test shows nothing")
		}
		for _, arg := range args {
			_, err := render("extraArgs", `["`+arg+`"]`)
			if err == nil {
				t.Errorf("the chart takes %s among extraArgs, too", arg)
			} else if err := contains(err.Error(), "has a value of its own"); err != nil {
				t.Errorf("%s: %v", arg, err)
			}
		}
	}
}

// helm test runs what the Deployment runs, where it may run, and reaches what it reaches.
// What looks for pods of the operator does not find the test's: an alert would be about it.
func TestChartChecksWhatTheDeploymentRuns(t *testing.T) {
	t.Parallel()
	const node = `"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}]}`
	const apart = `"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}, "topologyKey": "kubernetes.io/hostname"}]}`
	for what, pairs := range map[string][]string{
		"Default": {"networkPolicy.enabled", "false"},
		"All":     append(slices.Clone(all), "affinity", "{"+node+","+apart+"}"),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			release := rendered(t, pairs...)
			tests := slices.DeleteFunc(renderedWithTests(t, pairs...), func(o unstructured.Unstructured) bool { return !isTest(o) })
			pod := only(t, ofKind[corev1.Pod](t, "Pod", tests))
			if diff := cmp.Diff(map[string]string{"helm.sh/hook": "test", "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded"}, pod.Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
			want := deploymentOf(t, name, release).Spec.Template.Spec
			manager := &want.Containers[0]
			manager.Args = append(manager.Args, "--check")
			manager.Ports, manager.LivenessProbe, manager.ReadinessProbe = nil, nil, nil
			want.RestartPolicy, want.TopologySpreadConstraints = corev1.RestartPolicyNever, nil
			if want.Affinity == nil {
				want.Affinity = &corev1.Affinity{}
			}
			want.Affinity.PodAntiAffinity = nil
			if diff := cmp.Diff(want, pod.Spec); diff != "" {
				t.Errorf("(-pods of the Deployment +test):\n%s", diff)
			}
			for _, o := range release {
				for _, field := range []string{"selector", "podSelector"} {
					selector, _, _ := unstructured.NestedMap(o.Object, "spec", field)
					if within, ok := selector["matchLabels"].(map[string]any); ok {
						selector = within
					}
					if len(selector) > 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(selector)), func(key string) bool { return pod.Labels[key] != selector[key] }) {
						t.Errorf("%s %s takes the test for a pod of the operator", o.GetKind(), o.GetName())
					}
				}
			}
			operators := slices.DeleteFunc(ofKind[networkingv1.NetworkPolicy](t, "NetworkPolicy", release), func(p networkingv1.NetworkPolicy) bool { return p.Name != name })
			policies := ofKind[networkingv1.NetworkPolicy](t, "NetworkPolicy", tests)
			if len(policies) != len(operators) {
				t.Fatalf("got %d NetworkPolicies, want %d", len(policies), len(operators))
			}
			for i, policy := range policies {
				if weight := policy.Annotations["helm.sh/hook-weight"]; weight != "-1" {
					t.Errorf("the NetworkPolicy has the weight %q, want it before the pod", weight)
				}
				if diff := cmp.Diff(networkingv1.NetworkPolicySpec{
					PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": pod.Labels["app.kubernetes.io/name"]}},
					PolicyTypes: operators[i].Spec.PolicyTypes, Egress: operators[i].Spec.Egress,
				}, policy.Spec); diff != "" {
					t.Errorf("NetworkPolicy (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// What a catalogue shows of the chart is what the chart has.
func TestTheCatalogueKnowsTheChart(t *testing.T) {
	t.Parallel()
	read := func(file string, into any) {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	var chart struct{ Annotations map[string]string }
	read("chart/Chart.yaml", &chart)
	var crd apiextensionsv1.CustomResourceDefinition
	read("chart/files/crd.yaml", &crd)
	type entry struct{ Kind, Version, Name, DisplayName, Description string }
	var crds []entry
	if err := yaml.UnmarshalStrict([]byte(chart.Annotations["artifacthub.io/crds"]), &crds); err != nil {
		t.Fatal(err)
	}
	want := entry{Kind: crd.Spec.Names.Kind, Version: crd.Spec.Versions[0].Name, Name: crd.Name, DisplayName: crd.Spec.Names.Kind}
	if got := only(t, crds); got.Description == "" {
		t.Error("the CRD has no description")
	} else if got.Description = ""; got != want {
		t.Errorf("the CRD is %+v, want %+v", got, want)
	}
	var examples []v1alpha1.WeChatToken
	if err := yaml.UnmarshalStrict([]byte(chart.Annotations["artifacthub.io/crdsExamples"]), &examples); err != nil {
		t.Error(err)
	}
	if example := only(t, examples); example.Kind != want.Kind || example.APIVersion != v1alpha1.GroupVersion.String() || example.Spec.AppID == "" {
		t.Errorf("the example is %+v", example)
	}
	var images []struct{ Name, Image string }
	if err := yaml.UnmarshalStrict([]byte(chart.Annotations["artifacthub.io/images"]), &images); err != nil {
		t.Fatal(err)
	}
	rendered := rendered(t, "tokenServer.enabled", "true")
	for i, program := range []string{name, server} {
		if got := container(deploymentOf(t, program, rendered)).Image; len(images) != 2 || images[i].Name != program || images[i].Image != got {
			t.Errorf("of the images %+v number %d is not %s", images, i, got)
		}
	}
}

// A value that does nothing, or that nobody can read about, is a mistake.
func TestEachValueOfTheChartWorksAndIsDocumented(t *testing.T) {
	t.Parallel()
	// With what a value changes the objects: other values that it needs, and itself.
	changes := map[string][]string{
		"nameOverride":                       {"nameOverride", `"tokens"`},
		"fullnameOverride":                   {"fullnameOverride", `"tokens"`},
		"commonLabels":                       {"commonLabels", `{"a": "b"}`},
		"replicaCount":                       {"replicaCount", "3"},
		"image.repository":                   {"image.repository", `"registry.example.com/operator"`},
		"image.tag":                          {"image.tag", `"v1"`},
		"image.digest":                       {"image.digest", `"sha256:` + strings.Repeat("0", 64) + `"`},
		"image.pullPolicy":                   {"image.pullPolicy", `"Always"`},
		"imagePullSecrets":                   {"imagePullSecrets", `[{"name": "a"}]`},
		"crds.enabled":                       {"crds.enabled", "false"},
		"crds.keep":                          {"crds.keep", "false"},
		"namespaces":                         {"namespaces", `["a"]`},
		"selector":                           {"selector", `"a=b"`},
		"consumers.watch":                    {"consumers.watch", "true"},
		"consumers.touch":                    {"consumers.watch", "true", "consumers.touch", "true"},
		"consumers.restart":                  {"consumers.watch", "true", "consumers.restart", "true"},
		"consumers.evict":                    {"consumers.watch", "true", "consumers.evict", "true"},
		"consumers.evictKinds":               {"consumers.watch", "true", "consumers.evict", "true", "consumers.evictKinds", "[]"},
		"workers":                            {"workers", "1"},
		"logLevel":                           {"logLevel", `"DEBUG"`},
		"logFormat":                          {"logFormat", `"text"`},
		"extraArgs":                          {"extraArgs", `["--request-timeout=5s"]`},
		"extraEnv":                           {"extraEnv", `[{"name": "GODEBUG", "value": "netdns=go"}]`},
		"extraVolumes":                       {"extraVolumes", `[{"name": "a", "emptyDir": {}}]`},
		"extraVolumeMounts":                  {"extraVolumeMounts", `[{"name": "a", "mountPath": "/a"}]`},
		"wechat.url":                         {"wechat.url", `"https://sh.api.weixin.qq.com"`},
		"wechat.allowPlainHTTP":              {"wechat.allowPlainHTTP", "true"},
		"leaderElection.enabled":             {"replicaCount", "1", "leaderElection.enabled", "false"},
		"proxy.url":                          {"proxy.url", `"http://proxy.example.com"`},
		"proxy.existingSecret.name":          {"networkPolicy.enabled", "false", "proxy.existingSecret.name", `"a"`},
		"proxy.existingSecret.key":           {"proxy", `{"port": 3128, "existingSecret": {"name": "a"}}`, "proxy.existingSecret.key", `"a"`},
		"proxy.port":                         {"proxy", `{"port": 3128, "existingSecret": {"name": "a"}}`, "proxy.port", "3129"},
		"proxy.noProxy":                      {"proxy.url", `"http://proxy.example.com"`, "proxy.noProxy", `["a"]`},
		"extraCA.configMap":                  {"extraCA.configMap", `"a"`},
		"extraCA.secret":                     {"extraCA.secret", `"a"`},
		"extraCA.key":                        {"extraCA.secret", `"a"`, "extraCA.key", `"a"`},
		"metrics.enabled":                    {"metrics.enabled", "false"},
		"metrics.readers":                    {"metrics.readers", `["a/b"]`},
		"serviceMonitor.enabled":             {"serviceMonitor.enabled", "true"},
		"serviceMonitor.interval":            {"serviceMonitor.enabled", "true", "serviceMonitor.interval", `"1m"`},
		"serviceMonitor.labels":              {"serviceMonitor.enabled", "true", "serviceMonitor.labels", `{"a": "b"}`},
		"metrics.tokenSecret.name":           {"serviceMonitor.enabled", "true", "metrics.tokenSecret.name", `"a"`},
		"metrics.tokenSecret.key":            {"serviceMonitor.enabled", "true", "metrics.tokenSecret.name", `"a"`, "metrics.tokenSecret.key", `"b"`},
		"podMonitor.enabled":                 {"metrics.tokenSecret.name", `"a"`, "podMonitor.enabled", "true"},
		"podMonitor.interval":                {"metrics.tokenSecret.name", `"a"`, "podMonitor.enabled", "true", "podMonitor.interval", `"1m"`},
		"podMonitor.labels":                  {"metrics.tokenSecret.name", `"a"`, "podMonitor.enabled", "true", "podMonitor.labels", `{"a": "b"}`},
		"prometheusRule.enabled":             {"prometheusRule.enabled", "true"},
		"prometheusRule.runbookBaseURL":      {"prometheusRule.enabled", "true", "prometheusRule.runbookBaseURL", `"https://git.example.com"`},
		"prometheusRule.labels":              {"prometheusRule.enabled", "true", "prometheusRule.labels", `{"a": "b"}`},
		"grafanaDashboard.enabled":           {"grafanaDashboard.enabled", "true"},
		"grafanaDashboard.labels":            {"grafanaDashboard.enabled", "true", "grafanaDashboard.labels", `{"a": "b"}`},
		"networkPolicy.enabled":              {"networkPolicy.enabled", "false"},
		"networkPolicy.apiServerPort":        {"networkPolicy.apiServerPort", "16443"},
		"networkPolicy.metricsFrom":          {"networkPolicy.metricsFrom", `[{"namespaceSelector": {}}]`},
		"networkPolicy.extraEgress":          {"networkPolicy.extraEgress", `[{"ports": [{"port": 80}]}]`},
		"rbac.create":                        {"rbac.create", "false"},
		"policy.enabled":                     {"policy.enabled", "false"},
		"tokenServer.enabled":                {"tokenServer.enabled", "true"},
		"tokenServer.replicaCount":           {"tokenServer.enabled", "true", "tokenServer.replicaCount", "3"},
		"tokenServer.image.repository":       {"tokenServer.enabled", "true", "tokenServer.image.repository", `"registry.example.com/server"`},
		"tokenServer.image.tag":              {"tokenServer.enabled", "true", "tokenServer.image.tag", `"v1"`},
		"tokenServer.image.digest":           {"tokenServer.enabled", "true", "tokenServer.image.digest", `"sha256:` + strings.Repeat("0", 64) + `"`},
		"tokenServer.image.pullPolicy":       {"tokenServer.enabled", "true", "tokenServer.image.pullPolicy", `"Always"`},
		"tokenServer.tls.secretName":         {"tokenServer.enabled", "true", "tokenServer.tls.secretName", `""`},
		"tokenServer.service.type":           {"tokenServer.enabled", "true", "tokenServer.service.type", `"LoadBalancer"`},
		"tokenServer.service.port":           {"tokenServer.enabled", "true", "tokenServer.service.port", "8443"},
		"tokenServer.service.annotations":    {"tokenServer.enabled", "true", "tokenServer.service.annotations", `{"a": "b"}`},
		"tokenServer.clientsFrom":            {"tokenServer.enabled", "true", "tokenServer.clientsFrom", `[{"namespaceSelector": {}}]`},
		"tokenServer.podAnnotations":         {"tokenServer.enabled", "true", "tokenServer.podAnnotations", `{"a": "b"}`},
		"tokenServer.podLabels":              {"tokenServer.enabled", "true", "tokenServer.podLabels", `{"a": "b"}`},
		"tokenServer.resources":              {"tokenServer.enabled", "true", "tokenServer.resources", `{"limits": {"memory": "1Gi"}}`},
		"userRoles.enabled":                  {"userRoles.enabled", "false"},
		"serviceAccount.create":              {"serviceAccount.name", `"a"`, "serviceAccount.create", "false"},
		"serviceAccount.name":                {"serviceAccount.name", `"a"`},
		"serviceAccount.annotations":         {"serviceAccount.annotations", `{"a": "b"}`},
		"resources":                          {"resources", `{"limits": {"memory": "1Gi"}}`},
		"deploymentAnnotations":              {"deploymentAnnotations", `{"a": "b"}`},
		"podAnnotations":                     {"podAnnotations", `{"a": "b"}`},
		"podLabels":                          {"podLabels", `{"a": "b"}`},
		"strategy":                           {"strategy", `{"rollingUpdate": {"maxSurge": 1}}`},
		"revisionHistoryLimit":               {"revisionHistoryLimit", "0"},
		"podDisruptionBudget.enabled":        {"podDisruptionBudget.enabled", "false"},
		"podDisruptionBudget.maxUnavailable": {"podDisruptionBudget.maxUnavailable", `"50%"`},
		"podSecurityContext":                 {"podSecurityContext", `{"runAsUser": null}`},
		"securityContext":                    {"securityContext", `{"seLinuxOptions": {"level": "s0"}}`},
		"hostAliases":                        {"hostAliases", `[{"ip": "192.0.2.1", "hostnames": ["api.weixin.qq.com"]}]`},
		"dnsPolicy":                          {"dnsPolicy", `"Default"`},
		"dnsConfig":                          {"dnsConfig", `{"options": [{"name": "ndots", "value": "1"}]}`},
		"topologySpreadConstraints":          {"topologySpreadConstraints", "[]"},
		"priorityClassName":                  {"priorityClassName", `"a"`},
		"nodeSelector":                       {"nodeSelector", `{"a": "b"}`},
		"tolerations":                        {"tolerations", `[{"operator": "Exists"}]`},
		"affinity":                           {"affinity", `{"podAffinity": {}}`},
	}
	paths := slices.Sorted(maps.Keys(changes))
	if diff := cmp.Diff(paths, schemaPaths(t)); diff != "" {
		t.Errorf("values.schema.json (-this test +schema):\n%s", diff)
	}
	var defaults map[string]any
	text, err := os.ReadFile("chart/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &defaults); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(paths, valuePaths(defaults, paths, "")); diff != "" {
		t.Errorf("values.yaml (-this test +values):\n%s", diff)
	}
	for _, page := range []string{"../docs/helm.md", "../docs/zh/helm.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var documented []string
		for _, row := range regexp.MustCompile("(?m)^\\| `([a-zA-Z.]+)` \\|").FindAllStringSubmatch(string(text), -1) {
			documented = append(documented, row[1])
		}
		slices.Sort(documented)
		if diff := cmp.Diff(paths, documented); diff != "" {
			t.Errorf("%s (-this test +page):\n%s", page, diff)
		}
	}
	for path, pairs := range changes {
		without, err := render(pairs[:len(pairs)-2]...)
		if err != nil {
			t.Fatal(err)
		}
		if with, err := render(pairs...); err != nil || with == without {
			t.Errorf("%s=%s changes nothing: %v", path, pairs[len(pairs)-1], err)
		}
	}
}

// schemaPaths are the values that the schema knows. Where it takes any key, as in
// labels, that is one value.
func schemaPaths(t *testing.T) []string {
	t.Helper()
	type node struct {
		AdditionalProperties any             `json:"additionalProperties"`
		Properties           map[string]node `json:"properties"`
	}
	text, err := os.ReadFile("chart/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root node
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	var paths []string
	var walk func(n node, path string)
	walk = func(n node, path string) {
		if n.AdditionalProperties != false {
			paths = append(paths, path)
			return
		}
		for key, child := range n.Properties {
			walk(child, strings.TrimPrefix(path+"."+key, "."))
		}
	}
	walk(root, "")
	slices.Sort(paths)
	return slices.DeleteFunc(paths, func(path string) bool { return path == "global" }) // Helm's own
}

// valuePaths are the values of a values.yaml, down to those of stop.
func valuePaths(tree map[string]any, stop []string, under string) []string {
	var paths []string
	for key, value := range tree {
		path := strings.TrimPrefix(under+"."+key, ".")
		if branch, ok := value.(map[string]any); ok && !slices.Contains(stop, path) {
			paths = append(paths, valuePaths(branch, stop, path)...)
			continue
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// Who reads values.yaml alone finds out what each does.
func TestEachValueOfTheChartHasAComment(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("chart/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`^( *)[a-zA-Z]+:`)
	lines, free := strings.Split(string(text), "\n"), ""
	for i, line := range lines {
		found := key.FindStringSubmatch(line)
		if found == nil || free != "" && strings.HasPrefix(found[1], free) {
			continue
		}
		free = ""
		commented := strings.HasPrefix(strings.TrimSpace(lines[i-1]), "#")
		if slices.Contains([]string{"resources:", "podSecurityContext:", "securityContext:"}, strings.TrimSpace(line)) {
			free = found[1] + "  " // Kubernetes' own
		}
		branch := strings.HasSuffix(line, ":") && key.MatchString(lines[i+1]) || strings.HasSuffix(line, ":") && strings.HasPrefix(strings.TrimSpace(lines[i+1]), "#")
		if !commented && !branch {
			t.Errorf("line %d has no comment above it: %s", i+1, line)
		}
	}
}

// A Service's name has at most 63 characters, no program's is that of the other, and the
// policies know the programs by what their accounts are called.
func TestProgramsAreNamedAfterTheirRelease(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		release          string
		values           []string
		operator, server string
	}{
		"Own":          {name, nil, name, server},
		"Shard":        {"shard-a", nil, "shard-a-" + name, "shard-a-" + server},
		"Within":       {"a-" + name + "-b", nil, "a-" + name + "-b", "a-" + server + "-b"},
		"Long":         {strings.Repeat("a", 53), nil, strings.Repeat("a", 53) + "-w", strings.Repeat("a", 35) + "-" + server},
		"Name":         {"shard-a", []string{"nameOverride", `"tokens"`}, "shard-a-tokens", "shard-a-" + server},
		"NameWithin":   {"tokens-a", []string{"nameOverride", `"tokens"`}, "tokens-a", "tokens-a-" + server},
		"FullName":     {"shard-a", []string{"fullnameOverride", `"tokens"`}, "tokens", "tokens-" + server},
		"OwnFullName":  {"shard-a", []string{"fullnameOverride", `"` + name + `"`}, name, server},
		"LongFullName": {"a", []string{"fullnameOverride", `"` + strings.Repeat("b", 55) + `"`}, strings.Repeat("b", 55), strings.Repeat("b", 35) + "-" + server},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			text, err := renderAs(tc.release, append(tc.values, "tokenServer.enabled", "true")...)
			if err != nil {
				t.Fatal(err)
			}
			objects := decode(t, strings.NewReader(text))
			got := map[string]string{}
			for _, d := range ofKind[appsv1.Deployment](t, "Deployment", objects) {
				got[container(d).Name] = d.Name
				if diff := cmp.Diff(map[string]string{"manager": name, "token-server": server}[container(d).Name], d.Spec.Selector.MatchLabels["app.kubernetes.io/name"]); diff != "" {
					t.Errorf("%s selects other pods (-want +got):\n%s", d.Name, diff)
				}
				if err := contains(text, ":"+d.Spec.Template.Spec.ServiceAccountName+"$"); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(map[string]string{"manager": tc.operator, "token-server": tc.server}, got); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			for _, s := range ofKind[corev1.Service](t, "Service", objects) {
				if len(s.Name) > 63 {
					t.Errorf("the name %s is too long", s.Name)
				}
			}
		})
	}
}

// A label that your bills go by is on all that costs; what a selector goes by nobody changes.
func TestChartLabelsEverything(t *testing.T) {
	t.Parallel()
	selectors := func(all []unstructured.Unstructured) (some []any) {
		for _, o := range all {
			selector, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "selector")
			some = append(some, selector)
		}
		return some
	}
	if diff := cmp.Diff(selectors(rendered(t, append(slices.Clone(all), "commonLabels", "null", "podLabels", "null")...)), selectors(rendered(t, all...))); diff != "" {
		t.Errorf("selectors (-without labels +with labels):\n%s", diff)
	}
	for _, o := range rendered(t, all...) {
		pods, _, _ := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
		if o.GetLabels()["team"] != "payments" || o.GetKind() == "Deployment" && (pods["team"] != "payments" || pods["a"] != "b") {
			t.Errorf("%s %s has the labels %v, and its pods %v", o.GetKind(), o.GetName(), o.GetLabels(), pods)
		}
	}
}

// An administrator who gives the permissions wants to find none in the release.
func TestChartWithoutRBACGivesNoPermissions(t *testing.T) {
	t.Parallel()
	pairs := append(slices.Clone(all), "rbac.create", "false", "metrics.readers", "[]", "userRoles.enabled", "false", "policy.enabled", "false")
	for _, o := range rendered(t, pairs...) {
		if strings.Contains(o.GetKind(), "Role") {
			t.Errorf("there is the %s %s", o.GetKind(), o.GetName())
		}
	}
}

// In this mode the cluster's other namespaces are none of the operator's business.
func TestChartOfSomeNamespacesReadsNoOtherSecrets(t *testing.T) {
	t.Parallel()
	objects := rendered(t, append(slices.Clone(all), "namespaces", `["web", "shop"]`)...)
	for _, role := range ofKind[rbacv1.ClusterRole](t, "ClusterRole", objects) {
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				if !slices.Contains([]string{"wechattokens", "wechattokens/token", "wechattokens/invalid", "tokenreviews", "subjectaccessreviews"}, resource) {
					t.Errorf("the ClusterRole %s has permissions to %s", role.Name, resource)
				}
			}
		}
	}
	bound := map[string][]string{}
	for _, b := range ofKind[rbacv1.RoleBinding](t, "RoleBinding", objects) {
		if b.RoleRef.Kind != "Role" {
			t.Errorf("%s/%s binds a %s", b.Namespace, b.Name, b.RoleRef.Kind)
		}
		bound[b.Namespace] = append(bound[b.Namespace], b.RoleRef.Name)
	}
	ours := []string{name, name + "-evict", name + "-restart", name + "-touch", name + "-watch", server}
	want := map[string][]string{"web": ours, "shop": ours, name: {name + "-leader-election"}}
	for _, roles := range bound {
		slices.Sort(roles)
	}
	if diff := cmp.Diff(want, bound); diff != "" {
		t.Errorf("roles by namespace (-want +got):\n%s", diff)
	}
	for _, program := range []string{name, server} {
		if arg := "--namespaces=web,shop"; !slices.Contains(container(deploymentOf(t, program, objects)).Args, arg) {
			t.Errorf("%s does not get %s", program, arg)
		}
	}
}

func TestChartDerivesGoMemLimit(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string]string{
		`"256Mi"`: "230MiB", `"1Gi"`: "921MiB", `"1.5Gi"`: "1382MiB", `"512M"`: "439MiB", `"1G"`: "858MiB",
		`"268435456"`: "230MiB", `"300000Ki"`: "263MiB", `"300000k"`: "257MiB", "null": "",
	} {
		c := container(only(t, ofKind[appsv1.Deployment](t, "Deployment", rendered(t, "resources.limits.memory", limit))))
		var got string
		for _, e := range c.Env {
			if e.Name == "GOMEMLIMIT" {
				got = e.Value
			}
		}
		if got != want {
			t.Errorf("with %s GOMEMLIMIT is %q, want %q", limit, got, want)
		}
	}
}

// A proxy would not reach the API server, and a policy must let the proxy be reached.
func TestChartReachesTheProxyAndTheAPIServer(t *testing.T) {
	t.Parallel()
	for url, want := range map[string][]int{
		"":                              {443, 6443},
		"http://proxy.example.com:3128": {443, 6443, 3128},
		"http://proxy.example.com":      {443, 6443, 80},
		"https://proxy.example.com/":    {443, 6443},
		"socks5://proxy.example.com":    {443, 6443, 1080},
	} {
		objects := rendered(t, "proxy.url", `"`+url+`"`)
		var got []int
		for _, port := range only(t, ofKind[networkingv1.NetworkPolicy](t, "NetworkPolicy", objects)).Spec.Egress[1].Ports {
			got = append(got, port.Port.IntValue())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ports with the proxy %q (-want +got):\n%s", url, diff)
		}
		env := map[string]string{}
		for _, e := range container(only(t, ofKind[appsv1.Deployment](t, "Deployment", objects))).Env {
			env[e.Name] = e.Value
		}
		if proxy, ok := env["HTTPS_PROXY"]; proxy != url || ok != (url != "") {
			t.Errorf("HTTPS_PROXY is %q, want %q", proxy, url)
		}
		if direct := env["NO_PROXY"]; url != "" && direct != "$(KUBERNETES_SERVICE_HOST)" {
			t.Errorf("NO_PROXY is %q, so the API server is not in it", direct)
		}
	}
}

// The login for a proxy is in its Secret, and nowhere in the release.
func TestChartTakesTheProxysLoginFromASecret(t *testing.T) {
	t.Parallel()
	objects := rendered(t, "proxy", `{"existingSecret": {"name": "proxy"}, "port": 3128}`, "wechat.url", `"https://gateway.example.com:8443"`)
	env := container(only(t, ofKind[appsv1.Deployment](t, "Deployment", objects))).Env
	want := []corev1.EnvVar{
		{Name: "GOMEMLIMIT", Value: "230MiB"},
		{Name: "HTTPS_PROXY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "proxy"}, Key: "HTTPS_PROXY"}}},
		{Name: "NO_PROXY", Value: "$(KUBERNETES_SERVICE_HOST)"},
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	var ports []int
	for _, port := range only(t, ofKind[networkingv1.NetworkPolicy](t, "NetworkPolicy", objects)).Spec.Egress[1].Ports {
		ports = append(ports, port.Port.IntValue())
	}
	if diff := cmp.Diff([]int{443, 6443, 8443, 3128}, ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

// An alert leads to its runbook, where one says in which place these are.
func TestChartLinksRunbooks(t *testing.T) {
	t.Parallel()
	alerts := 0
	for base, want := range map[string]string{"": "", "https://git.example.com/main/": "https://git.example.com/main/docs/runbooks/"} {
		rule := only(t, slices.DeleteFunc(rendered(t, "prometheusRule", `{"enabled": true, "runbookBaseURL": "`+base+`"}`),
			func(o unstructured.Unstructured) bool { return o.GetKind() != "PrometheusRule" }))
		groups, _, err := unstructured.NestedSlice(rule.Object, "spec", "groups")
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			for _, r := range g.(map[string]any)["rules"].([]any) {
				alert, _, _ := unstructured.NestedString(r.(map[string]any), "alert")
				url, _, _ := unstructured.NestedString(r.(map[string]any), "annotations", "runbook_url")
				if alert == "" {
					continue
				}
				alerts++
				if want != "" && url != want+alert+".md" || want == "" && url != "" {
					t.Errorf("with %q the runbook_url of %s is %q", base, alert, url)
				}
			}
		}
	}
	if alerts == 0 {
		t.Error("there are no alerts")
	}
}

// config/prometheus is a third kustomization whose objects the chart makes.
func TestChartMonitorsAsTheKustomization(t *testing.T) {
	t.Parallel()
	got := map[string]any{}
	for _, o := range rendered(t, "serviceMonitor.enabled", "true", "prometheusRule.enabled", "true", "grafanaDashboard.enabled", "true") {
		got[o.GetKind()] = o.Object["spec"]
		if o.GetKind() == "ConfigMap" {
			data, _, err := unstructured.NestedString(o.Object, "data", name+".json")
			if err != nil {
				t.Fatal(err)
			}
			got[o.GetKind()] = strings.TrimSpace(data)
		}
	}
	for _, o := range objects(t, "prometheus") {
		want := o.Object["spec"]
		if o.GetKind() == "ConfigMap" {
			data, _, err := unstructured.NestedString(o.Object, "data", name+".json")
			if err != nil {
				t.Fatal(err)
			}
			want = strings.TrimSpace(data)
		}
		tight := cmp.Comparer(func(a, b string) bool {
			return strings.ReplaceAll(a, "\n\n", "\n") == strings.ReplaceAll(b, "\n\n", "\n")
		})
		if diff := cmp.Diff(want, got[o.GetKind()], tight); diff != "" {
			t.Errorf("%s (-config/prometheus +chart):\n%s", o.GetKind(), diff)
		}
	}
}
