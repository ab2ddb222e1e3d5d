package config_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// gitOpsFolder has what installs the operator with Argo CD, and with Flux.
const gitOpsFolder = "samples/gitops"

// gitOps are the objects of a file there.
func gitOps(t *testing.T, file string) []unstructured.Unstructured {
	t.Helper()
	return objectsIn(t, filepath.Join(gitOpsFolder, file))
}

// ofGit is where a sample takes the operator from, without the chart.
type ofGit struct {
	path    string
	images  []map[string]string
	patches any
}

// argoFromGit is that of an Application.
func argoFromGit(t *testing.T, app unstructured.Unstructured) ofGit {
	t.Helper()
	from := ofGit{path: field[string](t, app, "spec", "source", "path"), patches: field[[]any](t, app, "spec", "source", "kustomize", "patches")}
	for _, image := range field[[]any](t, app, "spec", "source", "kustomize", "images") {
		is, becomes, _ := strings.Cut(image.(string), "=")
		tag := strings.LastIndex(becomes, ":")
		from.images = append(from.images, map[string]string{"name": is, "newName": becomes[:tag], "newTag": becomes[tag+1:]})
	}
	return from
}

// fluxFromGit is that of a Kustomization.
func fluxFromGit(k kustomizev1.Kustomization) ofGit {
	from := ofGit{path: k.Spec.Path, patches: k.Spec.Patches}
	for _, image := range k.Spec.Images {
		from.images = append(from.images, map[string]string{"name": image.Name, "newName": image.NewName, "newTag": image.NewTag})
	}
	return from
}

// build is what Argo CD and Flux apply.
func (from ofGit) build(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	own := t.TempDir()
	text, err := yaml.Marshal(map[string]any{"resources": []string{relative(t, own, "../"+from.path)}, "images": from.images, "patches": from.patches})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(own, "kustomization.yaml"), string(text))
	return objects(t, own)
}

// field is one that an object must have.
func field[T any](t *testing.T, o unstructured.Unstructured, path ...string) T {
	t.Helper()
	value, _, err := unstructured.NestedFieldNoCopy(o.Object, path...)
	typed, is := value.(T)
	if err != nil || !is {
		t.Fatalf("%s %s has %v (%v) at %s", o.GetKind(), o.GetName(), value, err, strings.Join(path, "."))
	}
	return typed
}

// Each way brings the operator with the image that its sample names, into its namespace, and
// a CRD that neither tool deletes when it is no longer in Git: with it all tokens would go.
func TestGitOpsInstallsTheOperator(t *testing.T) {
	t.Parallel()
	const argoKeeps, fluxKeeps = "argocd.argoproj.io/sync-options", "kustomize.toolkit.fluxcd.io/prune"
	chart := func(values map[string]any) []unstructured.Unstructured {
		t.Helper()
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(values)) {
			value, err := json.Marshal(values[key])
			if err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, key, string(value))
		}
		return rendered(t, pairs...)
	}
	argo, argoGit := only(t, gitOps(t, "argocd/operator.yaml")), only(t, gitOps(t, "argocd/operator-from-git.yaml"))
	release := only(t, ofKind[helmv2.HelmRelease](t, "HelmRelease", gitOps(t, "flux/release.yaml")))
	fluxGit := only(t, ofKind[kustomizev1.Kustomization](t, "Kustomization", gitOps(t, "flux/operator-from-git.yaml")))
	for what, tc := range map[string]struct {
		name, namespace string // of the release
		installs        []unstructured.Unstructured
		keeps           map[string]string // annotations of the CRD
	}{
		"ArgoCD": {
			argo.GetName(), field[string](t, argo, "spec", "destination", "namespace"),
			chart(field[map[string]any](t, argo, "spec", "source", "helm", "valuesObject")), map[string]string{argoKeeps: "Prune=false"},
		},
		"Flux": {
			release.GetReleaseName(), release.GetReleaseNamespace(),
			chart(release.GetValues()), map[string]string{"helm.sh/resource-policy": "keep"},
		},
		"ArgoCDFromGit": {
			name, field[string](t, argoGit, "spec", "destination", "namespace"),
			argoFromGit(t, argoGit).build(t), map[string]string{argoKeeps: "Prune=false"},
		},
		"FluxFromGit": {name, name, fluxFromGit(fluxGit).build(t), map[string]string{fluxKeeps: "disabled"}},
	} {
		if tc.name != name || tc.namespace != name {
			t.Errorf("%s: the release is called %s, in namespace %s", what, tc.name, tc.namespace)
		}
		if got, want := container(deploymentOf(t, name, tc.installs)).Image, "registry.example.com/wechat-token-operator:v0.1.0"; got != want {
			t.Errorf("%s: got image %s, want %s", what, got, want)
		}
		for _, o := range tc.installs {
			if o.GetKind() != "CustomResourceDefinition" {
				continue
			}
			for key, want := range tc.keeps {
				if got := o.GetAnnotations()[key]; got != want {
					t.Errorf("%s: the CRD has %s: %q, want %q", what, key, got, want)
				}
				delete(tc.keeps, key)
			}
		}
		if len(tc.keeps) > 0 {
			t.Errorf("%s installs no CRD", what)
		}
	}
}

