package svgtest_test

import (
	"strings"
	"testing"

	"wechattoken.io/operator/hack/svgtest"
)

func TestReadersObject(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ reason, drawing, want string }{
		"Good": {
			"two lines in a box, of which the second inherits",
			`<rect x="10" y="10" width="100" height="60" fill="#dddddd"/><text x="20" y="30">one line</text><g fill="#333333"><text x="60" y="55" text-anchor="middle">another</text></g>`, "",
		},
		"TooWide": {
			"the text ends behind its box",
			`<rect x="10" y="10" width="100" height="60" fill="#dddddd"/><text x="20" y="30">a line that is too long</text>`, `"a line that is too long" is from 20 to`,
		},
		"ChineseIsWide": {
			"seven characters of 16",
			`<rect x="10" y="10" width="100" height="60" fill="#dddddd"/><text x="12" y="30">七个字太长了点</text>`, "is from 12 to 124",
		},
		"BoldIsWider": {
			"it would be narrow enough otherwise",
			`<rect x="10" y="10" width="100" height="60" fill="#dddddd"/><text x="14" y="30" font-weight="bold">a line of text</text>`, `its box is`,
		},
		"StartsBefore": {
			"a centred text grows to both sides",
			`<rect x="10" y="10" width="100" height="60" fill="#dddddd"/><text x="30" y="30" text-anchor="middle">one line</text>`, `"one line" is from`,
		},
		"TooLow": {
			"its descenders are outside",
			`<rect x="10" y="10" width="100" height="60" fill="#dddddd"/><text x="20" y="69">one line</text>`, "at 69",
		},
		"Faint": {
			"grey on grey",
			`<rect x="10" y="10" width="100" height="60" fill="#dddddd"/><text x="20" y="30" fill="#888888">one line</text>`, "has a contrast of 2.6",
		},
		"OnePaintsOver": {
			"the box that is drawn last is behind the text",
			`<rect x="10" y="10" width="100" height="60" fill="#dddddd"/><rect x="10" y="10" width="100" height="60" fill="#222222"/><text x="20" y="30">one line</text>`, "has a contrast of 1.",
		},
		"Over": {
			"they are 10 apart, and 16 high",
			`<text x="20" y="30">one line</text><text x="30" y="40">another</text>`, `"another" lies over "one line"`,
		},
		"NoColour": {"names are not known", `<text x="20" y="30" fill="black">one line</text>`, `"black" is no colour`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			texts, err := svgtest.Read([]byte(`<svg font-size="16"><rect width="200" height="200" fill="#ffffff"/>` + tc.drawing + `</svg>`))
			if err != nil {
				t.Fatal(err)
			}
			err = svgtest.Check(texts)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestWhatIsNoDrawingIsRefused(t *testing.T) {
	t.Parallel()
	for name, svg := range map[string]string{"XML": `<svg><text>`, "Numbers": `<svg><rect width="100%"/></svg>`} {
		if _, err := svgtest.Read([]byte(svg)); err == nil {
			t.Errorf("%s: %s was read", name, svg)
		}
	}
}
