package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// reach is what a NetworkPolicy lets in and out: ports, and from whom.
type reach struct {
	In, Out []string
	From    []networkingv1.NetworkPolicyPeer
}

func reachOf(policy networkingv1.NetworkPolicy) (r reach) {
	ports := func(all []networkingv1.NetworkPolicyPort) (ports []string) {
		for _, p := range all {
			ports = append(ports, string(*p.Protocol)+"/"+p.Port.String())
		}
		return ports
	}
	for _, in := range policy.Spec.Ingress {
		r.In, r.From = append(r.In, ports(in.Ports)...), append(r.From, in.From...)
	}
	for _, out := range policy.Spec.Egress {
		r.Out = append(r.Out, ports(out.Ports)...)
	}
	return r
}

// By default the operator is reached for its metrics, and reaches what it needs.
func TestTheOperatorReachesAndIsReachedForNothingElse(t *testing.T) {
	t.Parallel()
	all := objects(t, "default")
	policy, pods := only(t, ofKind[networkingv1.NetworkPolicy](t, "NetworkPolicy", all)), only(t, ofKind[appsv1.Deployment](t, "Deployment", all)).Spec.Template
	want := reach{In: []string{"TCP/metrics"}, Out: []string{"UDP/53", "TCP/53", "TCP/443", "TCP/6443"}}
	if diff := cmp.Diff(want, reachOf(policy)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}, policy.Spec.PolicyTypes); diff != "" {
		t.Errorf("what is not said is allowed (-want +got):\n%s", diff)
	}
	selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
	if err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set(pods.Labels)) || policy.Namespace != name {
		t.Errorf("the policy is for pods of %s with %s, and the operator's have %v", policy.Namespace, selector, pods.Labels)
	}
}

// What the comment tells to put into a kustomization of one's own works there.
func TestTheNetworkPolicyCanBeChanged(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("manager/network-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	patches := regexp.MustCompile(`(?m)(?:^#   .+\n)+`).FindAllString(string(text), -1)
	monitoring := []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "monitoring"}}}}
	is := func(change func(*reach)) []reach {
		r := reach{In: []string{"TCP/metrics"}, Out: []string{"UDP/53", "TCP/53", "TCP/443", "TCP/6443"}}
		change(&r)
		return []reach{r}
	}
	wants := [][]reach{
		is(func(r *reach) { r.Out = append(r.Out, "TCP/3128") }),
		is(func(r *reach) { r.Out = []string{"UDP/53", "TCP/53", "UDP/5353", "TCP/443", "TCP/6443"} }),
		is(func(r *reach) { r.From = monitoring }),
		nil,
	}
	if len(patches) != len(wants) {
		t.Fatalf("found %d patches in the comment, want %d", len(patches), len(wants))
	}
	for i, patch := range patches {
		own := t.TempDir()
		write(t, filepath.Join(own, "kustomization.yaml"), `
resources: [`+relative(t, own, "default")+`]
patches:
  - target: {kind: NetworkPolicy, name: wechat-token-operator}
    patch: |-
`+strings.ReplaceAll(patch, "#", "   "))
		var got []reach
		for _, policy := range ofKind[networkingv1.NetworkPolicy](t, "NetworkPolicy", objects(t, own)) {
			got = append(got, reachOf(policy))
		}
		if diff := cmp.Diff(wants[i], got); diff != "" {
			t.Errorf("with\n%s(-want +got):\n%s", patch, diff)
		}
	}
}
