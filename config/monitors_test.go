package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// A field that the Prometheus Operator does not know is dropped in silence, and
// what it does not take is told in its log alone.
func TestThePrometheusOperatorTakesTheMonitors(t *testing.T) {
	t.Parallel()
	const own = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	secret := []string{"metrics.tokenSecret.name", `"scraper"`}
	cases := map[string]struct {
		reason  string
		objects []unstructured.Unstructured
		file    string
	}{
		"Kustomization":            {"Prometheus sends its own token.", objects(t, "prometheus"), own},
		"ServiceMonitor":           {"Prometheus sends its own token.", rendered(t, "serviceMonitor.enabled", "true"), own},
		"ServiceMonitorWithSecret": {"Prometheus may read no file.", rendered(t, append(secret, "serviceMonitor.enabled", "true")...), ""},
		"PodMonitor":               {"It knows no files.", rendered(t, append(secret, "podMonitor.enabled", "true")...), ""},
	}
	pods := ofKind[appsv1.Deployment](t, "Deployment", rendered(t, "tokenServer.enabled", "true"))
	for what, tc := range cases {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var selector metav1.LabelSelector
			var endpoints []monitoringv1.PodMetricsEndpoint
			for _, m := range ofKind[monitoringv1.PodMonitor](t, "PodMonitor", tc.objects) {
				selector = m.Spec.Selector
				endpoints = append(endpoints, m.Spec.PodMetricsEndpoints...)
			}
			var file string
			for _, m := range ofKind[monitoringv1.ServiceMonitor](t, "ServiceMonitor", tc.objects) {
				selector = m.Spec.Selector
				for _, e := range m.Spec.Endpoints {
					file = e.BearerTokenFile //nolint:staticcheck // authorization takes Secrets alone
					endpoint := monitoringv1.PodMetricsEndpoint{Port: &e.Port, Scheme: e.Scheme, Interval: e.Interval, HonorLabels: e.HonorLabels}
					endpoint.HTTPConfigWithoutTLS = e.HTTPConfigWithoutTLS
					endpoint.TLSConfig = &e.TLSConfig.SafeTLSConfig
					endpoints = append(endpoints, endpoint)
				}
			}
			if file != tc.file {
				t.Errorf("%s: Prometheus sends the token in %q, want %q", tc.reason, file, tc.file)
			}
			e := only(t, endpoints)
			if err := e.HTTPConfigWithProxy.Validate(); err != nil {
				t.Error(err)
			}
			var credentials *corev1.SecretKeySelector
			if e.Authorization != nil {
				credentials = e.Authorization.Credentials
			}
			var want *corev1.SecretKeySelector
			if tc.file == "" {
				want = &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "scraper"}, Key: "token"}
			}
			if diff := cmp.Diff(want, credentials); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if e.Port == nil || e.TLSConfig == nil || e.TLSConfig.InsecureSkipVerify == nil {
				t.Fatalf("the scrape is %+v", e)
			}
			if !e.HonorLabels || e.Scheme.String() != "https" || !*e.TLSConfig.InsecureSkipVerify {
				t.Errorf("the scrape is %+v", e)
			}
			selects, err := metav1.LabelSelectorAsSelector(&selector)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range pods {
				if pod := d.Spec.Template; !hasPort(pod.Spec, *e.Port) || !selects.Matches(labels.Set(pod.Labels)) {
					t.Errorf("the pods of %s have no port %q, or not the labels %s", d.Name, *e.Port, selects)
				}
			}
		})
	}
	for _, all := range [][]unstructured.Unstructured{objects(t, "prometheus"), rendered(t, "prometheusRule.enabled", "true")} {
		only(t, ofKind[monitoringv1.PrometheusRule](t, "PrometheusRule", all))
	}
}

func hasPort(pod corev1.PodSpec, name string) bool {
	for _, c := range pod.Containers {
		for _, p := range c.Ports {
			if p.Name == name {
				return true
			}
		}
	}
	return false
}
