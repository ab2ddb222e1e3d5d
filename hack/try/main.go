// Command try puts the trial of config/trial into the cluster of the kubeconfig, and takes
// it out again. `make try` and `make try-down` run it. It runs in the folder hack.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `try puts the trial of config/trial into the cluster of your kubeconfig: the operator, a
fake WeChat, and a program that uses the token.

  make try         build the image, load it onto the nodes, apply, and wait
  make try-down    remove all of it

It loads the image into clusters of kind, k3d, minikube and Docker Desktop, and of k3s,
containerd and Docker on this machine. Into others it puts nothing unless you name one:

  make image PROGRAM=all IMAGE=registry.example.com/wechat-token-operator-trial:dev
  docker push registry.example.com/wechat-token-operator-trial:dev
  make try CONTEXT=staging IMAGE=registry.example.com/wechat-token-operator-trial:dev
`

func main() {
	t := trial{out: os.Stdout}
	flag.StringVar(&t.context, "context", "", "the `context` of the kubeconfig to use, whatever its cluster is; the current one when left out")
	flag.StringVar(&t.image, "image", "", "an `image` of all programs that the nodes can pull, instead of one that is built and loaded")
	kubectl := flag.String("kubectl", "kubectl", "the `command` kubectl")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	t.kubectlCommand = strings.Fields(*kubectl)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := os.Chdir("..")
	if err == nil {
		err = t.do(ctx, flag.Args())
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "try:", err)
		os.Exit(1)
	}
}

func (t *trial) do(ctx context.Context, args []string) error {
	switch strings.Join(args, " ") {
	case "up":
		return t.up(ctx)
	case "down":
		return t.down(ctx)
	default:
		return errors.New("the argument is up or down; see --help")
	}
}