// The operator is there before the WeChatTokens, and a token before the pods that use it.
func TestGitOpsKeepsTheOrder(t *testing.T) {
	t.Parallel()
	wave := func(file string) int {
		t.Helper()
		app := only(t, gitOps(t, file))
		n, err := strconv.Atoi(app.GetAnnotations()["argocd.argoproj.io/sync-wave"])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, operator := range []string{"argocd/operator.yaml", "argocd/operator-from-git.yaml"} {
		if before, tokens := wave(operator), wave("argocd/tokens.yaml"); before >= tokens {
			t.Errorf("%s is in wave %d, and the WeChatTokens in %d", operator, before, tokens)
		}
	}
	shop := ofKind[kustomizev1.Kustomization](t, "Kustomization", gitOps(t, "flux/tokens.yaml"))
	for _, operator := range []string{"flux/operator.yaml", "flux/operator-from-git.yaml"} {
		before := only(t, ofKind[kustomizev1.Kustomization](t, "Kustomization", gitOps(t, operator)))
		for _, k := range append([]kustomizev1.Kustomization{before}, shop[:len(shop)-1]...) {
			if !k.Spec.Wait {
				t.Errorf("%s: %s does not wait", operator, k.Name)
			}
		}
		for _, k := range shop {
			if on := only(t, k.Spec.DependsOn).Name; on != before.Name {
				t.Errorf("%s depends on %s, and not on %s", k.Name, on, before.Name)
			}
			before = k
		}
	}
}

// What Flux installs comes from where the same file says.
func TestFluxFindsItsSources(t *testing.T) {
	t.Parallel()
	chart := only(t, ofKind[sourcev1.OCIRepository](t, "OCIRepository", gitOps(t, "flux/release.yaml")))
	release := only(t, ofKind[helmv2.HelmRelease](t, "HelmRelease", gitOps(t, "flux/release.yaml")))
	if ref := release.Spec.ChartRef; ref.Kind != "OCIRepository" || ref.Name != chart.Name || release.Namespace != chart.Namespace {
		t.Errorf("the HelmRelease takes its chart from %+v", ref)
	}
	repository := only(t, ofKind[sourcev1.GitRepository](t, "GitRepository", gitOps(t, "flux/operator-from-git.yaml")))
	k := only(t, ofKind[kustomizev1.Kustomization](t, "Kustomization", gitOps(t, "flux/operator-from-git.yaml")))
	if ref := k.Spec.SourceRef; ref.Kind != "GitRepository" || ref.Name != repository.Name || k.Namespace != repository.Namespace {
		t.Errorf("the Kustomization takes its manifests from %+v", ref)
	}
}

// byName are objects by their kinds and names; what has no name is a part of one.
func byName(all []unstructured.Unstructured) map[string]any {
	named := map[string]any{}
	for _, o := range all {
		if o.GetName() != "" {
			named[o.GetKind()+" "+o.GetName()] = o.Object
		}
	}
	return named
}

// What the pages show is what is tested, and they name every file.
func TestThePagesShowTheGitOpsSamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(gitOpsFolder + "/*/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	fence := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	for _, page := range []string{"../docs/gitops.md", "../docs/zh/gitops.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var shown, all []unstructured.Unstructured
		for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
			shown = append(shown, decode(t, strings.NewReader(block[1]))...)
		}
		for _, file := range files {
			if !strings.Contains(string(text), "/config/"+filepath.ToSlash(file)+")") {
				t.Errorf("%s does not link to %s", page, file)
			}
			if !strings.HasSuffix(file, "-from-git.yaml") {
				all = append(all, objectsIn(t, file)...)
			}
		}
		if diff := cmp.Diff(byName(all), byName(shown)); diff != "" {
			t.Errorf("%s (-files +shown):\n%s", page, diff)
		}
	}
}
