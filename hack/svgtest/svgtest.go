// Package svgtest looks at a drawing in SVG as a reader does: whether each text is
// within its box, apart from other texts, and of a colour that can be told from
// what is behind it.
package svgtest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"strconv"
	"strings"

	"wechattoken.io/operator/hack/plot"
)

// A Text of a drawing, with the box that is drawn behind its anchor.
type Text struct {
	Said       string
	Ink        string // its colour, #rrggbb
	Box        Box
	left, base float64
	size, wide float64
}

// A Box is a rect of a drawing.
type Box struct {
	Paint      string
	X, Y, W, H float64
}

// reader reads a drawing.
type reader struct {
	open  []map[string]string // the attributes of the elements around, with what they inherit
	boxes []Box
	texts []Text
}

// Read returns the texts of a drawing. Of SVG it knows what is used here: numbers
// without units, rect and text with absolute places, and attributes instead of styles.
func Read(svg []byte) ([]Text, error) {
	r := reader{open: []map[string]string{{"fill": "#000000"}}}
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return r.texts, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			err = r.start(t)
		case xml.EndElement:
			r.open = r.open[:len(r.open)-1]
		case xml.CharData:
			err = r.text(string(t))
		}
		if err != nil {
			return nil, err
		}
	}
}

func (r *reader) start(e xml.StartElement) error {
	attributes := maps.Clone(r.open[len(r.open)-1])
	for _, own := range []string{"x", "y", "width", "height"} {
		delete(attributes, own)
	}
	for _, a := range e.Attr {
		attributes[a.Name.Local] = a.Value
	}
	attributes["element"] = e.Name.Local
	r.open = append(r.open, attributes)
	if e.Name.Local != "rect" || attributes["fill"] == "none" {
		return nil
	}
	x, y, err1 := pair(attributes, "x", "y")
	w, h, err2 := pair(attributes, "width", "height")
	r.boxes = append(r.boxes, Box{attributes["fill"], x, y, w, h})
	return errors.Join(err1, err2)
}

// pair reads two numbers; one that is missing is 0.
func pair(attributes map[string]string, a, b string) (x, y float64, err error) {
	var all [2]float64
	for i, name := range []string{a, b} {
		if v := attributes[name]; v != "" {
			if all[i], err = strconv.ParseFloat(v, 64); err != nil {
				return 0, 0, fmt.Errorf("%s of %s: %w", name, attributes["element"], err)
			}
		}
	}
	return all[0], all[1], nil
}

func (r *reader) text(said string) error {
	in := r.open[len(r.open)-1]
	if in["element"] != "text" {
		return nil
	}
	x, y, err := pair(in, "x", "y")
	if err != nil {
		return err
	}
	size, _, err := pair(in, "font-size", "")
	t := Text{Said: said, Ink: in["fill"], size: size, left: x, base: y, wide: plot.Width(said, size, in["font-weight"] == "bold")}
	switch in["text-anchor"] {
	case "middle":
		t.left -= t.wide / 2
	case "end":
		t.left -= t.wide
	}
	for _, b := range r.boxes { // the last one is over the others
		if x >= b.X && x <= b.X+b.W && y >= b.Y && y <= b.Y+b.H {
			t.Box = b
		}
	}
	r.texts = append(r.texts, t)
	return err
}

// Check returns what a reader would object to.
func Check(texts []Text) error {
	const (
		border   = 4   // between a text and the border of its box
		contrast = 4.5 // WCAG 2, AA
	)
	var all []error
	for i, t := range texts {
		if t.left < t.Box.X+border || t.left+t.wide > t.Box.X+t.Box.W-border || t.base-t.size < t.Box.Y || t.base+t.size/4 > t.Box.Y+t.Box.H {
			all = append(all, fmt.Errorf("%q is from %.0f to %.0f, at %.0f, and its box is %+v", t.Said, t.left, t.left+t.wide, t.base, t.Box))
		}
		ink, err1 := luminance(t.Ink)
		paper, err2 := luminance(t.Box.Paint)
		if got := (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05); got < contrast || errors.Join(err1, err2) != nil {
			all = append(all, fmt.Errorf("%q in %s on %s has a contrast of %.1f, want %.1f", t.Said, t.Ink, t.Box.Paint, got, contrast), err1, err2)
		}
		for _, other := range texts[:i] {
			if t.left < other.left+other.wide && other.left < t.left+t.wide && t.base-t.size < other.base && other.base-other.size < t.base {
				all = append(all, fmt.Errorf("%q lies over %q", t.Said, other.Said))
			}
		}
	}
	return errors.Join(all...)
}

// luminance is that of a colour, as WCAG 2 defines it.
func luminance(colour string) (float64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 24)
	if err != nil || len(colour) != len("#rrggbb") {
		return 0, fmt.Errorf("%q is no colour like #1f2328", colour)
	}
	part := func(shift int) float64 {
		c := float64(n>>shift&0xff) / 0xff
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*part(16) + 0.7152*part(8) + 0.0722*part(0), nil
}
