package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"strings"
	"text/template"
	"time"
)

// The pace of the drawing, whatever the commands took.
const (
	typed  = 700 * time.Millisecond  // between a command and what it prints
	read   = 2000 * time.Millisecond // between that and the next command
	wait   = 500 * time.Millisecond  // the longest between two lines
	last   = 3 * time.Second
	prompt = "$ "
)

const lineHeight = 20

//go:embed terminal.svg.tmpl
var terminal string

// line is one of the terminal, at the time when it came.
type line struct {
	text string
	at   time.Duration
}

// lines reads a recording. A line longer than the terminal goes on in the next one.
func lines(file string) ([]line, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []line
	rest := ""
	s := bufio.NewScanner(f)
	for s.Scan(); s.Scan(); { // the first line is about the terminal
		var e [3]any
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			return nil, err
		}
		at, text := time.Duration(e[0].(float64)*float64(time.Second)), rest+e[2].(string)
		for {
			before, after, ended := strings.Cut(text, "\n")
			if !ended {
				break
			}
			text = after
			all = append(all, wrap(strings.TrimRight(before, "\r "), at)...)
		}
		rest = text
	}
	return all, s.Err()
}

func wrap(text string, at time.Duration) (all []line) {
	for r := []rune(text); ; r = r[columns:] {
		if len(r) <= columns {
			return append(all, line{string(r), at})
		}
		all = append(all, line{string(r[:columns]), at})
	}
}

// Row is a line of the drawing.
type Row struct {
	Base    int
	Command bool
	Text    string
}

// Frame is what is seen from a time on: Up is what has left the terminal, and Down where
// its empty part begins.
type Frame struct {
	Percent  string
	Up, Down int
}

// Film is what the drawing is filled with.
type Film struct {
	Rows          []Row
	Frames        []Frame
	Still         Frame // without motion: before the last commands remove all
	Seconds       string
	Width, Height int
	Screen        int // the height of its lines
}

func drawFile(file string) ([]byte, error) {
	all, err := lines(file)
	if err != nil {
		return nil, err
	}
	t, err := template.New("").Parse(terminal)
	if err != nil {
		return nil, err
	}
	film, err := filmOf(all)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, film)
	return b.Bytes(), err
}

func filmOf(all []line) (Film, error) {
	film := Film{Width: 920, Height: rows*lineHeight + 24, Screen: rows * lineHeight}
	at := cut(all)
	total := at[len(at)-1] + last
	film.Seconds = fmt.Sprintf("%.1f", total.Seconds())
	for i, l := range all {
		var text bytes.Buffer
		// Not every browser keeps two spaces.
		if err := xml.EscapeText(&text, []byte(strings.ReplaceAll(l.text, "  ", "\u00a0\u00a0"))); err != nil {
			return film, err
		}
		command := strings.HasPrefix(l.text, prompt)
		if command && strings.Contains(l.text, " delete ") && film.Still.Down == 0 {
			film.Still = frame(i)
		}
		film.Rows = append(film.Rows, Row{Base: i*lineHeight + 15, Command: command, Text: text.String()})
		f := frame(i + 1)
		f.Percent = fmt.Sprintf("%.2f", 100*at[i].Seconds()/total.Seconds())
		if n := len(film.Frames); n > 0 && film.Frames[n-1].Percent == f.Percent {
			film.Frames = film.Frames[:n-1]
		}
		film.Frames = append(film.Frames, f)
	}
	return film, nil
}

// frame is that of the first n lines.
func frame(n int) Frame {
	return Frame{Up: -max(0, n-rows) * lineHeight, Down: min(n, rows) * lineHeight}
}

// cut are the times at which the lines are shown: dead time is cut.
func cut(all []line) []time.Duration {
	at := make([]time.Duration, len(all))
	for i := 1; i < len(all); i++ {
		pause := min(wait, all[i].at-all[i-1].at)
		switch {
		case strings.HasPrefix(all[i].text, prompt):
			pause = read
		case strings.HasPrefix(all[i-1].text, prompt):
			pause = typed
		}
		at[i] = at[i-1] + pause
	}
	return at
}
