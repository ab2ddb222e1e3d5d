package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// limit is how big an image may be, unpacked. With controller-runtime's filter
// for the metrics, and k8s.io/apiserver behind it, it was 54 MB.
const limit = 45_000_000

// image is what an archive holds.
type image struct {
	Content

	size size
}

// Content is all that matters to who runs an image.
type Content struct {
	Names    []string
	Platform string
	Config   config
	Files    map[string]entry
}

// entry is a file or a folder of an image.
type entry struct {
	Type     string
	Mode     string
	UID, GID int
	Link     string
	Size     int64
	Digest   string
}

// size is that of the layers: as files, and as a registry keeps them.
type size struct{ plain, compressed int }

func (s size) String() string {
	return fmt.Sprintf("%.1f MB, compressed %.1f MB.", float64(s.plain)/1e6, float64(s.compressed)/1e6)
}

// read reads a docker-archive with one image.
func read(r io.Reader) (*image, error) {
	blobs := map[string][]byte{}
	links := map[string]string{} // buildah names a layer twice
	err := walk(r, func(h *tar.Header, data []byte) error {
		if h.Typeflag == tar.TypeSymlink {
			links[h.Name] = path.Join(path.Dir(h.Name), h.Linkname)
		}
		blobs[h.Name] = data
		return nil
	})
	if err != nil {
		return nil, err
	}
	blob := func(name string) []byte {
		if target, ok := links[name]; ok {
			name = target
		}
		return blobs[name]
	}

	var manifests []manifest
	if err := json.Unmarshal(blob("manifest.json"), &manifests); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	if len(manifests) != 1 {
		return nil, fmt.Errorf("the archive holds %d images, not one", len(manifests))
	}
	var c configFile
	if err := json.Unmarshal(blob(manifests[0].Config), &c); err != nil {
		return nil, fmt.Errorf("the image's configuration: %w", err)
	}
	i := &image{Content: Content{
		Names:    manifests[0].RepoTags,
		Platform: c.OS + "/" + c.Architecture,
		Config:   c.Config,
		Files:    map[string]entry{},
	}}
	if len(manifests[0].Layers) != len(c.RootFS.DiffIDs) {
		return nil, errors.New("the manifest and the configuration differ in the number of layers")
	}
	for n, name := range manifests[0].Layers {
		layer := blob(name)
		if got := "sha256:" + digest(layer); got != c.RootFS.DiffIDs[n] {
			return nil, fmt.Errorf("layer %s is %s, and the configuration says %s", name, got, c.RootFS.DiffIDs[n])
		}
		if err := i.add(layer); err != nil {
			return nil, fmt.Errorf("layer %s: %w", name, err)
		}
	}
	return i, nil
}

// add puts a layer above those that are there.
func (i *image) add(layer []byte) error {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(layer); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	i.size.plain += len(layer)
	i.size.compressed += z.Len()
	return walk(bytes.NewReader(layer), func(h *tar.Header, data []byte) error {
		name := path.Clean("/" + h.Name)
		if strings.HasPrefix(path.Base(name), ".wh.") {
			return fmt.Errorf("%s: a layer of this image removes nothing", name)
		}
		e := entry{Type: string(h.Typeflag), Mode: fmt.Sprintf("%04o", h.Mode&0o7777), UID: h.Uid, GID: h.Gid, Link: h.Linkname, Size: h.Size}
		if h.Typeflag == tar.TypeReg {
			e.Digest = digest(data)
		}
		i.Files[name] = e
		return nil
	})
}

// forgetBuilder takes out what tells who built the image and nothing else.
func (i *image) forgetBuilder() { delete(i.Config.Labels, "io.buildah.version") }

func walk(r io.Reader, visit func(*tar.Header, []byte) error) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		if err := visit(h, data); err != nil {
			return err
		}
	}
}
