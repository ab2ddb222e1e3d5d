package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func TestPreChecksFindWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	ready := func() *preFacts {
		f := &preFacts{}
		f.version.value, f.policies.value = "v1.33.0", true
		f.yours.value = []permission{{attributes: authorizationv1.ResourceAttributes{Verb: "create", Resource: "namespaces"}, allowed: true}}
		return f
	}
	cases := map[string]struct {
		reason string
		change func(*preFacts)
		check  string
		level  level
		text   string
	}{
		"AsItShould":   {"Nothing is in the way.", func(*preFacts) {}, "kubernetes", pass, "v1.33.0"},
		"Vendor":       {"Clouds append to the version.", func(f *preFacts) { f.version.value = "v1.34.1-aliyun.1" }, "kubernetes", pass, "aliyun"},
		"Old":          {"The policies do not compile there.", func(f *preFacts) { f.version.value = "v1.32.9" }, "kubernetes", fail, "need 1.33"},
		"NoVersion":    {"Nobody says.", func(f *preFacts) { f.version.err = errors.New("no") }, "kubernetes", unknown, "no"},
		"NoPolicies":   {"They keep the operator to its Secrets.", func(f *preFacts) { f.policies.value = false }, "policies", fail, "policy.enabled=false"},
		"NoCRD":        {"The install brings it.", func(*preFacts) {}, "crd", pass, "no CRD yet"},
		"OldCRD":       {"The install replaces it.", func(f *preFacts) { f.schema.value = schemas{"io.wechattoken.v1alpha1.WeChatToken": {}} }, "crd", warn, "without spec, status"},
		"NoOperator":   {"There is none.", func(*preFacts) {}, "operator", pass, "no operator yet"},
		"Operator":     {"Two must not work on the same.", func(f *preFacts) { f.installs.value = []install{byHelm} }, "operator", warn, "helm upgrade wx CHART -n ops"},
		"NotSeen":      {"There may be one.", func(f *preFacts) { f.installs.err = errors.New("no") }, "operator", unknown, "--operator-namespace"},
		"You":          {"A cluster administrator.", func(*preFacts) {}, "your-permissions", pass, "you may create"},
		"NotYou":       {"Somebody else.", func(f *preFacts) { f.yours.value[0].allowed = false }, "your-permissions", fail, "you may not create namespaces in all namespaces: have a cluster administrator"},
		"NobodyCanSay": {"The API server does not answer that.", func(f *preFacts) { f.yours.err = errors.New("no") }, "your-permissions", unknown, "no"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := ready()
			tc.change(f)
			found := look(preChecks, f, noon)
			if !slices.ContainsFunc(found, func(f finding) bool {
				return f.Check == tc.check && f.Level == tc.level && strings.Contains(f.Text, tc.text)
			}) {
				t.Errorf("%s\nno %s %s with %q in %v", tc.reason, tc.level, tc.check, tc.text, found)
			}
			if fails := slices.ContainsFunc(found, func(f finding) bool { return f.Level == fail }); fails != (tc.level == fail) {
				t.Errorf("fails: %t in %v", fails, found)
			}
		})
	}
}

// The chart refuses its policies below the same version.
func TestLeastKubernetesIsThatOfTheChartsPolicies(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../config/chart/templates/validate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := `semverCompare "<` + leastKubernetes + `.0-0"`; !strings.Contains(string(text), want) {
		t.Errorf("validate.yaml has no %s", want)
	}
}

// What the check asks about is what config/default has.
func TestPreChecksKnowWhatAnInstallCreates(t *testing.T) {
	t.Parallel()
	want := map[metav1.GroupKind]bool{}
	collect(t, "../../config/default", want)
	got := map[metav1.GroupKind]bool{}
	for _, c := range creates {
		got[metav1.GroupKind{Group: c.group, Kind: c.kind}] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// collect finds what the resources of a kustomization are.
func collect(t *testing.T, path string, into map[metav1.GroupKind]bool) {
	t.Helper()
	if filepath.Ext(path) == "" {
		text, err := os.ReadFile(filepath.Join(path, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var k struct {
			Resources []string `json:"resources"`
		}
		if err := yaml.Unmarshal(text, &k); err != nil {
			t.Fatal(err)
		}
		for _, r := range k.Resources {
			collect(t, filepath.Join(path, r), into)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq("\n"+string(text), "\n---\n") {
		var object metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if object.Kind != "" {
			into[metav1.GroupKind(object.GroupVersionKind().GroupKind())] = true
		}
	}
}
