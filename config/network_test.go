package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// reaches are those of both programs by default, by their folders: each is reached for
// its metrics, the token server by its clients, and reaches what it needs.
var reaches = map[string]reach{
	"default":      {In: []string{"TCP/metrics"}, Out: []string{"UDP/53", "TCP/53", "TCP/443", "TCP/6443"}},
	"token-server": {In: []string{"TCP/https", "TCP/metrics"}, Out: []string{"UDP/53", "TCP/53", "TCP/443", "TCP/6443"}},
}

func TestThePodsReachAndAreReachedForNothingElse(t *testing.T) {
	t.Parallel()
	for dir, want := range reaches {
		all := objects(t, dir)
		policy, pods := only(t, ofKind[networkingv1.NetworkPolicy](t, "NetworkPolicy", all)), only(t, ofKind[appsv1.Deployment](t, "Deployment", all)).Spec.Template
		if diff := cmp.Diff(want, reachOf(policy)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", dir, diff)
		}
		if diff := cmp.Diff([]networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}, policy.Spec.PolicyTypes); diff != "" {
			t.Errorf("%s: what is not said is allowed (-want +got):\n%s", dir, diff)
		}
		selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
		if err != nil {
			t.Fatal(err)
		}
		if !selector.Matches(labels.Set(pods.Labels)) || policy.Namespace != name {
			t.Errorf("%s: the policy is for pods of %s with %s, and they have %v", dir, policy.Namespace, selector, pods.Labels)
		}
	}
}

// What the comment tells to put into a kustomization of one's own works there.
func TestTheNetworkPolicyCanBeChanged(t *testing.T) {
	t.Parallel()
	from := func(namespace string) []networkingv1.NetworkPolicyPeer {
		return []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": namespace}}}}
	}
	is := func(dir string, change func(*reach)) []reach {
		r := reaches[dir]
		r.Out = slices.Clone(r.Out)
		change(&r)
		return []reach{r}
	}
	for dir, comment := range map[string]struct {
		file  string
		wants [][]reach
	}{
		"default": {"manager/network-policy.yaml", [][]reach{
			is("default", func(r *reach) { r.Out = append(r.Out, "TCP/3128") }),
			is("default", func(r *reach) { r.Out = []string{"UDP/53", "TCP/53", "UDP/5353", "TCP/443", "TCP/6443"} }),
			is("default", func(r *reach) { r.From = from("monitoring") }),
			nil,
		}},
		"token-server": {"token-server/network-policy.yaml", [][]reach{is("token-server", func(r *reach) { r.From = from("ingress-nginx") })}},
	} {
		text, err := os.ReadFile(comment.file)
		if err != nil {
			t.Fatal(err)
		}
		patches := regexp.MustCompile(`(?m)(?:^#   .+\n)+`).FindAllString(string(text), -1)
		if len(patches) != len(comment.wants) {
			t.Fatalf("found %d patches in the comment of %s, want %d", len(patches), comment.file, len(comment.wants))
		}
		for i, patch := range patches {
			own := t.TempDir()
			write(t, filepath.Join(own, "kustomization.yaml"), `
resources: [`+relative(t, own, dir)+`]
patches:
  - target: {kind: NetworkPolicy}
    patch: |-
`+strings.ReplaceAll(patch, "#", "   "))
			var got []reach
			for _, policy := range ofKind[networkingv1.NetworkPolicy](t, "NetworkPolicy", objects(t, own)) {
				got = append(got, reachOf(policy))
			}
			if diff := cmp.Diff(comment.wants[i], got); diff != "" {
				t.Errorf("%s with\n%s(-want +got):\n%s", dir, patch, diff)
			}
		}
	}
}
