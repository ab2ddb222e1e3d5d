// Command chaos lets the operator live while everything around it breaks: real
// processes of etcd, kube-apiserver and two managers, and a fake WeChat whose
// tokens live 2 minutes instead of 2 hours. Whatever happens follows from a
// seed. In the end it accounts for every call with an invalid token, and for every
// call to WeChat. It runs in the root of the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// options are the flags.
type options struct {
	duration time.Duration
	tokens   int
	seed     uint64
	life     time.Duration
	plan     bool
	bin      string
	json     string
	keep     bool
}

func main() {
	var o options
	flag.DurationVar(&o.duration, "duration", 10*time.Minute, "how long things break, 1m or more; half a minute of calm follows")
	flag.IntVar(&o.tokens, "tokens", 200, "how many WeChatTokens there are, 8 or more")
	flag.Uint64Var(&o.seed, "seed", 0, "what all that happens follows from; 0 draws one, which is printed")
	flag.DurationVar(&o.life, "life", 2*time.Minute, "how long a token is valid; below 2m the quarter of it in which it is replaced is hardly longer than a leader's lease, whose end then costs invalid tokens")
	flag.BoolVar(&o.plan, "plan", false, "print what would happen, and do nothing")
	flag.StringVar(&o.bin, "bin", "bin", "`folder` with the program manager")
	flag.StringVar(&o.json, "json", "", "write the report to this `file` too")
	flag.BoolVar(&o.keep, "keep", false, "keep the logs and the time line also if all is well")
	flag.Parse()
	if flag.NArg() > 0 || o.tokens < 8 || o.duration < time.Minute || o.life < 20*time.Second || o.life%(4*time.Second) != 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctrl.SetLogger(logr.Discard()) // the libraries have nothing to say

	// A closed terminal or pipe ends the run as Ctrl-C does: what it has started
	// must not be left behind. SIGPIPE cannot tell a pipe from a connection to an
	// API server that was killed.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	out, err := chaos(ctx, o, reader{os.Stdout, stop})
	stop()
	if out != nil && o.json != "" {
		err = errors.Join(err, out.save(o.json))
	}
	switch {
	case errors.Is(err, context.Canceled):
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// reader is where the run prints, and what ends it when nobody reads any more.
type reader struct {
	io.Writer

	gone func()
}

func (r reader) Write(b []byte) (int, error) {
	n, err := r.Writer.Write(b)
	if err != nil {
		r.gone()
	}
	return n, err
}

// shown is how many failures are printed whole.
const shown = 5

// chaos is the whole run. It ends everything it has started. The error says that
// something was not as it should be, and the report what.
func chaos(ctx context.Context, o options, screen io.Writer) (out *report, err error) {
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	targets := fleet(o.tokens)
	speed := paceOf(o.life)
	events := plan(o.seed, speed, o.duration, targets)
	fmt.Fprintf(screen, "-seed=%d -duration=%s -tokens=%d -life=%s: %d events\n", o.seed, o.duration, o.tokens, o.life, len(events))
	if o.plan {
		for _, e := range events {
			fmt.Fprintln(screen, e)
		}
		return nil, nil
	}

	w := &world{bin: o.bin, pace: speed, ledger: newLedger(speed, targets)}
	defer func() {
		keep := (o.keep || err != nil) && ctx.Err() == nil && w.dir != ""
		err = errors.Join(err, w.end(keep))
		if keep {
			fmt.Fprintln(screen, "The logs of the managers and the time line are in", w.dir)
			lines := w.ledger.timeline("", time.Time{}, time.Now())
			err = errors.Join(err, os.WriteFile(filepath.Join(w.dir, "timeline.txt"), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
		}
	}()
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	r := newRun(w, targets)
	if err := r.live(ctx, events, screen); err != nil {
		return nil, err
	}
	notWell := r.settle(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.quit()
	out = r.judgement(o.seed, o.duration)
	out.NotWell = notWell
	if out.Leaks, err = r.leaks(); err != nil {
		return out, err
	}
	out.print(screen)
	failed := out.failed()
	for _, f := range failed[:min(shown, len(failed))] {
		fmt.Fprintf(screen, "\nFAILED  %s\n", f)
	}
	if len(failed) > 0 {
		return out, fmt.Errorf("%d things were not as they should be; repeat with -seed=%d", len(failed), o.seed)
	}
	return out, nil
}
