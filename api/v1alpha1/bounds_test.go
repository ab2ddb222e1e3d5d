package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
)

// Who may write a WeChatToken and no Secret gets no other controller to act on one.
func TestLabelsAndAnnotationsOfOtherControllersAreRefused(t *testing.T) {
	keys := []string{
		"reflector.v1.k8s.emberstack.com/reflection-auto-enabled", "replicator.v1.mittwald.de/replicate-to", "secret-generator.v1.mittwald.de/autogenerate",
		"kubed.appscode.com/sync", "synator/sync", "replizieren.dev/replicate", "secret-copier.deckhouse.io/enabled", "clustersecret.io/version",
		"argocd.argoproj.io/secret-type", "kargo.akuity.io/cred-type", "kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name",
		"fluxcd.io/ignore", "kapp.k14s.io/app", "secretgen.carvel.dev/image-pull-secret", "tekton.dev/git-0", "jenkins.io/credentials-type",
		"meta.helm.sh/release-name", "helm.sh/resource-policy", "sealedsecrets.bitnami.com/sealed-secrets-key", "cert-manager.io/allow-direct-injection",
		"kubernetes.io/service-account.name", "app.kubernetes.io.kubernetes.io/x", "node.kubernetes.io/x", "k8s.io/x", "secrets-store.csi.k8s.io/managed",
		"x-k8s.io/x", "cluster.x-k8s.io/cluster-name", "propagate.hnc.x-k8s.io/all", "istio/multiCluster", "topology.istio.io/network",
		"external-secrets.io/x", "reconcile.external-secrets.io/managed", "secrets.hashicorp.com/x", "vault.security.banzaicloud.io/vault-role",
		"operator.1password.io/item-path", "secrets.doppler.com/reload", "secrets.infisical.com/auto-reload", "velero.io/exclude-from-backup",
		"cattle.io/x", "field.cattle.io/projectId", "generate.kyverno.io/clone-source", "konfigure.giantswarm.io/x",
		"open-cluster-management.io/x", "resourcetemplate.karmada.io/name", "config.kubesphere.io/type", "cluster.core.oam.dev/cluster-credential-type",
		"controller.devfile.io/mount-to-devworkspace", "common.k8s.elastic.co/type", "strimzi.io/cluster", "liqo.io/identity-type",
	}
	free := []string{
		"team", "kubernetes.io", "example.com/team", "app.kubernetes.io/name", "app.kubernetes.io/part-of", "reloader.stakater.com/match",
		"mykubernetes.io/x", "kubernetes.io.example.com/x", "example.com/kubernetes.io", "k8s-io/x", "mysynator/x",
	}
	try := func(field, key string) error {
		_, err := admit(t, shop(goodID, goodRef, fmt.Sprintf(`secret: {%s: {"%s": "x"}}`, field, key)))
		return err
	}
	for _, field := range []string{"labels", "annotations"} {
		for _, key := range keys {
			if err := try(field, key); err == nil || !strings.Contains(err.Error(), "labels and annotations that other controllers act on are refused") {
				t.Errorf("%s: %s: got %v, want a refusal", field, key, err)
			}
		}
		for _, key := range free {
			if err := try(field, key); err != nil {
				t.Errorf("%s: %s: %v", field, key, err)
			}
		}
	}
}

