// Command fake-wechat is the WeChat API for tests and demonstrations: it hands
// out access_tokens over HTTP or HTTPS and rotates them as WeChat does, in real or in
// compressed time, and fails on demand.
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
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "fake-wechat: %v; see --help\n", err)
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake-wechat:", err)
		os.Exit(1)
	}
}
