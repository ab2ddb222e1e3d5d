package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// pack makes a tar archive of a folder, in which everything belongs to root and is
// of 1970. A mode tells only what can be run, since an umask decides the rest.
func pack(root string) ([]byte, error) {
	var found, packed bytes.Buffer
	w := tar.NewWriter(&found)
	if err := errors.Join(w.AddFS(os.DirFS(root)), w.Close()); err != nil {
		return nil, err
	}
	w = tar.NewWriter(&packed)
	for r := tar.NewReader(&found); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			err = w.Close()
			return packed.Bytes(), err
		}
		if err != nil {
			return nil, err
		}
		mode := int64(0o644)
		if h.Mode&0o100 != 0 {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Name: h.Name, Typeflag: h.Typeflag, Linkname: h.Linkname, Size: h.Size, Mode: mode, ModTime: time.Unix(0, 0)}); err != nil {
			return nil, err
		}
		if _, err := io.Copy(w, r); err != nil {
			return nil, err
		}
	}
}

// save writes a docker-archive of an image.
func save(img v1.Image, tag, file string) error {
	ref, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(file, ref, img)
}

// saveLayout writes an archive of an OCI layout that holds the image of a program
// for several platforms.
func saveLayout(ctx context.Context, d description, platforms []string, file string) error {
	dir, err := os.MkdirTemp("", "layout")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeLayout(ctx, d, platforms, dir); err != nil {
		return err
	}
	packed, err := pack(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(file, packed, 0o644)
}

// untyped is an image whose entry in an index has no artifactType. Skopeo 1.9
// does not know the field, and refuses to push an index that it would change.
type untyped struct{ v1.Image }

// ArtifactType is asked for by partial.Descriptor.
func (untyped) ArtifactType() (string, error) { return "", nil }

func writeLayout(ctx context.Context, d description, platforms []string, dir string) error {
	tag, err := name.NewTag(d.name)
	if err != nil {
		return err
	}
	index := v1.ImageIndex(empty.Index)
	var labels map[string]string // the images' are all the same
	for _, platform := range platforms {
		arch, ok := strings.CutPrefix(platform, "linux/")
		if !ok || strings.Contains(arch, "/") {
			return fmt.Errorf("there is no image for the platform %q: it has to be like linux/amd64", platform)
		}
		img, err := ofProgram(ctx, d, arch)
		if err != nil {
			return err
		}
		c, err := img.ConfigFile()
		if err != nil {
			return err
		}
		labels = c.Config.Labels
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: untyped{img}, Platform: c.Platform()})
	}
	into, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	// The names by which containerd, and podman and skopeo, know the image.
	return into.AppendIndex(mutate.Annotations(index, labels).(v1.ImageIndex), layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          d.name,
		"org.opencontainers.image.ref.name": tag.TagStr(),
	}))
}
