package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// description is what the images of this project differ in.
type description struct {
	name, program, version, revision string
	created                          time.Time
}

// titles are the labels title and description of each program's image.
var titles = map[string][2]string{
	"manager":      {"wechat-token-operator", "Every pod that needs a WeChat access_token always has a valid one"},
	"token-server": {"wechat-token-server", "Hands WeChat access_tokens to servers outside the cluster"},
	"fake-wechat":  {"fake-wechat", "The WeChat API for tests and demonstrations"},
	all:            {"wechat-token-operator-trial", "The operator, the WeChat API for demonstrations, and what uses a token"},
}

// all is the image that has every program, for a trial. It runs none by itself.
const all = "all"

// programs are what the image of a program holds.
func programs(program string) []string {
	if program == all {
		return []string{"manager", "token-server", "fake-wechat", "trial"}
	}
	return []string{program}
}

// builderPath is what docker, podman and buildah add to an image that has no PATH.
const builderPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// user runs every image: nobody of the machine's.
const user = "65532:65532"

// ofProgram makes the image as the Dockerfile does, for linux and an architecture.
func ofProgram(ctx context.Context, d description, arch string) (v1.Image, error) {
	title, ok := titles[d.program]
	if !ok {
		return nil, fmt.Errorf("there is no image of %q: the programs are manager, token-server and fake-wechat, and all is for all of them", d.program)
	}
	root, err := os.MkdirTemp("", "image")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(root)
	if err := fill(ctx, root, d, arch); err != nil {
		return nil, err
	}
	var entrypoint []string
	if d.program != all {
		entrypoint = []string{"/" + d.program}
	}
	return image(root, v1.ConfigFile{
		Architecture: arch,
		OS:           "linux",
		Created:      v1.Time{Time: d.created.UTC()},
		Config: v1.Config{
			User:       user,
			Env:        []string{builderPath, "ZONEINFO=/zoneinfo.zip"},
			Entrypoint: entrypoint,
			Labels: map[string]string{
				"org.opencontainers.image.title":       title[0],
				"org.opencontainers.image.description": title[1],
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.version":     d.version,
				"org.opencontainers.image.revision":    d.revision,
			},
		},
	})
}

// fill puts into a folder what the image of a program holds.
func fill(ctx context.Context, root string, d description, arch string) error {
	certificates := filepath.Join(root, "etc/ssl/certs")
	if err := os.MkdirAll(certificates, 0o755); err != nil {
		return err
	}
	args := []string{root + "/"}
	for _, program := range programs(d.program) {
		args = append(args, "./cmd/"+program)
	}
	compile := exec.CommandContext(ctx, "hack/image/compile.sh", args...)
	compile.Dir = ".."
	compile.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "VERSION="+d.version, "REVISION="+d.revision)
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s for linux/%s: %w\n%s", d.program, arch, err, out)
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("ask go where it is: %w", err)
	}
	if err := copyFile(filepath.Join(root, "zoneinfo.zip"), filepath.Join(strings.TrimSpace(string(goroot)), "lib/time/zoneinfo.zip")); err != nil {
		return err
	}
	var missing error
	for _, file := range authorities {
		err := copyFile(filepath.Join(certificates, "ca-certificates.crt"), file)
		if err == nil {
			return nil
		}
		missing = errors.Join(missing, err)
	}
	return fmt.Errorf("this machine has no certificate authorities to put into the image: install the package ca-certificates: %w", missing)
}

// authorities are where Debian, Red Hat and macOS have the certificates that all trust.
var authorities = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// ofFolder makes an image of a folder for this machine. It runs entrypoint,
// unless that is empty.
func ofFolder(root, entrypoint string) (v1.Image, error) {
	c := v1.ConfigFile{Architecture: runtime.GOARCH, OS: "linux", Config: v1.Config{User: user, Env: []string{"PATH=/bin"}}}
	if entrypoint != "" {
		c.Config.Entrypoint = []string{entrypoint}
	}
	return image(root, c)
}

// image makes an image whose one layer is a folder.
func image(root string, c v1.ConfigFile) (v1.Image, error) {
	packed, err := pack(root)
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	c.RootFS.Type = "layers"
	img, err := mutate.ConfigFile(empty.Image, &c)
	if err != nil {
		return nil, err
	}
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "hack/image", Created: c.Created}})
}
