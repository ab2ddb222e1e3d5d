package testcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// Run runs do as a test of package testing runs, for programs and for TestMain: Fatal
// ends it, what Cleanup was given is called in the end, and the errors are returned.
// Where ctx is done, such as by Ctrl-C, [Eventually] and all that uses the context of
// tb ends, and so does do.
func Run(ctx context.Context, do func(tb testing.TB)) error {
	ctx, cancel := context.WithCancel(ctx)
	p := &program{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer p.end()
		defer cancel() // as in a test, before what cleans up
		do(p)
	}()
	<-done
	return errors.Join(p.errs...)
}

// program is a testing.TB outside of a test. What is not below is not there: it would
// need a runner of tests.
type program struct {
	testing.TB

	ctx context.Context //nolint:containedctx // a testing.TB has one

	mu       sync.Mutex
	errs     []error
	cleanups []func()
}

func (p *program) end() {
	for _, f := range slices.Backward(p.cleanups) {
		f()
	}
}

func (p *program) Helper()                  {}
func (p *program) Context() context.Context { return p.ctx }

func (p *program) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}

func (p *program) Failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.errs) > 0
}

func (p *program) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, err)
}

func (p *program) FailNow() { runtime.Goexit() }

func (p *program) Fatal(args ...any) {
	p.Error(args...)
	p.FailNow()
}

func (p *program) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	p.FailNow()
}

// Error keeps what errors.Is asks for: an error by itself is kept as it is.
func (p *program) Error(args ...any) {
	if err, ok := args[0].(error); ok && len(args) == 1 {
		p.fail(err)
		return
	}
	p.fail(errors.New(fmt.Sprint(args...)))
}

func (p *program) Errorf(format string, args ...any) { p.fail(fmt.Errorf(format, args...)) }

func (p *program) Log(args ...any)                 { fmt.Fprintln(os.Stderr, args...) }
func (p *program) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// TempDir is gone in the end.
func (p *program) TempDir() string {
	dir, err := os.MkdirTemp("", "wechattoken-")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
