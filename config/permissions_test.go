package config_test

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	leaseRole     = name + "-leader-election"
	metricsRole   = name + "-metrics-auth"
	watchRole     = name + "-watch"
	touchRole     = name + "-touch"
	restartRole   = name + "-restart"
	evictRole     = name + "-evict"
	refresherRole = "wechattoken-refresher"
	readerRole    = "wechattoken-reader"
)

// serverFolder has the samples for the token server.
const serverFolder = "samples/token-server"

// A permission is a verb on a resource that a role gives.
type permission struct {
	Role     string
	Verb     string
	Resource string // with its group, or a path
	Name     string // of the one object; empty for all
}

// resourceOf is how a resource is written in a [permission]: as in a command line of
// kubectl.
func resourceOf(group, resource, sub string) string {
	if group != "" {
		resource += "." + group
	}
	return path.Join(resource, sub)
}

// permissions are all that the roles of some manifests give.
func permissions(t *testing.T, manifests []unstructured.Unstructured) []permission {
	t.Helper()
	var all []permission
	add := func(role string, rules []rbacv1.PolicyRule) {
		for _, rule := range rules {
			resources := rule.NonResourceURLs
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					resource, sub, _ := strings.Cut(resource, "/")
					resources = append(resources, resourceOf(group, resource, sub))
				}
			}
			names := rule.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, verb := range rule.Verbs {
				for _, resource := range resources {
					for _, name := range names {
						all = append(all, permission{Role: role, Verb: verb, Resource: resource, Name: name})
					}
				}
			}
		}
	}
	for _, r := range ofKind[rbacv1.ClusterRole](t, "ClusterRole", manifests) {
		add(r.Name, r.Rules)
	}
	for _, r := range ofKind[rbacv1.Role](t, "Role", manifests) {
		add(r.Name, r.Rules)
	}
	return all
}

func sorted(permissions []permission) []permission {
	return slices.SortedFunc(slices.Values(permissions), func(a, b permission) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
}

// Who reads docs/rbac.md knows all that is given to the operator and to people,
// and what for.
func TestEachPermissionHasItsReason(t *testing.T) {
	t.Parallel()
	given := sorted(permissions(t, append(withEvict(t), objects(t, "token-server")...)))
	if len(given) < 30 {
		t.Errorf("there are %d permissions", len(given))
	}
	for _, file := range []string{"rbac.md", "zh/rbac.md"} {
		if diff := cmp.Diff(given, sorted(permissionsOnPage(t, filepath.Join("../docs", file)))); diff != "" {
			t.Errorf("docs/%s (-manifests +table):\n%s", file, diff)
		}
	}
}

var (
	rightRow      = regexp.MustCompile("(?m)^\\| `(wechat[a-z-]+)` \\| (`.*`) \\| (`[^|]*) \\| *(.*?) *\\|$")
	rightVerb     = regexp.MustCompile("`([^`]+)`")
	rightResource = regexp.MustCompile("`([^`]+)`(?: \\(`([^`]+)`\\))?")
)

// permissionsOnPage are those in the table of a page, whose rows are: role, verbs,
// resources and reason.
func permissionsOnPage(t *testing.T, page string) []permission {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var told []permission
	for _, row := range rightRow.FindAllStringSubmatch(string(text), -1) {
		if len(row[4]) < 10 {
			t.Errorf("%s gives no reason in %s", page, row[0])
		}
		for _, verb := range rightVerb.FindAllStringSubmatch(row[2], -1) {
			for _, resource := range rightResource.FindAllStringSubmatch(row[3], -1) {
				told = append(told, permission{Role: row[1], Verb: verb[1], Resource: resource[1], Name: resource[2]})
			}
		}
	}
	return told
}

// The default has nothing to do with consumers.
func TestConsumersAddRolesAndPolicies(t *testing.T) {
	t.Parallel()
	if args := container(only(t, deployments(t, "default"))).Args; slices.Contains(args, "--consumers") {
		t.Error("by default the manager looks after consumers")
	}
	added := map[string]bool{}
	for _, o := range objects(t, "consumers") {
		added[o.GetKind()+"/"+o.GetName()] = true
	}
	for _, o := range objects(t, "default") {
		delete(added, o.GetKind()+"/"+o.GetName())
	}
	want := []string{
		"ClusterRole/" + name + "-restart", "ClusterRole/" + name + "-touch", "ClusterRole/" + name + "-watch",
		"ClusterRoleBinding/" + name + "-restart", "ClusterRoleBinding/" + name + "-touch", "ClusterRoleBinding/" + name + "-watch",
		"ValidatingAdmissionPolicy/" + name + "-restart", "ValidatingAdmissionPolicy/" + name + "-touch",
		"ValidatingAdmissionPolicyBinding/" + name + "-restart", "ValidatingAdmissionPolicyBinding/" + name + "-touch",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(added))); diff != "" {
		t.Errorf("beside the default (-want +got):\n%s", diff)
	}
}
