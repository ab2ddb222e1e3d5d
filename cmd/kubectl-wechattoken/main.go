// Command kubectl-wechattoken is what users of wechat-token-operator need at a
// terminal: a first token, the state of all, what is wrong, a new token at once,
// and an end to one that has leaked. It is a plugin of kubectl.
//
// It decides in pure functions what to say, from the objects and the time
// (rows.go, progress.go, checks_*.go). What it does to the cluster is in
// cluster.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	// The libraries have nothing to say that the errors do not.
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())

	args := os.Args[1:]
	// kubectl completes the arguments of a plugin with a program of this name.
	if strings.HasPrefix(filepath.Base(os.Args[0]), "kubectl_complete-") {
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, args, genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr})
	stop()
	os.Exit(code)
}

// The exit codes. They are API: scripts go by them.
const (
	exitNo          = 1   // the answer is no: something is not Ready or there already, a check fails, the refresh failed
	exitUsage       = 2   // the command line or the AppSecret is wrong
	exitCluster     = 3   // the cluster cannot be asked: not reachable, not allowed, no such object
	exitTimeout     = 4   // --timeout has passed
	exitLimit       = 5   // WeChat's limits are used up
	exitInterrupted = 130 // Ctrl-C
)

// exit is an error with the exit code that it leads to.
type exit struct {
	code int
	text string // empty if all was said
}

func (e *exit) Error() string { return e.text }

func exitf(code int, format string, args ...any) error {
	return &exit{code: code, text: fmt.Sprintf(format, args...)}
}

// run is the program. It returns its exit code.
func run(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	root := newRoot(streams)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var e *exit
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(streams.ErrOut, "Interrupted. What was asked of the operator stays asked.")
		return exitInterrupted
	case !errors.As(err, &e):
		e = &exit{code: exitUsage, text: fmt.Sprintf("%v; see kubectl wechattoken --help", err)} // by cobra
	}
	if e.text != "" {
		fmt.Fprintln(streams.ErrOut, "Error:", e.text)
	}
	return e.code
}
