package docs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"mvdan.cc/sh/v3/syntax"
	"sigs.k8s.io/yaml"
)

// chineseOf is the name of the Chinese page for an English one; empty for a page
// that is there in one language only.
func chineseOf(name string) string {
	rest, inDocs := strings.CutPrefix(name, "docs/")
	switch {
	case name == "README.md":
		return "README.zh-CN.md"
	case inDocs && !strings.HasPrefix(rest, "zh/"):
		return "docs/zh/" + rest
	default:
		return ""
	}
}

// Both languages have the same pages, and a page has the same parts in both:
// headings, tables, and code, which differs in its comments alone.
func TestEveryPageIsThereInBothLanguages(t *testing.T) {
	t.Parallel()
	pairs := map[string]bool{}
	for name, p := range pages {
		other := chineseOf(name)
		if other == "" {
			continue
		}
		pairs[other] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zh := pages[other]
			if zh == nil {
				t.Fatalf("there is no %s", other)
			}
			if diff := cmp.Diff(outline(p), outline(zh)); diff != "" {
				t.Errorf("levels of the headings (-%s +%s):\n%s", name, other, diff)
			}
			if diff := cmp.Diff(p.tables, zh.tables); diff != "" {
				t.Errorf("rows of the tables (-%s +%s):\n%s", name, other, diff)
			}
			if diff := cmp.Diff(bare(t, p), bare(t, zh)); diff != "" {
				t.Errorf("code (-%s +%s):\n%s", name, other, diff)
			}
		})
	}
	for name := range pages {
		if strings.HasPrefix(name, "docs/zh/") && !pairs[name] {
			t.Errorf("%s has no English page docs/%s", name, strings.TrimPrefix(name, "docs/zh/"))
		}
	}
}

func outline(p *page) (levels []string) {
	for _, h := range p.headings {
		levels = append(levels, strings.Repeat("#", h.level))
	}
	return levels
}

// bare is the code of a page without its comments. What is in no language is
// for people, and may be translated.
func bare(t *testing.T, p *page) (all []string) {
	t.Helper()
	for _, b := range p.blocks {
		code, err := bareCode(b)
		if err != nil {
			t.Errorf("%s: %v in\n%s", p.name, err, b.code)
		}
		all = append(all, b.language+"\n"+code)
	}
	return all
}

func bareCode(b block) (string, error) {
	switch b.language {
	case "", "text":
		return "", nil
	case "sh":
		file, err := parseShell(b.code)
		if err != nil {
			return "", err
		}
		var out bytes.Buffer
		err = syntax.NewPrinter().Print(&out, file)
		return out.String(), err
	case "yaml":
		docs, err := documents(b.code)
		return fmt.Sprint(docs), err
	default:
		return comment.ReplaceAllString(b.code, ""), nil
	}
}

// comment is one of most languages.
var comment = regexp.MustCompile(`(?m)(^|\s+)(//|#) .*$`)

// documents are those of a text in YAML.
func documents(code string) (all []map[string]any, err error) {
	reader := utilyaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(code)))
	defer reader.Close()
	for {
		buffer := make([]byte, len(code)+1)
		n, err := reader.Read(buffer)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		doc := map[string]any{}
		if err := yaml.UnmarshalStrict(buffer[:n], &doc); err != nil {
			return nil, err
		}
		if len(doc) > 0 {
			all = append(all, doc)
		}
	}
}
