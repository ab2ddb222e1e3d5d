// Command flow draws docs/flow.svg, how a token reaches the programs that use it, in
// English and in Chinese, on light and on dark pages. It runs in the folder hack.
package main

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// drawing has the shapes. Texts in it that no function translates are names.
//
//go:embed flow.svg.tmpl
var drawing string

// edition is what an edition of the drawing is filled with.
type edition struct {
	file string
	Lang string
	texts
	theme
}

var editions = []edition{
	{"flow.svg", "en", nil, light},
	{"flow.dark.svg", "en", nil, dark},
	{"flow.zh.svg", "zh-CN", chinese, light},
	{"flow.zh.dark.svg", "zh-CN", chinese, dark},
}

// Height is that of the drawing, whose width is 640: narrow, so that it can be read on a phone.
func (edition) Height() int { return 856 }

// reader is a box that says how a program gets the token.
type reader struct {
	X     int
	Name  string
	Lines []string
}

// Middle is where its texts are.
func (r reader) Middle() int { return r.X + 93 }

// Y is the height of a line.
func (reader) Y(line int) int { return 471 + 24*line }

// Readers are the ways in which programs get the token.
func (edition) Readers() []reader {
	return []reader{
		{28, "Pod: file", []string{"the kubelet brings", "the new token", "within 60 to 90 s"}},
		{226, "Pod: env", []string{"the operator restarts", "the pods after 5 s,", "if you allow it"}},
		{424, "Token server", []string{"optional: gives it to", "clients that have", "permission"}},
	}
}

// The time line is in minutes since WeChat gave the old token. 10 to 15 of its 120 are drawn.
const (
	firstMinute, lastMinute = 110, 124
	left, right             = 28, 610
	minute                  = float64(right-left) / (lastMinute - firstMinute)
)

func main() {
	for _, e := range editions {
		if err := e.write("../docs"); err != nil {
			fmt.Fprintln(os.Stderr, "flow:", err)
			os.Exit(1)
		}
	}
}

func (e edition) write(dir string) error {
	drawn, err := e.draw()
	if err != nil {
		return fmt.Errorf("%s: %w", e.file, err)
	}
	return os.WriteFile(filepath.Join(dir, e.file), drawn, 0o644)
}

func (e edition) draw() ([]byte, error) {
	all, err := template.New(e.file).Funcs(template.FuncMap{
		"t":       e.in,
		"at":      func(m float64) string { return fmt.Sprintf("%.1f", left+(m-firstMinute)*minute) },
		"minutes": func(m float64) string { return fmt.Sprintf("%.1f", m*minute) },
	}).Parse(drawing)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = all.Execute(&b, e)
	return b.Bytes(), err
}

// texts are those of a language, by the English ones; nil is English.
type texts map[string]string

// in is a text in the language, for XML.
func (t texts) in(english string) (string, error) {
	said := english
	if t != nil {
		said = t[english]
	}
	if said == "" {
		return "", fmt.Errorf("chinese.go does not have %q: add it", english)
	}
	var b bytes.Buffer
	err := xml.EscapeText(&b, []byte(said))
	return b.String(), err
}
