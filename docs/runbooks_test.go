package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// entry is the form of a heading that is a reason or a code: other headings have
// a space, or Chinese, in them.
var entry = regexp.MustCompile(`^-?[A-Za-z0-9]+$`)

// entries are those of the second level.
func entries(t *testing.T, name string) (all []string) {
	t.Helper()
	p := pages[name]
	if p == nil {
		t.Fatalf("there is no %s", name)
	}
	for _, h := range p.headings {
		if h.level == 2 && entry.MatchString(h.text) {
			all = append(all, h.text)
		}
	}
	return all
}

// sources parses the files of a package, without its tests.
func sources(t *testing.T, dir string) (all []*ast.File) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parsed)
	}
	return all
}

// constants are the strings of the constants whose names begin with prefix.
func constants(t *testing.T, dir, prefix string) (all []string) {
	t.Helper()
	for _, file := range sources(t, dir) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, value)
			}
			return true
		})
	}
	return all
}

func TestEveryReasonHasARunbook(t *testing.T) {
	t.Parallel()
	reasons := constants(t, "api/v1alpha1", "Reason")
	if len(reasons) < 30 {
		t.Fatalf("found %d reasons in api/v1alpha1", len(reasons))
	}
	slices.Sort(reasons)
	for _, name := range []string{"docs/runbooks/reasons.md", "docs/zh/runbooks/reasons.md"} {
		got := entries(t, name)
		slices.Sort(got)
		if diff := cmp.Diff(reasons, got); diff != "" {
			t.Errorf("%s: sections (-reasons +page):\n%s", name, diff)
		}
	}
}

func TestEveryErrcodeHasARunbook(t *testing.T) {
	t.Parallel()
	var codes []string
	for _, code := range wechat.Codes() {
		codes = append(codes, strconv.FormatInt(code, 10))
	}
	slices.Sort(codes)
	for _, name := range []string{"docs/runbooks/errcodes.md", "docs/zh/runbooks/errcodes.md"} {
		got := entries(t, name)
		slices.Sort(got)
		if diff := cmp.Diff(codes, got); diff != "" {
			t.Errorf("%s: sections (-codes +page):\n%s", name, diff)
		}
	}
}

// The page leads from a code to the reason that the operator makes of it.
func TestErrcodesLeadToTheirReasons(t *testing.T) {
	t.Parallel()
	for _, code := range wechat.Codes() {
		m := (&wechat.Error{Code: code}).Meaning()
		if m.InvalidToken {
			leadsTo(t, code, v1alpha1.ReasonTokenRevoked)
		}
		if m.Ungranted {
			leadsTo(t, code, v1alpha1.ReasonTicketUnauthorized)
		}
		if !m.InvalidToken || m.Class != wechat.Transient { // else a call for a token never gets it
			leadsTo(t, code, m.Reason)
		}
	}
}

// leadsTo wants the section of a code to link to the reason, in both languages.
func leadsTo(t *testing.T, code int64, reason string) {
	t.Helper()
	for _, name := range []string{"docs/runbooks/errcodes.md", "docs/zh/runbooks/errcodes.md"} {
		_, section, _ := strings.Cut(sourceOf(t, name), fmt.Sprintf("\n## %d\n", code))
		section, _, _ = strings.Cut(section, "\n## ")
		if link := "(reasons.md#" + strings.ToLower(reason) + ")"; !strings.Contains(section, link) {
			t.Errorf("%s: the section %d has no link %s", name, code, link)
		}
	}
}

// A condition is read wherever the operator was installed from: a command that applies
// a folder would put its image and its flags into a Deployment of Helm's.
func TestConditionsNameNoCommandOfOneInstall(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"controllers", "controllers/consumers"} {
		for _, file := range sources(t, dir) {
			ast.Inspect(file, func(n ast.Node) bool {
				if literal, ok := n.(*ast.BasicLit); ok && regexp.MustCompile(`apply -[kf]|helm |role of config/`).MatchString(literal.Value) {
					t.Errorf("%s says %s", dir, literal.Value)
				}
				return true
			})
		}
	}
}
