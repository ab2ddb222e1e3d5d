// Command chaos lets the operator live while everything around it breaks: in two
// clusters that share accounts, each of real processes of etcd, kube-apiserver and two
// managers, with one fake WeChat whose tokens live 2 minutes instead of 2 hours.
// Whatever happens follows from a seed. In the end it judges what the Secrets held and
// what WeChat was asked. It runs in the root of the repository.
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
}

func main() {
	var o options
	flag.DurationVar(&o.duration, "duration", 10*time.Minute, "how long things break; a 20th of it more is calm")
	flag.IntVar(&o.tokens, "tokens", 200, "how many WeChatTokens there are, 8 or more")
	flag.Uint64Var(&o.seed, "seed", 0, "what all that happens follows from; 0 draws one, which is printed")
	flag.DurationVar(&o.life, "life", 2*time.Minute, "how long a token is valid; below 2m the quarter of it in which it is replaced is hardly longer than a leader's lease, so that little is judged")
	flag.Parse()
	if flag.NArg() > 0 || o.tokens < 8 || o.duration < 20*time.Second || o.life < 20*time.Second || o.life%(4*time.Second) != 0 {
		flag.Usage()
		os.Exit(2)
	}
	// A run whose reader has gone still ends what it has started.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	_, err := chaos(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// chaos is the whole run. It ends everything it has started.
func chaos(ctx context.Context, o options, screen io.Writer) (j *journal, err error) {
	ctrl.SetLogger(logr.Discard()) // the libraries have nothing to say
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	j = newJournal(o.life, fleet(o.tokens))
	events := plan(o.seed, o.duration, j.targets)
	fmt.Fprintf(screen, "-seed=%d -duration=%s -tokens=%d -life=%s: %d events\n", o.seed, o.duration, o.tokens, o.life, len(events))
	w := &world{journal: j}
	if err = w.start(ctx); err == nil {
		err = w.live(ctx, events, o.duration/20, screen)
	}
	if err == nil {
		w.retire()
		j.calls, j.tokens = w.fake.Calls(), w.fake.Tokens()
		j.judge()
		j.report(screen, events)
		if len(j.found) > 0 {
			err = fmt.Errorf("%d findings; repeat with -seed=%d", len(j.found), o.seed)
		}
	}
	if err == nil {
		err = os.Remove(w.log.Name())
	} else if w.log != nil {
		fmt.Fprintln(screen, "The log of the managers is", w.log.Name())
	}
	return j, errors.Join(err, w.stop())
}
