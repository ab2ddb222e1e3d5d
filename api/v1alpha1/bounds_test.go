package v1alpha1_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// specSchema is what the API server checks a spec with.
func specSchema(t *testing.T) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	return schema(t).Properties["spec"]
}

// schema is that of a whole WeChatToken.
func schema(t *testing.T) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	text, err := os.ReadFile("../../config/crd/wechattoken.io_wechattokens.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// Who adds a controller finds its place, and sees that it is not there.
func TestTheDomainsOfOtherControllersAreSorted(t *testing.T) {
	rule := specSchema(t).Properties["secret"].XValidations[0].Rule
	found := regexp.MustCompile(`\[\.\]\)\?\((.*)\)/'`).FindStringSubmatch(rule)
	if found == nil {
		t.Fatalf("there are no domains in %s", rule)
	}
	domains := strings.Split(strings.ReplaceAll(found[1], "[.]", "."), "|")
	if len(domains) < 20 || !slices.IsSorted(domains) || len(slices.Compact(slices.Clone(domains))) != len(domains) {
		t.Errorf("want each domain once, in the order of the alphabet: %q", domains)
	}
}

// A field without a bound would let one object be as large as etcd takes it.
func TestEachFieldOfTheSpecHasABound(t *testing.T) {
	var check func(path string, s apiextensionsv1.JSONSchemaProps)
	check = func(path string, s apiextensionsv1.JSONSchemaProps) {
		switch {
		case len(s.Enum) > 0, s.Type == "boolean", s.Type == "integer":
		case s.Type == "string":
			if s.MaxLength == nil {
				t.Errorf("%s has no MaxLength", path)
			}
		case s.Type == "array":
			if s.MaxItems == nil {
				t.Errorf("%s has no MaxItems", path)
			}
			check(path+"[]", *s.Items.Schema)
		case s.AdditionalProperties != nil:
			if s.MaxProperties == nil {
				t.Errorf("%s has no MaxProperties", path)
			}
			check(path+"{}", *s.AdditionalProperties.Schema)
		case s.Type == "object" && len(s.Properties) > 0:
			for field, of := range s.Properties {
				check(path+"."+field, of)
			}
		default:
			t.Errorf("%s is of type %q, whose bound this test does not know", path, s.Type)
		}
	}
	check("spec", specSchema(t))
}

// `kubectl explain` is the manual: each field says what it is.
func TestEveryFieldIsExplained(t *testing.T) {
	var check func(path string, s apiextensionsv1.JSONSchemaProps)
	check = func(path string, s apiextensionsv1.JSONSchemaProps) {
		if len(strings.Fields(s.Description)) < 3 {
			t.Errorf("%s is explained by %q", path, s.Description)
		}
		if s.Type == "array" {
			s = *s.Items.Schema
		}
		for field, of := range s.Properties {
			check(path+"."+field, of)
		}
	}
	for _, field := range []string{"spec", "status"} {
		check(field, schema(t).Properties[field])
	}
}
