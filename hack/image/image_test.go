//go:build integration

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var makeManager = sync.OnceValues(func() (v1.Image, error) {
	return ofProgram(context.Background(), of("manager"), "amd64")
})

func managerImage(t *testing.T) *content {
	t.Helper()
	img, err := makeManager()
	if err != nil {
		t.Fatal(err)
	}
	return contentOf(t, img)
}

func TestImageHoldsOnlyWhatItShould(t *testing.T) {
	i := managerImage(t)
	got := map[string]string{}
	for name, e := range i.Files {
		got[name], _, _ = strings.Cut(e, "  ")
	}
	want := map[string]string{
		"/etc":                               "5 0755 0:0", // a folder: archive/tar.TypeDir
		"/etc/ssl":                           "5 0755 0:0",
		"/etc/ssl/certs":                     "5 0755 0:0",
		"/etc/ssl/certs/ca-certificates.crt": "0 0644 0:0", // a file
		"/manager":                           "0 0755 0:0",
		"/zoneinfo.zip":                      "0 0644 0:0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types, modes and owners (-want +got):\n%s", diff)
	}
	wantConfig := v1.Config{
		User:       "65532:65532",
		Env:        []string{builderPath, "ZONEINFO=/zoneinfo.zip"},
		Entrypoint: []string{"/manager"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "wechat-token-operator",
			"org.opencontainers.image.description": "Every pod that needs a WeChat access_token always has a valid one",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     "v1.2.3",
			"org.opencontainers.image.revision":    "0123456789",
		},
	}
	if diff := cmp.Diff(wantConfig, i.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if i.Size >= limit {
		t.Errorf("it has %d bytes, and must have less than %d", i.Size, limit)
	}
}

// A trial has one image to load.
func TestOneImageHoldsAllPrograms(t *testing.T) {
	img, err := ofProgram(t.Context(), of("all"), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	i, want := contentOf(t, img), managerImage(t)
	for _, program := range []string{"/manager", "/token-server", "/fake-wechat", "/trial"} {
		if !strings.HasPrefix(i.Files[program], "0 0755 0:0") {
			t.Errorf("%s: got %q, want a program", program, i.Files[program])
		}
		delete(i.Files, program)
	}
	delete(want.Files, "/manager")
	if diff := cmp.Diff(want.Files, i.Files); diff != "" {
		t.Errorf("other files (-manager's +all):\n%s", diff)
	}
	if i.Config.User != want.Config.User || i.Config.Entrypoint != nil {
		t.Errorf("it runs %q as %s, want nothing by itself, as %s", i.Config.Entrypoint, i.Config.User, want.Config.User)
	}
}

// The Deployment says as what the image runs, and on which ports it can be met.
func TestDeploymentFitsTheImage(t *testing.T) {
	b, err := os.ReadFile("../config/manager/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(b, &d); err != nil {
		t.Fatal(err)
	}
	i := managerImage(t)
	pod, container := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
	if got, want := fmt.Sprintf("%d:%d", *pod.SecurityContext.RunAsUser, *pod.SecurityContext.RunAsGroup), i.Config.User; got != want {
		t.Errorf("the pod runs as %s, the image as %s", got, want)
	}
	if s := container.SecurityContext; !*pod.SecurityContext.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("the container may do more than the image needs: %+v", s)
	}
	if container.Command != nil || container.Args != nil {
		t.Errorf("the Deployment runs %v %v, and not what the image does", container.Command, container.Args)
	}
	// The ports are the defaults of the manager's flags.
	options, err := os.ReadFile("../cmd/manager/options.go")
	if err != nil {
		t.Fatal(err)
	}
	var listens, ports []string
	for _, m := range regexp.MustCompile(`bind-address", ":(\d+)"`).FindAllSubmatch(options, -1) {
		listens = append(listens, string(m[1]))
	}
	for _, p := range container.Ports {
		ports = append(ports, fmt.Sprint(p.ContainerPort))
	}
	if diff := cmp.Diff(listens, ports); diff != "" {
		t.Errorf("ports (-the manager listens on +the Deployment names):\n%s", diff)
	}
}

func TestOtherProgramsHaveNoImage(t *testing.T) {
	if _, err := ofProgram(t.Context(), of("demo"), "amd64"); err == nil || !strings.Contains(err.Error(), "manager, token-server and fake-wechat, and all") {
		t.Errorf("got %v, want an error that names the programs", err)
	}
}

// A registry gets one image for each platform under one name, and the same bytes
// from the same source.
func TestLayoutHoldsAnImageForEachPlatform(t *testing.T) {
	d, dir := of("fake-wechat"), t.TempDir()
	platforms := []string{"linux/amd64", "linux/arm64"}
	if err := writeLayout(t.Context(), d, platforms, dir); err != nil {
		t.Fatal(err)
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(entry); err != nil {
		t.Error(err)
	}
	m, err := entry.IndexManifest()
	if err != nil || len(m.Manifests) != 1 {
		t.Fatalf("%v: there are %+v, want one image", err, m)
	}
	if diff := cmp.Diff(map[string]string{"io.containerd.image.name": d.name, "org.opencontainers.image.ref.name": "test"}, m.Manifests[0].Annotations); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	index, err := entry.ImageIndex(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = index.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, found := range m.Manifests {
		img, err := index.Image(found.Digest)
		if err != nil {
			t.Fatal(err)
		}
		c, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if !c.Platform().Equals(*found.Platform) {
			t.Errorf("the index says %s, and the image %s", found.Platform, c.Platform())
		}
		if !c.Created.Equal(d.created) {
			t.Errorf("it is of %s, want %s", c.Created, d.created)
		}
		got = append(got, found.Platform.String())
	}
	if diff := cmp.Diff(platforms, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}

	var archives [2][]byte
	for i := range archives {
		file := filepath.Join(t.TempDir(), "image.tar")
		if err := saveLayout(t.Context(), d, platforms, file); err != nil {
			t.Fatal(err)
		}
		if archives[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two layouts of the same source differ")
	}
}

func TestOtherPlatformsHaveNoImage(t *testing.T) {
	for _, platform := range []string{"windows/amd64", "linux", "linux/arm/v7", ""} {
		if err := writeLayout(t.Context(), of("fake-wechat"), []string{platform}, t.TempDir()); err == nil || !strings.Contains(err.Error(), "has to be like linux/amd64") {
			t.Errorf("%q: got %v, want an error that says what a platform is", platform, err)
		}
	}
}
