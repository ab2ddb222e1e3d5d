package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// terminal returns both ends of a new one: what a person types at is the first.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// echoes reports whether the terminal shows what is typed.
func echoes(t *testing.T, program *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// awaitEcho waits until the terminal shows what is typed, or until it does not.
func awaitEcho(t *testing.T, program *os.File, want bool) {
	t.Helper()
	for range 1000 {
		if echoes(t, program) == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the terminal echoes: %t", !want)
}

func TestAppSecretIsNotShownWhileItIsTyped(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	person, program := terminal(t)
	var said bytes.Buffer
	o := &createOptions{appID: "wx0123456789abcdef", plugin: &plugin{IOStreams: genericiooptions.IOStreams{In: program, Out: io.Discard, ErrOut: &said}}}
	read := make(chan string, 1)
	go func() {
		got, err := o.readAppSecret(t.Context())
		read <- fmt.Sprintf("%s %v", got, err)
	}()
	awaitEcho(t, program, false)
	if _, err := person.WriteString(secret + "\n"); err != nil {
		t.Fatal(err)
	}
	if got, want := <-read, secret+" <nil>"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !echoes(t, program) {
		t.Error("the terminal is left without echo")
	}
	if got, want := said.String(), "AppSecret of wx0123456789abcdef (it is not shown): \n"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

// Ctrl-C comes as the end of the context.
func TestCtrlCLeavesTheTerminalAsItWas(t *testing.T) {
	_, program := terminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := readHidden(ctx, program)
		done <- err
	}()
	awaitEcho(t, program, false)
	interrupt()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if !echoes(t, program) {
		t.Error("the terminal is left without echo")
	}
}
