package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// page is the reference in one language. Its texts are the keys of zh.yaml.
//
//go:embed api.md.tmpl
var page string

// render returns the pages by their names. root is the folder of go.mod.
func render(root string) (map[string][]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, "config/crd/wechattoken.io_wechattokens.yaml"))
	if err != nil {
		return nil, err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		return nil, err
	}
	constants, err := constantsIn(filepath.Join(root, "api/v1alpha1"))
	if err != nil {
		return nil, err
	}
	chinese, err := readChinese(filepath.Join(root, "hack/apidocs/zh.yaml"))
	if err != nil {
		return nil, err
	}
	pages := map[string][]byte{}
	for name, lang := range map[string]language{"docs/api.md": english{}, "docs/zh/api.md": chinese} {
		if pages[name], err = write(crd, constants, lang); err != nil {
			return nil, err
		}
	}
	return pages, chinese.complaints()
}

func write(crd apiextensionsv1.CustomResourceDefinition, constants []constant, lang language) ([]byte, error) {
	r := reference{lang: lang}
	version := crd.Spec.Versions[0]
	r.add("", *version.Schema.OpenAPIV3Schema)

	tmpl, err := template.New("api.md").Funcs(template.FuncMap{
		"say":  lang.say,
		"cell": cell,
		"constants": func(kind string) []constant {
			var some []constant
			for _, c := range constants {
				if rest, ok := strings.CutPrefix(c.Name, kind); ok {
					// As the users know it, not as Go does.
					c.Doc = strings.Replace(lang.say(c.Doc), kind+rest, "`"+c.Value+"`", 1)
					some = append(some, c)
				}
			}
			return some
		},
		"anchor": func(heading string) string { return strings.ToLower(strings.ReplaceAll(heading, ".", "")) },
	}).Parse(page)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = tmpl.Execute(&out, map[string]any{"CRD": crd, "Version": version.Name, "Sections": r.sections})
	return out.Bytes(), err
}

// cell makes a text fit into a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n\n", "<br><br>").Replace(text)
}

// paragraphs makes one line of each paragraph of a comment. What is indented is
// code, and stays as it is.
func paragraphs(text string) string {
	var all []string
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(block, "\t") {
			block = strings.ReplaceAll(block, "\t", "    ")
		} else {
			block = strings.Join(strings.Fields(block), " ")
		}
		all = append(all, block)
	}
	return strings.Join(all, "\n\n")
}

// size is a bound with both ends, one, or none. what has a %s for it.
func (r *reference) size(what string, least, most *int64) {
	var bound string
	switch {
	case least != nil && most != nil && *least == *most:
		bound = fmt.Sprint(*most)
	case least != nil && most != nil:
		bound = fmt.Sprintf(r.lang.say("%d to %d"), *least, *most)
	case least != nil:
		bound = fmt.Sprintf(r.lang.say("at least %d"), *least)
	case most != nil:
		bound = fmt.Sprintf(r.lang.say("at most %d"), *most)
	default:
		return
	}
	r.rules = append(r.rules, fmt.Sprintf(r.lang.say(what), bound))
}
