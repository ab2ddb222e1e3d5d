package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// constant is a string constant that has a comment.
type constant struct {
	Name, Value, Doc string
}

// constantsIn reads those of a package, in the order of their files.
func constantsIn(dir string) ([]constant, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []constant
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".go" || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			if group, ok := decl.(*ast.GenDecl); ok && group.Tok == token.CONST {
				all = append(all, constantsOf(group)...)
			}
		}
	}
	return all, nil
}

func constantsOf(group *ast.GenDecl) []constant {
	var all []constant
	for _, s := range group.Specs {
		spec, ok := s.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			continue
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			continue
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			continue // the compiler would not take it
		}
		doc := spec.Doc
		if !group.Lparen.IsValid() {
			doc = group.Doc
		}
		all = append(all, constant{Name: spec.Names[0].Name, Value: value, Doc: paragraphs(doc.Text())})
	}
	return all
}
