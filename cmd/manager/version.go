package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version and revision are set by the linker where the build knows no Git, as
// that of an image.
var version, revision string

// build says what this program was built from.
type build struct{ version, revision string }

// thisBuild is what the linker was told, or else what Go has found in Git.
func thisBuild() build {
	b := build{version: version, revision: revision}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.version = cmp.Or(b.version, info.Main.Version)
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.revision = cmp.Or(b.revision, s.Value)
		}
	}
	return b
}

func (b build) String() string {
	return fmt.Sprintf("%s %s, revision %s, %s %s/%s", name, cmp.Or(b.version, "unknown"), cmp.Or(b.revision, "unknown"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
