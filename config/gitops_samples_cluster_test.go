//go:build integration

package config_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crds "sigs.k8s.io/controller-tools/pkg/crd"
	"sigs.k8s.io/controller-tools/pkg/genall"

	"wechattoken.io/operator/internal/testcluster"
)

// The API server takes what installs the operator, by the CRDs of Argo CD and Flux. Flux
// makes its own of the same types with the same generator.
func TestTheGitOpsSamplesAreValid(t *testing.T) {
	t.Parallel()
	ns, made := newNamespace(t), t.TempDir()
	generator := genall.Generator(crds.Generator{})
	flux, err := genall.Generators{&generator}.ForRoots("github.com/fluxcd/helm-controller/api/v2",
		"github.com/fluxcd/kustomize-controller/api/v1", "github.com/fluxcd/source-controller/api/v1")
	if err != nil {
		t.Fatal(err)
	}
	flux.OutputRules.Default = genall.OutputToDirectory(made)
	if flux.Run() {
		t.Fatal("controller-gen has failed")
	}
	argo := strings.TrimSpace(succeed(t, exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/argoproj/argo-cd/v3")))
	cluster.kubectl(t, "apply", "--server-side", "-f", made, "-f", filepath.Join(argo, "manifests/crds/application-crd.yaml"))
	testcluster.Eventually(t, "the CRDs are established", func() error { // kubectl wait gives up on one without conditions
		return cluster.Kubectl("wait", "--for=condition=Established", "crd/"+application.ApplicationFullName,
			"crd/helmreleases.helm.toolkit.fluxcd.io", "crd/kustomizations.kustomize.toolkit.fluxcd.io",
			"crd/ocirepositories.source.toolkit.fluxcd.io", "crd/gitrepositories.source.toolkit.fluxcd.io").Run()
	})
	files, err := filepath.Glob(gitOpsFolder + "/*/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	strict := client.WithFieldValidation(cluster.admin(t), metav1.FieldValidationStrict)
	for _, file := range files {
		for _, o := range objectsIn(t, file) {
			o.SetNamespace(ns)
			if err := strict.Create(t.Context(), &o, client.DryRunAll); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// Argo CD compares what is there with what a server-side apply would make of it: there is
// nothing for ever out of sync.
func TestArgoCDSeesNoDifferenceInTheOperator(t *testing.T) {
	t.Parallel()
	installed(t)
	text, err := renderAs("argo", "crds.enabled", "false", "policy.enabled", "false", "tokenServer.enabled", "true")
	if err != nil {
		t.Fatal(err)
	}
	admin := cluster.admin(t)
	apply := func(o unstructured.Unstructured, options ...client.ApplyOption) map[string]any {
		t.Helper()
		if err := admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(&o), append(options, client.FieldOwner("argocd-controller"), client.ForceOwnership)...); err != nil {
			t.Fatal(err)
		}
		return wanted(&o)
	}
	for _, o := range slices.DeleteFunc(decode(t, strings.NewReader(text)), isTest) { // which Argo CD leaves out
		live := apply(*o.DeepCopy())
		if diff := cmp.Diff(live, apply(*o.DeepCopy(), client.DryRunAll)); diff != "" {
			t.Errorf("%s %s (-live +applied again):\n%s", o.GetKind(), o.GetName(), diff)
		}
	}
}
