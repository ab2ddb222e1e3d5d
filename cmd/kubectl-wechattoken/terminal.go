package main

import (
	"context"
	"os"

	"golang.org/x/term"
)

// terminal is that of the person who runs the plugin, if stdin is one.
func (p *plugin) terminal() (*os.File, bool) {
	in, isFile := p.In.(*os.File)
	return in, isFile && term.IsTerminal(int(in.Fd()))
}

// readHidden reads a line that the terminal does not show.
func readHidden(ctx context.Context, in *os.File) ([]byte, error) {
	fd := int(in.Fd())
	shown, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type typed struct {
		line []byte
		err  error
	}
	answer := make(chan typed, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answer <- typed{line, err}
	}()
	select {
	case <-ctx.Done(): // at Ctrl-C
		_ = term.Restore(fd, shown)
		return nil, ctx.Err()
	case a := <-answer:
		return a.line, a.err
	}
}
