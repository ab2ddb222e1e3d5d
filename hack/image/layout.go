package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The formats of the Open Container Initiative: github.com/opencontainers/image-spec.
type (
	descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Platform    *platform         `json:"platform,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	platform struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	}
	ociManifest struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}
	ociIndex struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []descriptor      `json:"manifests"`
		Annotations   map[string]string `json:"annotations,omitempty"`
	}
)

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// blobs are the files of a layout, by their digest.
type blobs []file

// add puts a file beside those that are there.
func (b *blobs) add(mediaType string, data []byte) descriptor {
	f := file{"blobs/sha256/" + digest(data), 0o644, data}
	if !slices.ContainsFunc(*b, func(o file) bool { return o.path == f.path }) {
		*b = append(*b, f)
	}
	return descriptor{MediaType: mediaType, Digest: "sha256:" + digest(data), Size: len(data)}
}

func (b *blobs) addJSON(mediaType string, v any) (descriptor, error) {
	data, err := json.Marshal(v)
	return b.add(mediaType, data), err
}

// layout makes a tar archive of an OCI layout that holds one image for several
// platforms.
func layout(ctx context.Context, d description, platforms []string) ([]byte, error) {
	var all blobs
	index := ociIndex{SchemaVersion: 2, MediaType: indexType}
	for _, name := range platforms {
		arch, ok := strings.CutPrefix(name, "linux/")
		if !ok || strings.Contains(arch, "/") {
			return nil, fmt.Errorf("there is no image for the platform %q: it has to be like linux/amd64", name)
		}
		layer, c, err := build(ctx, d, arch)
		if err != nil {
			return nil, err
		}
		m, err := all.image(layer, c)
		if err != nil {
			return nil, err
		}
		m.Platform = &platform{Architecture: arch, OS: c.OS}
		index.Manifests = append(index.Manifests, m)
		index.Annotations = c.Config.Labels // those of the last one: they are all the same
	}
	image, err := all.addJSON(indexType, index)
	if err != nil {
		return nil, err
	}
	// The names by which containerd, and podman and skopeo, know the image.
	_, tag, _ := strings.Cut(d.name[strings.LastIndex(d.name, "/")+1:], ":")
	image.Annotations = map[string]string{
		"io.containerd.image.name":          d.name,
		"org.opencontainers.image.ref.name": tag,
	}
	entry, err := json.Marshal(ociIndex{SchemaVersion: 2, MediaType: indexType, Manifests: []descriptor{image}})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b file) int { return cmp.Compare(a.path, b.path) })
	return pack(append([]file{
		{"oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", 0o644, entry},
		{"blobs/", 0o755, nil},
		{"blobs/sha256/", 0o755, nil},
	}, all...))
}

// image adds an image for one platform.
func (b *blobs) image(layer []byte, c configFile) (descriptor, error) {
	c.RootFS = only(layer)
	config, err := b.addJSON(configType, c)
	if err != nil {
		return descriptor{}, err
	}
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return descriptor{}, err
	}
	if _, err := w.Write(layer); err != nil {
		return descriptor{}, err
	}
	if err := w.Close(); err != nil {
		return descriptor{}, err
	}
	return b.addJSON(manifestType, ociManifest{
		SchemaVersion: 2,
		MediaType:     manifestType,
		Config:        config,
		Layers:        []descriptor{b.add(layerType, zipped.Bytes())},
	})
}
