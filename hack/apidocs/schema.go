package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// reference is the schema of the kind, one section for each object in it.
type reference struct {
	lang     language
	sections []section
	rules    []string // of the field at hand
}

// section is an object.
type section struct {
	Path   string
	Doc    string
	Rules  []string // that hold for several fields together
	Fields []field
}

// field is one of an object.
type field struct {
	Name     string
	Type     string
	Required bool
	Rules    []string
	Doc      string
}

// conditions is the list that has a chapter of its own.
const conditions = "status.conditions"

// add adds the section of an object, and those of the objects in it.
func (r *reference) add(path string, s apiextensionsv1.JSONSchemaProps) {
	sec := section{Path: path, Doc: r.lang.say(paragraphs(s.Description))}
	for _, rule := range s.XValidations {
		sec.Rules = append(sec.Rules, r.lang.say(rule.Message))
	}
	names := slices.SortedFunc(maps.Keys(s.Properties), func(a, b string) int {
		required := func(name string) int {
			return -len(slices.DeleteFunc(slices.Clone(s.Required), func(r string) bool { return r != name }))
		}
		if order := required(a) - required(b); order != 0 {
			return order
		}
		return strings.Compare(a, b)
	})
	if path == "" {
		names = []string{"spec", "status"} // the others are those of all kinds
	}
	within := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	for _, name := range names {
		p := s.Properties[name]
		f := field{Name: name, Required: slices.Contains(s.Required, name), Doc: r.lang.say(paragraphs(p.Description))}
		f.Type, f.Rules = r.typeOf(within(name), p)
		sec.Fields = append(sec.Fields, f)
	}
	r.sections = append(r.sections, sec)
	for _, name := range names {
		p := s.Properties[name]
		if p.Items != nil {
			p = *p.Items.Schema
		}
		if len(p.Properties) > 0 && within(name) != conditions {
			r.add(within(name), p)
		}
	}
}

// typeOf says what a field takes: its type, and what holds for its value.
func (r *reference) typeOf(path string, s apiextensionsv1.JSONSchemaProps) (kind string, rules []string) {
	r.rules = nil
	kind = r.kind(path, s)
	if s.Default != nil && len(s.Properties) == 0 {
		r.rules = append(r.rules, fmt.Sprintf(r.lang.say("default `%s`"), strings.Trim(string(s.Default.Raw), `"`)))
	}
	r.bounds(s)
	switch {
	case s.Items != nil && len(s.Items.Schema.Properties) == 0:
		r.bounds(*s.Items.Schema)
	case s.AdditionalProperties != nil:
		r.bounds(*s.AdditionalProperties.Schema)
	}
	if len(s.Properties) == 0 { // else its own section has them
		for _, rule := range s.XValidations {
			r.rules = append(r.rules, r.lang.say(rule.Message))
		}
	}
	return kind, r.rules
}

func (r *reference) kind(path string, s apiextensionsv1.JSONSchemaProps) string {
	link := func(text, to string) string {
		return fmt.Sprintf("[%s](#%s)", text, strings.ToLower(strings.ReplaceAll(to, ".", "")))
	}
	switch {
	case path == conditions:
		return link(r.lang.say("list of conditions"), r.lang.say("Conditions"))
	case s.Items != nil && len(s.Items.Schema.Properties) > 0:
		return link(r.lang.say("list of objects"), path)
	case s.Items != nil:
		return fmt.Sprintf(r.lang.say("list of %s"), r.kind(path, *s.Items.Schema))
	case s.AdditionalProperties != nil:
		return fmt.Sprintf(r.lang.say("map of %s"), r.kind(path, *s.AdditionalProperties.Schema))
	case len(s.Properties) > 0:
		return link(r.lang.say("object"), path)
	case s.Format == "date-time":
		return r.lang.say("time")
	default:
		return r.lang.say(s.Type)
	}
}

// bounds adds to the rules what the schema itself bounds.
func (r *reference) bounds(s apiextensionsv1.JSONSchemaProps) {
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, "`"+strings.Trim(string(v.Raw), `"`)+"`")
		}
		r.rules = append(r.rules, strings.Join(values, ", "))
	}
	whole := func(f *float64) *int64 {
		if f == nil {
			return nil
		}
		return new(int64(*f))
	}
	r.size("%s", whole(s.Minimum), whole(s.Maximum))
	r.size("%s characters", s.MinLength, s.MaxLength)
	r.size("%s items", s.MinItems, s.MaxItems)
	r.size("%s entries", s.MinProperties, s.MaxProperties)
	if s.XListType != nil && *s.XListType == "set" {
		r.rules = append(r.rules, r.lang.say("no two equal"))
	}
	if len(s.XListMapKeys) > 0 {
		r.rules = append(r.rules, fmt.Sprintf(r.lang.say("no two with the same %s"), "`"+strings.Join(s.XListMapKeys, "`, `")+"`"))
	}
}