// specSchema is what the API server checks a spec with.
func specSchema(t *testing.T) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	text, err := os.ReadFile("../../config/crd/wechattoken.io_wechattokens.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

// Who adds a controller finds its place, and sees that it is not there.
func TestTheDomainsOfOtherControllersAreSorted(t *testing.T) {
	rule := specSchema(t).Properties["secret"].XValidations[0].Rule
	found := regexp.MustCompile(`\[\.\]\)\?\((.*)\)/'`).FindStringSubmatch(rule)
	if found == nil {
		t.Fatalf("there are no domains in %s", rule)
	}
	domains := strings.Split(strings.ReplaceAll(found[1], "[.]", "."), "|")
	if len(domains) < 20 || !slices.IsSorted(domains) || len(slices.Compact(slices.Clone(domains))) != len(domains) {
		t.Errorf("want each domain once, in the order of the alphabet: %q", domains)
	}
}

// maxSpec is how large a spec can be, in bytes of JSON: the memory of the operator
// grows by the number of WeChatTokens, which a ResourceQuota bounds, and not by what
// stands in one.
const maxSpec = 48 << 10

func TestTheLargestSpecIsSmall(t *testing.T) {
	name := func(first string) string { return first + strings.Repeat("n", 252) }
	key := func(i int) string {
		return fmt.Sprintf("%03d%s/%s", i, strings.Repeat("k", 250), strings.Repeat("k", 63))
	}
	value := v1alpha1.LabelValue(strings.Repeat("v", 63))
	secretKey := func(first string) v1alpha1.SecretKey { return v1alpha1.SecretKey(name(first)) }
	wt := v1alpha1.WeChatToken{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind},
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: v1alpha1.WeChatTokenSpec{
			AppID: "wx0123456789abcdef", Mode: v1alpha1.ModeClassic, Propagation: v1alpha1.PropagationWatch, Suspend: true,
			AppSecretRef:  v1alpha1.AppSecretReference{Name: name("a"), Key: name("a")},
			RefreshBefore: &metav1.Duration{Duration: 59*time.Minute + 59*time.Second},
			CheckInterval: &metav1.Duration{Duration: 59*time.Minute + 59*time.Second},
			Tickets:       []v1alpha1.TicketType{v1alpha1.TicketJSAPI, v1alpha1.TicketWxCard},
			Secret: &v1alpha1.TokenSecret{
				Name:   name("t"),
				Labels: map[string]v1alpha1.LabelValue{}, Annotations: map[string]v1alpha1.AnnotationValue{},
				Keys: &v1alpha1.SecretKeys{
					AccessToken: secretKey("1"), ExpiresAt: secretKey("2"), ObtainedAt: secretKey("3"), AppID: secretKey("4"),
					JSAPITicket: secretKey("5"), JSAPITicketExpiresAt: secretKey("6"), WxCardTicket: secretKey("7"), WxCardTicketExpiresAt: secretKey("8"),
				},
			},
		},
	}
	for i := range 32 { // many short ones: what is between them counts, too
		wt.Spec.Secret.Labels[fmt.Sprintf("%02d", i)] = value
		wt.Spec.Secret.Annotations[fmt.Sprintf("%02d", i)] = v1alpha1.AnnotationValue(value[:61])
	}
	for range 16 {
		labels := map[string]v1alpha1.LabelValue{}
		for i := range 4 {
			labels[key(i)] = value
		}
		wt.Spec.Restart.Workloads = append(wt.Spec.Restart.Workloads, v1alpha1.RestartTarget{Kind: v1alpha1.KindStatefulSet, Selector: v1alpha1.WorkloadSelector{MatchLabels: labels}})
	}
	manifest, err := yaml.Marshal(wt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admit(t, string(manifest)); err != nil {
		t.Fatalf("it is not valid: %.2000s", err)
	}
	spec, err := json.Marshal(wt.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if len(spec) > maxSpec || len(spec) < maxSpec/2 {
		t.Errorf("the largest spec has %d bytes, want at most %d, and this one to be large", len(spec), maxSpec)
	}
	t.Logf("the largest spec has %d bytes", len(spec))
}

// A field without a bound would let one object be as large as etcd takes it.
func TestEachFieldOfTheSpecHasABound(t *testing.T) {
	var check func(path string, s apiextensionsv1.JSONSchemaProps)
	check = func(path string, s apiextensionsv1.JSONSchemaProps) {
		switch {
		case len(s.Enum) > 0, s.Type == "boolean", s.Type == "integer":
		case s.Type == "string":
			if s.MaxLength == nil {
				t.Errorf("%s has no MaxLength", path)
			}
		case s.Type == "array":
			if s.MaxItems == nil {
				t.Errorf("%s has no MaxItems", path)
			}
			check(path+"[]", *s.Items.Schema)
		case s.AdditionalProperties != nil:
			if s.MaxProperties == nil {
				t.Errorf("%s has no MaxProperties", path)
			}
			check(path+"{}", *s.AdditionalProperties.Schema)
		case s.Type == "object" && len(s.Properties) > 0:
			for field, of := range s.Properties {
				check(path+"."+field, of)
			}
		default:
			t.Errorf("%s is of type %q, whose bound this test does not know", path, s.Type)
		}
	}
	check("spec", specSchema(t))
}
