// Command prometheus lets a real Prometheus with the rules of config/prometheus
// watch the operator while WeChat is out of reach for a while and then refuses
// its address, and draws what it has seen: docs/monitoring.svg. It runs in the
// folder hack.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

func main() {
	flags := flag.NewFlagSet("prometheus", flag.ExitOnError) // the usual set has flags of libraries
	svg := flags.String("svg", "../docs/monitoring.svg", "draw into this `file`")
	bin := flags.String("bin", "../bin", "`folder` with the program manager")
	_ = flags.Parse(os.Args[1:])   // it exits
	ctrl.SetLogger(logr.Discard()) // the libraries have nothing to say
	klog.SetLogger(logr.Discard())
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, *bin, *svg)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prometheus:", err)
		os.Exit(1)
	}
}

// run plays the story, and draws it.
func run(ctx context.Context, bin, svg string) (err error) {
	if err := testcluster.FindPrograms(bin, "manager"); err != nil {
		return err
	}
	r, err := readRules("..")
	if err != nil {
		return err
	}
	if err := r.compress(); err != nil {
		return err
	}
	fmt.Println("starting a control plane, two managers and a Prometheus")
	w, err := newWorld(ctx, "..", filepath.Join(bin, "manager"), r)
	defer func() { err = errors.Join(err, w.stop()) }()
	if err != nil {
		return err
	}
	for _, query := range []string{fmt.Sprintf("sum(up) == %d", replicas), `absent(ALERTS)`} {
		if err := w.until(ctx, query, func() (bool, error) { return w.answers(ctx, query) }); err != nil {
			return err
		}
	}
	s := story{world: w, begin: time.Now()}
	if err := s.play(ctx); err != nil {
		return err
	}
	panels, err := s.panels(ctx)
	if err != nil {
		return err
	}
	return os.WriteFile(svg, plot(panels, s.spans, s.end.Sub(s.begin)), 0o644)
}

// story is what happens, and when.
type story struct {
	*world

	begin, end time.Time
	spans      []span
}

// span is a time in which something is wrong, from the beginning of the story.
type span struct {
	what     string
	from, to time.Duration
}

func (s *story) play(ctx context.Context) error {
	const blog = "wx0000000000000002"
	for i, name := range []string{"shop", "blog", "club"} {
		if err := s.create(name, fmt.Sprintf("wx%016x", i+1), map[bool]string{true: "Classic", false: "Stable"}[name == "club"]); err != nil {
			return err
		}
		if err := s.tell(ctx, name+" is created", 9*time.Second); err != nil {
			return err
		}
	}
	if err := s.tell(ctx, "all is well", 50*time.Second); err != nil {
		return err
	}
	from := time.Since(s.begin)
	s.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultReset})
	if err := s.tell(ctx, "WeChat is out of reach", 35*time.Second); err != nil {
		return err
	}
	s.weChat.ClearFaults()
	s.spans = append(s.spans, span{"WeChat is out of reach", from, time.Since(s.begin)})
	if err := s.tell(ctx, "it is back", 50*time.Second); err != nil {
		return err
	}
	from = time.Since(s.begin)
	s.weChat.Allow(blog, netip.MustParsePrefix("192.0.2.0/24"))
	if err := s.tell(ctx, "the address is taken off the allow-list of blog", 60*time.Second); err != nil {
		return err
	}
	s.weChat.Allow(blog)
	if _, err := s.kubectl("patch", "wxt", "-n", apps, "blog", "--type=merge", `-p={"spec":{"secret":{"labels":{"repaired":"true"}}}}`); err != nil {
		return err
	}
	s.spans = append(s.spans, span{"40164 for blog", from, time.Since(s.begin)})
	err := s.tell(ctx, "it is back on it", 45*time.Second)
	s.end = time.Now()
	return err
}

// tell says what is so for a time.
func (s *story) tell(ctx context.Context, what string, d time.Duration) error {
	fmt.Printf("%4.0f s  %s\n", time.Since(s.begin).Seconds(), what)
	return sleep(ctx, d)
}
