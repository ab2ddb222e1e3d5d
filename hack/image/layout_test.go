package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A registry gets one image for each platform under one name. All that names
// something by its digest finds it, and the layers are the images'.
func TestLayoutHoldsAnImageForEachPlatform(t *testing.T) {
	d := of("fake-wechat")
	d.created = time.Unix(1700000000, 0)
	platforms := []string{"linux/amd64", "linux/arm64"}
	archive, err := layout(t.Context(), d, platforms)
	if err != nil {
		t.Fatal(err)
	}
	again, err := layout(t.Context(), d, platforms)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(archive, again) {
		t.Error("two layouts of the same source differ")
	}
	files := map[string][]byte{}
	if err := walk(bytes.NewReader(archive), func(h *tar.Header, data []byte) error {
		files[h.Name] = data
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// blob is what a descriptor names.
	blob := func(d descriptor) []byte {
		data := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		if got := "sha256:" + digest(data); got != d.Digest || len(data) != d.Size {
			t.Fatalf("%+v names what has %d bytes and the digest %s", d, len(data), got)
		}
		return data
	}
	decode := func(data []byte, v any) {
		if err := json.Unmarshal(data, v); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := string(files["oci-layout"]), `{"imageLayoutVersion":"1.0.0"}`; got != want {
		t.Errorf("oci-layout is %s, want %s", got, want)
	}
	var entry, index ociIndex
	decode(files["index.json"], &entry)
	if len(entry.Manifests) != 1 {
		t.Fatalf("there are %d images, want one", len(entry.Manifests))
	}
	if diff := cmp.Diff(map[string]string{"io.containerd.image.name": d.name, "org.opencontainers.image.ref.name": "test"}, entry.Manifests[0].Annotations); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	decode(blob(entry.Manifests[0]), &index)
	var got []string
	for _, m := range index.Manifests {
		var image ociManifest
		decode(blob(m), &image)
		var c configFile
		decode(blob(image.Config), &c)
		platform := c.OS + "/" + c.Architecture
		if m.Platform.OS+"/"+m.Platform.Architecture != platform {
			t.Errorf("the index says %+v, and the image %s", m.Platform, platform)
		}
		got = append(got, platform)
		if !c.Created.Equal(d.created) {
			t.Errorf("it is of %s, want %s", c.Created, d.created)
		}
		z, err := gzip.NewReader(bytes.NewReader(blob(image.Layers[0])))
		if err != nil {
			t.Fatal(err)
		}
		layer, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(only(layer), c.RootFS); diff != "" || len(image.Layers) != 1 {
			t.Errorf("the configuration names other layers (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(platforms, got); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

func TestOtherPlatformsHaveNoImage(t *testing.T) {
	for _, platform := range []string{"windows/amd64", "linux", "linux/arm/v7", ""} {
		if _, err := layout(t.Context(), of("fake-wechat"), []string{platform}); err == nil || !strings.Contains(err.Error(), "has to be like linux/amd64") {
			t.Errorf("%q: got %v, want an error that says what a platform is", platform, err)
		}
	}
}
