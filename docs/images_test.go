package docs_test

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	// ofPod is an image that a manifest names.
	ofPod = regexp.MustCompile(`(?m)^[ -]*image: ["']?([\w./:@-]+)`)
	// ofCommand is one that a command names.
	ofCommand = regexp.MustCompile(`^--image=(.+)$`)
	// inRow is one that a row of a table is about.
	inRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
)

// Users who cannot reach our registries, or those of others, copy what this page names.
func TestThePageOfTheGapNamesEveryImage(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	for image := range named(t) {
		if !strings.HasPrefix(image, "registry.example.com/") { // the reader's
			want[image] = true
		}
	}
	for _, image := range regexp.MustCompile(`(?m)^image (\S+) `).FindAllStringSubmatch(sourceOf(t, "hack/release/release.sh"), -1) {
		want[image[1]] = true
	}
	want[regexp.MustCompile(`newName: (\S+)`).FindStringSubmatch(sourceOf(t, "config/trial/kustomization.yaml"))[1]] = true
	base := regexp.MustCompile(`(?m)^ARG BASE=([^@]+)`).FindStringSubmatch(sourceOf(t, "Dockerfile"))
	want[base[1]] = true
	for _, name := range []string{"docs/air-gapped.md", "docs/zh/air-gapped.md"} {
		var got []string
		for _, row := range inRow.FindAllStringSubmatch(sourceOf(t, name), -1) {
			got = append(got, row[1])
		}
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), got); diff != "" {
			t.Errorf("images (-manifests, samples and pages +%s):\n%s", name, diff)
		}
	}
}

// A name without a registry is pulled from Docker Hub, without the reader's knowing; and
// without a tag, nobody knows what.
func TestImagesNameTheirRegistryAndTag(t *testing.T) {
	t.Parallel()
	for image, where := range named(t) {
		if why := vague(image); why != "" {
			t.Errorf("%s: the image %s: %s", where, image, why)
		}
	}
	for image, want := range map[string]string{
		"docker.io/library/busybox:1.37": "",
		"localhost:5000/busybox:1.37":    "",
		"registry.example.com/a@sha256:0123456789012345678901234567890123456789012345678901234567890123": "",
		"wechat-token-operator":             "", // what `make image` builds
		"busybox:1.37":                      "no registry",
		"curlimages/curl:8.16.0":            "no registry",
		"docker.io/library/busybox":         "no tag",
		"localhost:5000/busybox":            "no tag",
		"docker.io/library/busybox:latest":  "no tag",
		"quay.io/curl/curl@sha256:01234567": "no tag",
	} {
		if got := vague(image); (want == "" && got != "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}

// built are images that have their registry and tag from a kustomization or a release.
var built = []string{"wechat-token-operator", "wechat-token-server", "fake-wechat"}

// vague says what an image leaves open; empty if that is nothing.
func vague(image string) string {
	registry, _, _ := strings.Cut(image, "/")
	switch {
	case slices.Contains(built, image):
		return ""
	case registry == image || !strings.ContainsAny(registry, ".:"):
		return "it names no registry"
	case regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(image):
		return ""
	case !strings.Contains(path.Base(image), ":") || strings.HasSuffix(image, ":latest") || strings.Contains(image, "@"):
		return "it has no tag that stays"
	default:
		return ""
	}
}

// named are the images in manifests, samples and pages, and a place where each is.
func named(t *testing.T) map[string]string {
	t.Helper()
	all := inManifests(t)
	for name, p := range pages {
		for _, b := range p.blocks {
			for _, image := range ofPod.FindAllStringSubmatch(b.code, -1) {
				all[image[1]] = name
			}
		}
		commands, _ := typed(t, p)
		for _, c := range commands {
			for _, arg := range c.args {
				if image := ofCommand.FindStringSubmatch(arg); image != nil {
					all[image[1]] = name
				}
			}
		}
	}
	if len(all) < 4 {
		t.Fatalf("found only the images %v: are they read?", slices.Sorted(maps.Keys(all)))
	}
	return all
}

// inManifests are those in config, and a file where each is.
func inManifests(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(filepath.Join(root, "config"), func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || path.Ext(file) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(file)
		for _, image := range ofPod.FindAllSubmatch(text, -1) {
			all[strings.TrimSuffix(string(image[1]), ":dev")] = file // what `make image` builds
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
