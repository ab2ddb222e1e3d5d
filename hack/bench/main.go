// Command bench measures the operator: the manager as a process of its own, on a
// real etcd and kube-apiserver, with a fake WeChat that answers at once. Beside
// most figures stands the ceiling, which is what a client that only makes the
// same writes reaches in the same run. It runs in the folder hack.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"wechattoken.io/operator/internal/testcluster"
)

// options are the flags.
type options struct {
	counts    []int
	only      []string
	unrelated int
	json      string
	picture   string
	bin       string
	profile   string
}

// fewest WeChatTokens that a run can be made with: each is forced once at most.
const fewest = 20

func main() {
	o := options{counts: []int{100, 1000, 10_000}}
	flags := flag.NewFlagSet("bench", flag.ExitOnError) // the usual set has flags of libraries
	flags.Func("n", "how many WeChatTokens, as `numbers` with commas between; each scenario runs with each (default 100,1000,10000)", o.readCounts)
	flags.Func("only", "the `scenarios` to run, with commas between (default all)", o.readOnly)
	flags.IntVar(&o.unrelated, "unrelated", 50_000, "how many Secrets of 10 KB the scenario unrelated creates")
	flags.StringVar(&o.json, "json", "", "write all figures to this `file`")
	flags.StringVar(&o.picture, "picture", "", "keep a picture of what depends on the number of WeChatTokens in this `file`, for make generate")
	flags.StringVar(&o.bin, "bin", "../bin", "`folder` with the programs manager and token-server")
	flags.StringVar(&o.profile, "profile", "", "build a manager that can be profiled, and write CPU and heap profiles of each scenario into this `folder`")
	flags.Usage = func() { usage(flags) }
	_ = flags.Parse(os.Args[1:]) // it exits
	if flags.NArg() > 0 || o.unrelated < 0 {
		flags.Usage()
		os.Exit(2)
	}
	ctrl.SetLogger(logr.Discard()) // the libraries have nothing to say
	klog.SetLogger(logr.Discard())

	// A closed terminal ends the run as Ctrl-C does: what it has started must not
	// be left behind. SIGPIPE cannot tell a pipe from a connection to an API server
	// that was killed.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, o)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run runs all scenarios that are wanted, and reports.
func run(ctx context.Context, o options) error {
	b := &bench{options: o, ctx: ctx, out: newReport()}
	if err := b.findManager(); err != nil {
		return err
	}
	b.measure()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := errors.Join(b.out.print(os.Stdout), b.out.save(o.json), b.out.keep(o.picture))
	if n := len(b.out.Errors); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d times something could not be measured", n))
	}
	return err
}

// findManager finds the manager to measure, or builds the one that can be profiled.
func (b *bench) findManager() error {
	if b.profile != "" {
		return b.buildProfiled()
	}
	b.managers = b.bin
	return testcluster.FindPrograms(b.bin, "manager", "token-server")
}

func usage(flags *flag.FlagSet) {
	fmt.Fprint(flags.Output(), `bench measures wechat-token-operator on a real API server and a fake WeChat.

  make bench                                  builds what it needs, and runs everything: half an hour
  make bench BENCH='-n 1000 -only apply'      one scenario: a minute
  make bench BENCH='-n 1000 -only forced -profile /tmp/profiles'

It ends well if everything could be measured, whatever the figures are. It runs in the
folder hack: a file that is named without / at its start is looked for there.

Scenarios:
`)
	for _, s := range scenarios() {
		fmt.Fprintf(flags.Output(), "  %-12s %s\n", s.name, s.about)
	}
	fmt.Fprint(flags.Output(), "\nFlags:\n")
	flags.PrintDefaults()
}

func (o *options) readCounts(s string) error {
	o.counts = nil
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < fewest {
			return fmt.Errorf("want numbers of %d or more, as 100,1000", fewest)
		}
		o.counts = append(o.counts, n)
	}
	slices.Sort(o.counts)
	o.counts = slices.Compact(o.counts)
	return nil
}

func (o *options) readOnly(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		name := strings.TrimSpace(part)
		if !slices.ContainsFunc(scenarios(), func(s scenario) bool { return s.name == name }) {
			return fmt.Errorf("there is no scenario %q; -help lists them", name)
		}
		o.only = append(o.only, name)
	}
	return nil
}
