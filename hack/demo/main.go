// Command demo shows the operator at work, on a real API server and against a
// fake WeChat whose tokens live 40 seconds instead of 2 hours. It runs in the
// folder hack, needs no cluster and no account, and takes a minute and a half. Its
// exit code is 0 if all was as it should be.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"wechattoken.io/operator/internal/testcluster"
)

// bin has the programs, as `make build` leaves it.
const bin = "../bin"

func main() {
	ctrl.SetLogger(logr.Discard()) // the libraries have nothing to say

	// A closed terminal ends the demo as Ctrl-C does, and one whose pipe nobody
	// reads goes on to its end: what it has started must not be left behind. A
	// SIGPIPE may as well come from a connection to the API server.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	_, err := exec.LookPath("curl") // for what a server outside the cluster asks
	err = errors.Join(err, testcluster.FindPrograms(bin, "manager", "token-server"))
	if err == nil {
		err = testcluster.Run(ctx, func(tb testing.TB) {
			tb.Helper()
			tell(&demo{TB: tb, begun: time.Now()})
		})
	}
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Println("\nInterrupted. What was started has ended.")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo: not as it should be:", err)
		os.Exit(1)
	}
}
