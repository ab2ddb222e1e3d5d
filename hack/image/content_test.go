//go:build integration || builder

package main

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// limit is how big an image may be, unpacked. With controller-runtime's filter
// for the metrics, and k8s.io/apiserver behind it, it was 54 MB.
const limit = 45_000_000

// content is all of an image that matters to who runs it.
type content struct {
	Platform string
	Config   v1.Config
	Files    map[string]string // type, mode, owner, link and checksum of each
	Size     int64             // of all files
}

func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil { // as `go run -C hack ./image`
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func of(program string) description {
	return description{name: "localhost/" + program + ":test", program: program, version: "v1.2.3", revision: "0123456789", created: time.Unix(1700000000, 0)}
}

// contentOf reads an image. What takes something away from a lower layer counts as
// a file.
func contentOf(t *testing.T, img v1.Image) *content {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	c := &content{Platform: config.Platform().String(), Config: config.Config, Files: map[string]string{}}
	for _, layer := range layers {
		r, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := c.add(r); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// add puts a layer above those that are there.
func (c *content) add(layer io.Reader) error {
	for t := tar.NewReader(layer); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, t); err != nil {
			return err
		}
		c.Files[path.Clean("/"+h.Name)] = fmt.Sprintf("%c %04o %d:%d %s %x", h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.Linkname, sum.Sum(nil))
		c.Size += h.Size
	}
}
