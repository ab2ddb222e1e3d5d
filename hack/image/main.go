// Command image makes the image that the Dockerfile describes without a builder
// and without pulling anything, for clusters on a machine that has neither. It
// runs in the folder hack.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
)

func main() {
	var d description
	out := flag.String("o", "image.tar", "`file` to write: a docker-archive, for `ctr -n k8s.io images import`, `docker load` and `podman load`")
	other := flag.String("compare", "", "do not write, but compare with the image in this docker-archive `file`, which a builder made")
	platforms := flag.String("platforms", "", "comma-separated `list` of platforms, such as linux/amd64,linux/arm64: write an archive of an OCI layout with an image of each, for a registry")
	flag.StringVar(&d.name, "name", "", "`NAME:TAG` of the image; docker.io/library/PROGRAM:dev if not given")
	flag.StringVar(&d.version, "version", "dev", "its label org.opencontainers.image.version")
	flag.StringVar(&d.revision, "revision", "", "its label org.opencontainers.image.revision")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), `image makes the container image of a program of cmd. It needs Go and the package
ca-certificates, and no docker, podman or buildah.

  go run -C hack ./image -o ../image.tar -name docker.io/library/wechat-token-operator:dev manager

The program is manager if none is named. The same source gives the same bytes.
The time of the image is $SOURCE_DATE_EPOCH, or that of 1970.

Flags:
`)
		flag.PrintDefaults()
	}
	flag.Parse()
	d.program = "manager"
	if flag.NArg() > 0 {
		d.program = flag.Arg(0)
	}
	if d.name == "" {
		d.name = "docker.io/library/" + d.program + ":dev"
	}
	d.created = time.Unix(0, 0)
	if set := os.Getenv("SOURCE_DATE_EPOCH"); set != "" {
		seconds, err := strconv.ParseInt(set, 10, 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, "image: SOURCE_DATE_EPOCH has to be a number of seconds:", err)
			os.Exit(2)
		}
		d.created = time.Unix(seconds, 0)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, d, flag.NArg(), *out, *other, *platforms)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, d description, args int, out, other, platforms string) error {
	switch {
	case args > 1:
		return errors.New("an image holds one program; see --help")
	case platforms != "" && other != "":
		return errors.New("only an image of this machine's platform can be compared")
	case platforms != "":
		archive, err := layout(ctx, d, strings.Split(platforms, ","))
		if err != nil {
			return err
		}
		fmt.Printf("image: %s for %s is in %s\n", d.name, platforms, out)
		return os.WriteFile(out, archive, 0o644)
	}
	archive, err := assemble(ctx, d)
	if err != nil {
		return err
	}
	assembled, err := read(bytes.NewReader(archive))
	if err != nil {
		return fmt.Errorf("read what was assembled: %w", err)
	}
	if other == "" {
		if err := os.WriteFile(out, archive, 0o644); err != nil {
			return err
		}
		fmt.Printf("image: %s is in %s. %s\n", d.name, out, assembled.size)
		return nil
	}
	f, err := os.Open(other)
	if err != nil {
		return err
	}
	defer f.Close()
	return compare(os.Stdout, d, f, assembled)
}

// compare says how a builder's image differs from the assembled one.
func compare(w io.Writer, d description, archive io.Reader, assembled *image) error {
	built, err := read(archive)
	if err != nil {
		return fmt.Errorf("read the builder's image: %w", err)
	}
	fmt.Fprintf(w, "image: %s, built:     %s\n", d.program, built.size)
	fmt.Fprintf(w, "image: %s, assembled: %s\n", d.program, assembled.size)
	built.forgetBuilder()
	if diff := cmp.Diff(assembled.Content, built.Content); diff != "" {
		return fmt.Errorf("the Dockerfile and hack/image do not make the same image of %s (-assembled +built):\n%s", d.program, diff)
	}
	for _, s := range []size{built.size, assembled.size} {
		if s.plain >= limit {
			return fmt.Errorf("the image of %s is too big: %d bytes, and it must be less than %d", d.program, s.plain, limit)
		}
	}
	fmt.Fprintf(w, "image: %s, both hold the same %d files and folders and the same configuration.\n", d.program, len(built.Content.Files))
	return nil
}
