// Command demo shows the operator at work, on a real API server and against a
// fake WeChat whose tokens live 40 seconds instead of 2 hours. It runs in the
// folder hack, needs no cluster and no account, and takes a minute and
// a half.
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

func main() {
	keep := flag.Bool("keep", false, "leave everything running in the end, until Ctrl-C")
	bin := flag.String("bin", "../bin", "`folder` with the programs manager and fake-wechat")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), `demo shows wechat-token-operator at work, on a real API server and a fake WeChat.
It takes a minute and a half, and its exit code is 0 if all was as it should be.

  make demo                      builds what it needs, and runs it
  go run -C hack ./demo --keep   leaves the cluster to you

Flags:
`)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: there are no arguments besides flags, but got %q\n", flag.Args())
		os.Exit(2)
	}

	// A closed terminal ends the demo as Ctrl-C does, and one whose pipe nobody
	// reads goes on to its end: what it has started must not be left behind. A
	// SIGPIPE may as well come from a connection to the API server.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, *bin, *keep)
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run shows everything, and ends what it has started.
func run(ctx context.Context, bin string, keep bool) (err error) {
	n := newNarrator(os.Stdout)
	w := &world{narrator: n, bin: bin}
	defer func() {
		if errors.Is(err, context.Canceled) {
			n.sayf("\nInterrupted. Ending what was started.")
		}
		if cleanErr := w.end(err != nil && !errors.Is(err, context.Canceled)); err == nil {
			err = cleanErr
		}
	}()
	d := &demo{world: w}
	for _, stage := range []func(context.Context) error{
		d.setUp,
		d.apply,
		d.watchItRotate,
		d.forceRefresh,
		d.loseSecret,
		d.breakAppSecret,
		d.killManager,
	} {
		if err := stage(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
	err = d.sumUp(ctx)
	if keep {
		d.leave(ctx)
	}
	return err
}
