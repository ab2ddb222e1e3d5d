package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// narrator writes what the demo has to say. On a terminal commands are bold and
// headings coloured; nothing is ever overwritten, so that a log reads the same.
type narrator struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	begun    time.Time
}

func newNarrator(out *os.File) *narrator {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &narrator{out: out, terminal: terminal, begun: time.Now()}
}

func (n *narrator) print(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, _ = io.WriteString(n.out, s) // a reader who went away is a signal, see main
}

func (n *narrator) style(code, s string) string {
	if !n.terminal {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// heading begins a part of the story.
func (n *narrator) heading(s string) {
	elapsed := time.Since(n.begun).Round(time.Second)
	n.print("\n" + n.style("1;36", fmt.Sprintf("== %s", s)) + fmt.Sprintf("  (%s)\n", elapsed))
}

// sayf explains.
func (n *narrator) sayf(format string, args ...any) {
	n.print(fmt.Sprintf(format, args...) + "\n")
}

// command shows what is about to be run.
func (n *narrator) command(line string) { n.print(n.style("1", "$ "+line) + "\n") }

// output shows what a command has printed.
func (n *narrator) output(s string) {
	if s = strings.TrimRight(s, "\n"); s != "" {
		n.print(s + "\n")
	}
}

// verdict says whether something is as it should be.
func (n *narrator) verdict(ok bool, what string) {
	if ok {
		n.print(n.style("32", "ok") + "      " + what + "\n")
		return
	}
	n.print(n.style("1;31", "NOT OK") + "  " + what + "\n")
}

// wait says that something takes a while, with a dot each second, until the
// returned func is called.
func (n *narrator) wait(what string) (done func()) {
	n.print(what + " ")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				n.print(".")
			}
		}
	}()
	begun := time.Now()
	return sync.OnceFunc(func() {
		close(stop)
		<-stopped
		n.print(fmt.Sprintf(" %.1f s\n", time.Since(begun).Seconds()))
	})
}
