//go:build pages

package docs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// runner runs blocks on a cluster of its own.
type runner struct {
	shell

	cluster  *testcluster.Cluster
	standIns *standIns
	values   map[string]any          // of the chart
	base     map[string]func() error // what is there before each page
}

// What the pages say to type does what they say: each block runs as it stands, in its
// order, in a shell that ends with the first failure. The programs are the real ones, but
// for make, which finds the plugin built.
func TestBlocksRunInTheirOrder(t *testing.T) { // one page after the other: they change the same cluster
	r := newRunner(t)
	for _, name := range english() {
		t.Run(name, func(t *testing.T) { r.page(t, pages[name], visits[name]) })
	}
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	c, err := testcluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	r := &runner{cluster: c, shell: newShell(t, c.Kubeconfig)}
	helm, err := exec.CommandContext(t.Context(), "go", "tool", "-modfile="+root+"/hack/helm/go.mod", "-n", "helm").Output()
	if err != nil {
		t.Fatal(err)
	}
	kubectl, err := filepath.Abs(c.Kubectl().Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		testcluster.BuildCommands(r.programs, "manager", "kubectl-wechattoken"),
		os.Symlink(strings.TrimSpace(string(helm)), filepath.Join(r.programs, "helm")),
		os.Symlink(kubectl, filepath.Join(r.programs, "kubectl")),
		startRedis(t, r.programs),
		os.WriteFile(filepath.Join(r.programs, "make"), []byte("#!/bin/sh\nmkdir -p bin && [ \"$*\" = build ] && cp \"$(command -v kubectl-wechattoken)\" bin\n"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	r.values = chartValues(t)
	fake := wechattest.Defaults()
	fake.OpenAccounts = true
	// All pages use one account, and no operator knows what the one of the page before spent.
	fake.ForceSpacing, fake.ForcedPerDay = -1, -1
	_, url := testcluster.FakeWeChat(t, fake)
	r.standIns = startStandIns(t, c, filepath.Join(r.programs, "manager"), url)
	if out, err := c.Kubectl("delete", "crd", "wechattokens.wechattoken.io").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r.base, err = r.standIns.clusterObjects(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *runner) page(t *testing.T, p *page, w visit) {
	t.Helper()
	if err := r.standIns.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: here}}); err != nil {
		t.Fatal(err)
	}
	defer r.reset(t)
	if slices.ContainsFunc(p.blocks, func(b block) bool { return strings.Contains(b.code, "--context new") }) {
		defer r.another(t)()
	}
	checkout := t.TempDir()
	certificate, key, err := certutil.GenerateSelfSignedCertKey("tokens.example.com", nil, nil)
	if err := errors.Join(err,
		os.CopyFS(filepath.Join(checkout, "config"), os.DirFS(filepath.Join(root, "config"))),
		os.WriteFile(filepath.Join(checkout, "tls.crt"), certificate, 0o600),
		os.WriteFile(filepath.Join(checkout, "tls.key"), key, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	if out, err := r.run(t, checkout, prelude+w.before, ""); err != nil {
		t.Fatalf("before the page: %v in\n%s\n%s", err, w.before, out)
	}
	for _, b := range p.blocks {
		if file, command := r.fileOf(t, b); file != "" {
			if err := os.WriteFile(filepath.Join(checkout, file), []byte(b.code), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := r.run(t, checkout, command, ""); err != nil {
				t.Errorf("%v: %s in\n%s", err, out, b.code)
			}
		}
		if s := w.step(t, b); b.isTyped() && s.elsewhere == "" && s.needs == "" && s.node == "" {
			r.block(t, checkout, b, s)
		}
	}
	r.copiesNoSecret(t)
}

// fileOf is the file that a reader makes of a block, and a command that reads it: values
// for the chart, or a kustomization.
func (r *runner) fileOf(t *testing.T, b block) (file, command string) {
	t.Helper()
	if b.language != "yaml" {
		return "", ""
	}
	if kustomization.MatchString(b.code) {
		return "kustomization.yaml", "kubectl kustomize ."
	}
	var keys map[string]any
	if err := yaml.Unmarshal([]byte(b.code), &keys); err != nil || len(keys) == 0 { // several objects
		return "", ""
	}
	for key := range keys {
		if _, ok := r.values[key]; !ok {
			return "", ""
		}
	}
	return "values.yaml", "helm template config/chart --values values.yaml"
}

// kustomization is that of kustomize, and not one of Flux.
var kustomization = regexp.MustCompile(`(?m)^apiVersion: kustomize\.config\.k8s\.io/`)

func (r *runner) block(t *testing.T, checkout string, b block, s step) {
	t.Helper()
	script, shown := b.script()
	if out, err := r.run(t, checkout, prelude+s.before, ""); err != nil {
		t.Errorf("before the block: %v in\n%s\n%s", err, s.before, out)
	}
	out, err := r.run(t, checkout, script, s.stdin)
	if err != nil {
		t.Errorf("%v in\n%s\n%s", err, script, out)
	}
	if want := columns(shown); len(want) > 1 && !cmp.Equal(want, columns(out)) { // of a table
		t.Errorf("columns of the output (-page +real):\n%s", cmp.Diff(want, columns(out)))
	}
	if out, err := r.run(t, checkout, prelude+s.after, ""); err != nil {
		t.Errorf("after\n%s\n%v in\n%s\n%s", script, err, s.after, out)
	}
}

// columns are those of the first line of an output.
func columns(out string) []string {
	header, _, _ := strings.Cut(out, "\n")
	return regexp.MustCompile(` {2,}`).Split(strings.TrimSpace(header), -1)
}

// copiesNoSecret wants no copy of a Secret's content in its annotations, as kubectl apply
// makes them.
func (r *runner) copiesNoSecret(t *testing.T) {
	t.Helper()
	var all corev1.SecretList
	if err := r.standIns.client.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, secret := range all.Items {
		if copied.MatchString(secret.Annotations[corev1.LastAppliedConfigAnnotation]) {
			t.Errorf("the Secret %s was put into its annotations", secret.Name)
		}
	}
}

var copied = regexp.MustCompile(`"(data|stringData)":\{`)

// reset takes away what was not there before the page.
func (r *runner) reset(t *testing.T) {
	t.Helper()
	asked := map[string]bool{}
	testcluster.Eventually(t, "the cluster is as before", func() error {
		all, err := r.standIns.clusterObjects(t.Context())
		errs := []error{err}
		for what, remove := range all {
			if r.base[what] != nil {
				continue
			}
			if errs = append(errs, errors.New(what+" is there")); !asked[what] {
				asked[what] = true
				errs = append(errs, remove())
			}
		}
		return errors.Join(errs...)
	})
}
