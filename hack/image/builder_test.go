//go:build builder

package main

import (
	"flag"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

var built = flag.String("built", "", "docker-archive `file` that a builder has made of the Dockerfile")

// A builder and this program make the same image, but for the label that says who
// built it. hack/image/test.sh runs this for each program.
func TestBuilderMakesTheSame(t *testing.T) {
	ours, err := ofProgram(t.Context(), of(flag.Arg(0)), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := tarball.ImageFromPath(*built, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, got := contentOf(t, ours), contentOf(t, theirs)
	delete(got.Config.Labels, "io.buildah.version")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the Dockerfile and hack/image do not make the same image (-assembled +built):\n%s", diff)
	}
}
