// Command image makes the image that the Dockerfile describes without a builder
// and without pulling anything, for clusters on a machine that has neither, and
// for a release. It runs in the folder hack.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.out, "o", "image.tar", "`file` to write: a docker-archive, for `ctr -n k8s.io images import`, `docker load` and `podman load`")
	flag.StringVar(&o.platforms, "platforms", "", "comma-separated `list` of platforms, such as linux/amd64,linux/arm64: write an archive of an OCI layout with an image of each, for a registry")
	flag.StringVar(&o.root, "root", "", "make an image of this `folder` instead of a program of cmd; the argument is what it runs")
	flag.StringVar(&o.name, "name", "", "`NAME:TAG` of the image; docker.io/library/PROGRAM:dev if not given")
	flag.StringVar(&o.version, "version", "dev", "its label org.opencontainers.image.version")
	flag.StringVar(&o.revision, "revision", "", "its label org.opencontainers.image.revision")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), `image makes the container image of a program of cmd. It needs Go and the package
ca-certificates, and no docker, podman or buildah.

  go run -C hack ./image -o ../image.tar -name docker.io/library/wechat-token-operator:dev manager

The program is manager if none is named, and all is one image with all of them. The same source gives the same bytes.
The time of the image is $SOURCE_DATE_EPOCH, or that of 1970.

Flags:
`)
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

type options struct {
	description

	out, platforms, root string
}

func run(ctx context.Context, o options, args []string) (err error) {
	if len(args) > 1 {
		return errors.New("an image holds one program; see --help")
	}
	o.program = strings.Join(args, "")
	if o.root != "" {
		img, err := ofFolder(o.root, o.program)
		if err != nil {
			return err
		}
		return save(img, o.name, o.out)
	}
	o.program = cmp.Or(o.program, "manager")
	o.name = cmp.Or(o.name, "docker.io/library/"+o.program+":dev")
	if o.created, err = created(); err != nil {
		return err
	}
	if o.platforms != "" {
		return saveLayout(ctx, o.description, strings.Split(o.platforms, ","), o.out)
	}
	img, err := ofProgram(ctx, o.description, runtime.GOARCH)
	if err != nil {
		return err
	}
	return save(img, o.name, o.out)
}

// created is the time of the image.
func created() (time.Time, error) {
	set := os.Getenv("SOURCE_DATE_EPOCH")
	if set == "" {
		return time.Unix(0, 0), nil
	}
	seconds, err := strconv.ParseInt(set, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH has to be a number of seconds: %w", err)
	}
	return time.Unix(seconds, 0), nil
}
