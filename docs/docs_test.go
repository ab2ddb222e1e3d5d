// Package docs_test reads the pages of the project as their readers do: it
// follows the links, compares the languages, and tries what the pages say to
// type, on a real API server and with the real programs.
package docs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"wechattoken.io/operator/internal/testcluster"
)

// root is the folder of the project.
const root = ".."

// pages are all of them, by their paths from root.
var pages map[string]*page

func TestMain(m *testing.M) {
	var err error
	if pages, err = readPages(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(testcluster.Main(m, 4))
}

// sourceOf is the text of a file of the repository.
func sourceOf(t *testing.T, name string) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// page is a file in Markdown.
type page struct {
	name     string // its path from root
	headings []heading
	links    []string
	blocks   []block
	spans    []string // of code within text
	tables   []int    // how many rows each has
}

type heading struct {
	level  int
	text   string
	anchor string // as GitHub makes it
}

// block is a block of code.
type block struct {
	language string
	code     string
}

// readPages reads all pages of the project.
func readPages() (map[string]*page, error) {
	all := map[string]*page{}
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case e.IsDir() && (name == ".git" || name == "bin" || name == "dist" || e.Name() == "testdata"):
			return filepath.SkipDir
		case e.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		all[name] = read(name, source)
		return nil
	})
	if err == nil && len(all) < 10 {
		err = errors.New("there are hardly any pages: is this the project?")
	}
	return all, err
}

// read reads a page as GitHub does.
func read(name string, source []byte) *page {
	p := &page{name: name}
	taken := map[string]int{}
	doc := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // nothing here fails
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			title := textOf(n, source)
			p.headings = append(p.headings, heading{n.Level, title, anchorOf(title, taken)})
		case *ast.Link:
			p.links = append(p.links, string(n.Destination))
		case *ast.Image:
			p.links = append(p.links, string(n.Destination))
		case *ast.FencedCodeBlock:
			p.blocks = append(p.blocks, block{string(n.Language(source)), string(n.Lines().Value(source))})
		case *ast.CodeSpan:
			p.spans = append(p.spans, textOf(n, source))
		case *extast.Table:
			p.tables = append(p.tables, n.ChildCount())
		}
		return ast.WalkContinue, nil
	})
	return p
}

func textOf(n ast.Node, source []byte) string {
	var all strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			all.Write(c.Value(source))
			if c.SoftLineBreak() {
				all.WriteByte(' ')
			}
		case *ast.String:
			all.Write(c.Value)
		default:
			all.WriteString(textOf(c, source))
		}
	}
	return all.String()
}

// anchorOf is what GitHub makes of a heading: letters, digits, - and _ in lower
// case, with - for spaces, and a number if there is one already.
func anchorOf(title string, taken map[string]int) string {
	anchor := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, title)
	n := taken[anchor]
	taken[anchor]++
	if n > 0 {
		return fmt.Sprintf("%s-%d", anchor, n)
	}
	return anchor
}
