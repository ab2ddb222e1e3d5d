// Package config_test meets the manifests as their users do: kubectl applies
// them to a real API server, and the manager runs there with the permissions that
// they give it and no others. Nothing there makes pods of Deployments.
package config_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestTheKindIsAlone(t *testing.T) {
	t.Parallel()
	var kinds []string
	for _, o := range objects(t, "crd") {
		kinds = append(kinds, o.GetKind()+" "+o.GetName())
	}
	if diff := cmp.Diff([]string{"CustomResourceDefinition wechattokens.wechattoken.io"}, kinds); diff != "" {
		t.Errorf("config/crd (-want +got):\n%s", diff)
	}
}

// A user keeps their own choices in a kustomization of their own.
func TestNamespaceAndImageAreChosenInOnePlace(t *testing.T) {
	t.Parallel()
	own := t.TempDir()
	write(t, filepath.Join(own, "kustomization.yaml"), `
namespace: another
resources: [`+relative(t, own, "default")+`, `+relative(t, own, "token-server")+`]
images:
  - {name: wechat-token-operator, newName: registry.example.com/operator, newTag: v1}
  - {name: wechat-token-server, newName: registry.example.com/server, newTag: v1}
`)
	for _, o := range objects(t, own) {
		if ns := o.GetNamespace(); ns != "" && ns != "another" {
			t.Errorf("%s %s is in namespace %s", o.GetKind(), o.GetName(), ns)
		}
		if o.GetKind() == "Namespace" && o.GetName() != "another" {
			t.Errorf("the namespace is called %s", o.GetName())
		}
		subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
		for _, s := range subjects {
			if ns := s.(map[string]any)["namespace"]; ns != "another" {
				t.Errorf("%s %s binds a ServiceAccount of namespace %v", o.GetKind(), o.GetName(), ns)
			}
		}
	}
	for program, want := range map[string]string{name: "registry.example.com/operator:v1", server: "registry.example.com/server:v1"} {
		if got := container(deploymentOf(t, program, objects(t, own))).Image; got != want {
			t.Errorf("got image %s, want %s", got, want)
		}
	}
}

// Of a checkout that nobody has changed, pods wait: no registry can give them a program of
// somebody else, who would have all Secrets. Docker Hub, which a name without a registry
// means, lets nobody make such a name. With latest, the kubelet would not take the image
// that somebody has loaded.
func TestNobodyElseCanGiveTheImage(t *testing.T) {
	t.Parallel()
	for where, all := range map[string][]unstructured.Unstructured{
		"kustomize": slices.Concat(objects(t, "default"), objects(t, "token-server")),
		"the chart": rendered(t, "tokenServer.enabled", "true"),
	} {
		for _, program := range []string{name, server} {
			if got, want := container(deploymentOf(t, program, all)).Image, program+":dev"; got != want {
				t.Errorf("%s: got image %s, want %s, which make image builds", where, got, want)
			}
		}
	}
}

func TestPodsAreConfinedBeyondPodSecurity(t *testing.T) {
	t.Parallel()
	for _, d := range slices.Concat(deployments(t, "default"), deployments(t, "token-server"), deployments(t, "samples"), deployments(t, "samples/sdk-cache")) {
		c, pod := container(d), d.Spec.Template.Spec
		if readOnly := c.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
			t.Errorf("%s writes to its root file system", d.Name)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: got resources %v, want requests, and a limit of memory", d.Name, c.Resources)
		}
		usesKubernetes := d.Name == name || d.Name == server
		if mounts := pod.AutomountServiceAccountToken; mounts == nil || *mounts != usesKubernetes {
			t.Errorf("%s: automountServiceAccountToken must be %t", d.Name, usesKubernetes)
		}
	}
}

func TestTheCollectorWorksHarderBeforeTheKernelKills(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"default", "token-server"} {
		c := container(only(t, deployments(t, dir)))
		i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "GOMEMLIMIT" })
		if i < 0 {
			t.Fatalf("%s: there is no GOMEMLIMIT", dir)
		}
		mebibytes, err := strconv.ParseInt(strings.TrimSuffix(c.Env[i].Value, "MiB"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if share := float64(mebibytes<<20) / float64(c.Resources.Limits.Memory().Value()); share < 0.8 || share > 0.95 {
			t.Errorf("%s: GOMEMLIMIT is %.2f of the limit of memory, want 0.80 to 0.95", dir, share)
		}
	}
}

func TestNoManifestHoldsASecret(t *testing.T) {
	t.Parallel()
	placeholders := []string{"wx0123456789abcdef", "wxfedcba9876543210"}
	suspicious := map[string]*regexp.Regexp{
		"an AppSecret":          regexp.MustCompile(`\b[0-9a-fA-F]{32}\b`),
		"a token":               regexp.MustCompile(`[A-Za-z0-9_-]{64,}`),
		"a key":                 regexp.MustCompile(`-----BEGIN|\bgh[pousr]_\w{20,}|\bAKIA[0-9A-Z]{16}\b`),
		"a Secret":              regexp.MustCompile(`(?m)^\s*kind: Secret$`),
		"the appid of somebody": regexp.MustCompile(`\bwx[0-9a-f]{16}\b`),
	}
	for what, example := range map[string]string{
		"an AppSecret":          "appsecret: " + strings.Repeat("0123456789abcdef", 2),
		"a token":               "access_token: " + strings.Repeat("99_J", 34),
		"a key":                 "-----BEGIN PRIVATE KEY-----",
		"a Secret":              "apiVersion: v1\nkind: Secret\n",
		"the appid of somebody": "appID: wx00000000000000aa # ours",
	} {
		if !suspicious[what].MatchString(example) {
			t.Errorf("%s would not be found", what)
		}
	}
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for what, pattern := range suspicious {
			for _, found := range pattern.FindAllString(string(text), -1) {
				if !slices.Contains(placeholders, found) {
					t.Errorf("%s holds what looks like %s: %s", path, what, found)
				}
			}
		}
		return err
	})
	if err != nil || files < 10 {
		t.Errorf("looked at %d files: %v", files, err)
	}
}
