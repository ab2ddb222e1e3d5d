package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// description is what the images of this project differ in.
type description struct {
	name, program, version, revision string
	created                          time.Time
}

// titles are the labels title and description of each program's image.
var titles = map[string][2]string{
	"manager":     {"wechat-token-operator", "Every pod that needs a WeChat access_token always has a valid one"},
	"fake-wechat": {"fake-wechat", "The WeChat API for tests and demonstrations"},
}

// builderPath is what docker, podman and buildah add to an image that has no PATH.
const builderPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// The formats of `docker save`: github.com/moby/docker-image-spec. Everything
// that a Dockerfile can say of a process has its field here, so that compare
// sees what this program does not set.
type (
	manifest struct {
		Config   string   `json:"Config"`
		RepoTags []string `json:"RepoTags"`
		Layers   []string `json:"Layers"`
	}
	configFile struct {
		Architecture string    `json:"architecture"`
		OS           string    `json:"os"`
		Created      time.Time `json:"created"`
		Config       config    `json:"config"`
		RootFS       rootFS    `json:"rootfs"`
	}
	config struct {
		User         string              `json:",omitempty"`
		ExposedPorts map[string]struct{} `json:",omitempty"`
		Env          []string            `json:",omitempty"`
		Entrypoint   []string            `json:",omitempty"`
		Cmd          []string            `json:",omitempty"`
		Healthcheck  any                 `json:",omitempty"`
		Volumes      map[string]struct{} `json:",omitempty"`
		WorkingDir   string              `json:",omitempty"`
		Labels       map[string]string   `json:",omitempty"`
		StopSignal   string              `json:",omitempty"`
	}
	rootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
)

// assemble makes the image as the Dockerfile does, for this machine's platform,
// as a docker-archive.
func assemble(ctx context.Context, d description) ([]byte, error) {
	layer, c, err := build(ctx, d, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	return save(d.name, layer, c)
}

// build makes the one layer of an image for linux and an architecture, and its
// configuration.
func build(ctx context.Context, d description, arch string) ([]byte, configFile, error) {
	title, ok := titles[d.program]
	if !ok {
		return nil, configFile{}, fmt.Errorf("there is no image of %q: the programs are manager and fake-wechat", d.program)
	}
	files, err := content(ctx, d, arch)
	if err != nil {
		return nil, configFile{}, err
	}
	layer, err := pack(files)
	if err != nil {
		return nil, configFile{}, err
	}
	return layer, configFile{
		Architecture: arch,
		OS:           "linux",
		Created:      d.created.UTC(),
		Config: config{
			User:       "65532:65532",
			Env:        []string{"PATH=" + builderPath, "ZONEINFO=/zoneinfo.zip"},
			Entrypoint: []string{"/" + d.program},
			Labels: map[string]string{
				"org.opencontainers.image.title":       title[0],
				"org.opencontainers.image.description": title[1],
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.version":     d.version,
				"org.opencontainers.image.revision":    d.revision,
			},
		},
	}, nil
}

// save makes the docker-archive of an image with one layer.
func save(name string, layer []byte, c configFile) ([]byte, error) {
	c.RootFS = only(layer)
	config, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	configName, layerName := digest(config)+".json", digest(layer)+".tar"
	manifest, err := json.Marshal([]manifest{{Config: configName, RepoTags: []string{name}, Layers: []string{layerName}}})
	if err != nil {
		return nil, err
	}
	return pack([]file{{configName, 0o644, config}, {layerName, 0o644, layer}, {"manifest.json", 0o644, manifest}})
}

// only is the root of an image with this layer.
func only(layer []byte) rootFS {
	return rootFS{Type: "layers", DiffIDs: []string{"sha256:" + digest(layer)}}
}

// file is one of a tar archive; a folder where its path ends with a slash.
type file struct {
	path string
	mode int64
	data []byte
}

// content is what the image holds, sorted.
func content(ctx context.Context, d description, arch string) ([]file, error) {
	tmp, err := os.MkdirTemp("", "image")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	binary := filepath.Join(tmp, d.program)
	compile := exec.CommandContext(ctx, "hack/image/compile.sh", binary, "./cmd/"+d.program)
	compile.Dir = ".."
	compile.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "VERSION="+d.version, "REVISION="+d.revision)
	if out, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s for linux/%s: %w\n%s", d.program, arch, err, out)
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("ask go where it is: %w", err)
	}

	folders := []file{{"etc/", 0o755, nil}, {"etc/ssl/", 0o755, nil}, {"etc/ssl/certs/", 0o755, nil}}
	files := []file{
		{"etc/ssl/certs/ca-certificates.crt", 0o644, nil},
		{d.program, 0o755, nil},
		{"zoneinfo.zip", 0o644, nil},
	}
	for i, source := range []string{
		"/etc/ssl/certs/ca-certificates.crt",
		binary,
		filepath.Join(strings.TrimSpace(string(goroot)), "lib/time/zoneinfo.zip"),
	} {
		files[i].data, err = os.ReadFile(source)
		if i == 0 && errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("this machine has no certificate authorities to put into the image: install the package ca-certificates: %w", err)
		} else if err != nil {
			return nil, err
		}
	}
	return append(folders, files...), nil
}

// pack makes a tar archive in which everything belongs to root and is of 1970.
func pack(files []file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.path, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)}
		if strings.HasSuffix(f.path, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
