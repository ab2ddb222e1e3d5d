//go:build linux

// Command node makes this machine a Kubernetes cluster of one node, all of it
// from source or from Debian's packages: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, kube-proxy, kubelet and containerd.
// It is for the tests that need real pods, where nothing can be downloaded.
//
// All of it is in namespaces of its own (processes, mounts, network), so that
// ending one process ends it all, and nothing of this machine's network changes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `node makes this machine a Kubernetes cluster of one node. It needs Linux and root.

  bin/node up                bring it up, or do nothing where it is up
  bin/node load FILE...      load images from the tar files of hack/image
  bin/node restart PROGRAM   kill one of its programs, such as kubelet; it comes back
  bin/node down              end it and remove everything it made

It runs in the root of the repository, with the programs that
hack/controlplane/build.sh leaves in bin/controlplane, and writes to
/var/lib/wechattoken-node.
`

func main() {
	if len(os.Args) == 2 && os.Args[1] == initCommand {
		if err := beInit(); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}
	n := node{dir: "/var/lib/wechattoken-node", programs: "bin/controlplane"}
	flag.Usage = func() { fmt.Fprint(flag.CommandLine.Output(), usage) }
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := n.command(ctx, flag.Arg(0), flag.Args())
	stop()
	switch {
	case errors.Is(err, errUsage):
		flag.CommandLine.SetOutput(os.Stderr)
		flag.Usage()
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("wrong arguments")

func (n node) command(ctx context.Context, name string, args []string) error {
	switch {
	case name == "up" && len(args) == 1:
		return n.up(ctx)
	case name == "load" && len(args) > 1:
		return n.load(args[1:]...)
	case name == "restart" && len(args) == 2:
		return n.restart(args[1])
	case name == "down" && len(args) == 1:
		return n.down()
	default:
		return errUsage
	}
}

func sayf(format string, args ...any) { fmt.Printf("node: "+format+"\n", args...) }
