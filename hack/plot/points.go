package plot

import (
	"fmt"
	"strconv"
	"strings"

	"gonum.org/v1/plot/plotter"
)

// Points are those of a line. In a file they are one text, as "0,1.5 1,1.75".
type Points plotter.XYs

// MarshalText writes them with five digits, which is more than can be seen.
func (p Points) MarshalText() ([]byte, error) {
	var all []string
	for _, at := range p {
		all = append(all, fmt.Sprintf("%.5g,%.5g", at.X, at.Y))
	}
	return []byte(strings.Join(all, " ")), nil
}

// UnmarshalText reads what MarshalText has written.
func (p *Points) UnmarshalText(text []byte) error {
	*p = nil
	for word := range strings.FieldsSeq(string(text)) {
		x, y, found := strings.Cut(word, ",")
		at := plotter.XY{}
		var err1, err2 error
		at.X, err1 = strconv.ParseFloat(x, 64)
		at.Y, err2 = strconv.ParseFloat(y, 64)
		if !found || err1 != nil || err2 != nil {
			return fmt.Errorf("%q is no point, as 1,1.75 is", word)
		}
		*p = append(*p, at)
	}
	return nil
}
