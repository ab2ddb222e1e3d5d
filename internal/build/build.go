// Package build says what a program of ours was built from.
package build

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version and revision are set by the linker where the build knows no Git, as
// that of an image: hack/image/compile.sh.
var version, revision string

// Info is what a program was built from.
type Info struct {
	Version  string // as v0.1.0; empty if nobody knows
	Revision string // of Git; empty if nobody knows
}

// This is what the linker was told, or else what Go has found in Git.
func This() Info {
	b := Info{Version: version, Revision: revision}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(b.Version, info.Main.Version)
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = cmp.Or(b.Revision, s.Value)
		}
	}
	return b
}

// String is what --version prints behind the name of the program.
func (b Info) String() string {
	return fmt.Sprintf("%s, revision %s, %s %s/%s", cmp.Or(b.Version, "unknown"), cmp.Or(b.Revision, "unknown"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
