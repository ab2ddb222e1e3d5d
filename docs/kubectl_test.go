//go:build integration

package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
)

// ofWeChatToken is a resource of ours as kubectl takes it.
var ofWeChatToken = regexp.MustCompile(`^(wxt|wechattokens?(\.wechattoken\.io)?)(/.*)?$`)

// foreign are the resources of others that pages speak of, and this API server
// does not know.
var foreign = regexp.MustCompile(`(^|,)(applications?|externalsecrets|webhooks|helmreleases?|kustomizations?|prometheuse?s?|prometheusrules?|servicemonitors?)([./ ,]|$)`)

// kubectl tries what can be tried of a command: its flags always, its paths
// into objects against the kind, and reads and changes of what the API server
// has.
func (c trier) kubectl(args []string) string {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i] // what is behind it runs elsewhere
	}
	kubectl := c.cluster.Kubectl().Path
	if said := c.try(kubectl, append(slices.Clone(args), "--help")...); said != "" {
		if strings.HasPrefix(args[len(args)-1], "-") { // a text may name a flag without a value
			return c.try(kubectl, append(slices.Clone(args), "x", "--help")...)
		}
		return said
	}
	verb, resources := "", ""
	for i, arg := range args {
		switch {
		case strings.HasPrefix(arg, "-") || (i > 0 && slices.Contains([]string{"-n", "-f", "-k", "-l", "-o", "-p", "--namespace"}, args[i-1])):
		case verb == "":
			verb = arg
		case resources == "":
			resources = arg
		}
	}
	ours := ofWeChatToken.MatchString(resources)
	for i, arg := range args {
		if i > 0 && (args[i-1] == "-k" || args[i-1] == "-f") || strings.HasPrefix(arg, "-") {
			if strings.HasPrefix(arg, "-") {
				_, arg, _ = strings.Cut(arg, "=")
			}
			if inProject.MatchString(arg) && isFolder(arg) {
				if said := c.try(kubectl, "kustomize", arg); said != "" {
					return said
				}
			}
		}
	}
	if why := pathsInto(args, ours); why != "" {
		return why
	}
	return c.onServer(kubectl, verb, resources, args, ours)
}

// onServer runs a command that reads, or that changes a WeChatToken, which it
// then does not keep.
func (c trier) onServer(kubectl, verb, resources string, args []string, ours bool) string {
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "-w" || arg == "--watch" })
	switch {
	case resources == "" || foreign.MatchString(resources):
		return ""
	case verb == "get", verb == "describe":
	case ours && (verb == "annotate" || verb == "label" || verb == "patch"):
		args = append(args, "--dry-run=server")
	default:
		return ""
	}
	said := c.try(kubectl, args...)
	if strings.Contains(said, "(NotFound)") || strings.HasSuffix(said, " not found") {
		return "" // it is another cluster's
	}
	return said
}

// pathsInto checks what in the arguments says where in an object something is.
func pathsInto(args []string, ours bool) string {
	var templates []string
	for i, arg := range args {
		if i > 0 && (args[i-1] == "-o" || args[i-1] == "--output") {
			arg = "-o=" + arg
		}
		_, value, _ := strings.Cut(arg, "=")
		switch {
		case strings.HasPrefix(arg, "-o") && strings.Contains(arg, "jsonpath="):
			_, value, _ = strings.Cut(arg, "jsonpath=")
			templates = append(templates, value)
		case strings.HasPrefix(arg, "-o") && strings.Contains(arg, "custom-columns="):
			_, value, _ = strings.Cut(arg, "custom-columns=")
			for column := range strings.SplitSeq(value, ",") {
				_, path, _ := strings.Cut(column, ":")
				templates = append(templates, "{"+path+"}")
			}
		case strings.HasPrefix(arg, "--for=jsonpath="):
			value = strings.TrimPrefix(value, "jsonpath=")
			if end := strings.LastIndex(value, "}"); end >= 0 {
				value = value[:end+1]
			}
			templates = append(templates, value)
		case strings.HasPrefix(arg, "--sort-by="):
			templates = append(templates, "{"+strings.Trim(value, "{}")+"}")
		}
	}
	for _, template := range templates {
		parsed, err := jsonpath.Parse("", template)
		if err != nil {
			return fmt.Sprintf("%v in %s", err, template)
		}
		if ours {
			if err := follow(parsed.Root); err != nil {
				return fmt.Sprintf("%v in %s", err, template)
			}
		}
	}
	return ""
}

// kindSchema is what the CRD says of a WeChatToken.
func kindSchema() (*apiextensionsv1.JSONSchemaProps, error) {
	text, err := os.ReadFile(filepath.Join(root, "config/crd/wechattoken.io_wechattokens.yaml"))
	if err != nil {
		return nil, err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return nil, err
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema, nil
}

// follow goes the paths of a template into a WeChatToken, or a list of them.
func follow(template *jsonpath.ListNode) error {
	kind, err := kindSchema()
	if err != nil {
		return err
	}
	start := []*apiextensionsv1.JSONSchemaProps{kind} // the last is that of the innermost range
	for _, n := range template.Nodes {
		action, ok := n.(*jsonpath.ListNode)
		if !ok {
			continue // text
		}
		nodes, ranges := action.Nodes, false
		if len(nodes) > 0 {
			if word, ok := nodes[0].(*jsonpath.IdentifierNode); ok {
				nodes, ranges = nodes[1:], word.Name == "range"
				if word.Name == "end" {
					start = start[:len(start)-1]
				}
			}
		}
		to, err := walk(start[len(start)-1], kind, nodes)
		if err != nil {
			return err
		}
		if ranges {
			start = append(start, to)
		}
	}
	return nil
}

// walk goes the nodes of one path. nil is what nothing is known of.
func walk(at, kind *apiextensionsv1.JSONSchemaProps, nodes []jsonpath.Node) (*apiextensionsv1.JSONSchemaProps, error) {
	for _, n := range nodes {
		if at == nil {
			return nil, nil
		}
		switch n := n.(type) {
		case *jsonpath.ListNode:
			var err error
			if at, err = walk(at, kind, n.Nodes); err != nil {
				return nil, err
			}
		case *jsonpath.FieldNode:
			switch next, ok := at.Properties[n.Value]; {
			case n.Value == "":
			case at == kind && n.Value == "metadata":
				at = nil
			case at == kind && n.Value == "items":
				at = &apiextensionsv1.JSONSchemaProps{Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: kind}}
			case ok:
				at = &next
			case at.AdditionalProperties != nil:
				at = at.AdditionalProperties.Schema
			default:
				return nil, fmt.Errorf("there is no %s", n.Value)
			}
		case *jsonpath.ArrayNode, *jsonpath.WildcardNode, *jsonpath.FilterNode:
			if at.Items == nil {
				return nil, fmt.Errorf("what is before %s is no list", n)
			}
			if at = at.Items.Schema; at == kind {
				break // it has its own name in the path again
			}
			if filter, ok := n.(*jsonpath.FilterNode); ok {
				if _, err := walk(at, kind, filter.Left.Nodes); err != nil {
					return nil, err
				}
			}
		}
	}
	return at, nil
}
