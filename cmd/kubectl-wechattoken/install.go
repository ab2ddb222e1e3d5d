package main

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"wechattoken.io/operator/api/v1alpha1"
)

// flags are those of a manager that matter here.
type flags struct {
	namespaces []string        // empty for all
	selector   labels.Selector // nil for all
	weChat     string          // empty for WeChat itself
	consumers  bool
	alone      bool // without leader election
}

// flagsOf reads the command line of the operator's container.
func flagsOf(d *appsv1.Deployment) flags {
	values := flagValues(&d.Spec.Template.Spec)
	selector, _ := labels.Parse(values["selector"]) // with one that cannot be, the operator does not start
	consumers, given := values["consumers"]
	return flags{
		namespaces: strings.FieldsFunc(values["namespaces"], func(r rune) bool { return r == ',' || r == ' ' }),
		selector:   selector,
		weChat:     values["wechat-url"],
		consumers:  given && consumers != "false",
		alone:      values["leader-elect"] == "false",
	}
}

// flagValues are what the command lines of a pod set, by the flag's name: after
// "=", or in the next argument. A flag without a value is there, too.
func flagValues(pod *corev1.PodSpec) map[string]string {
	values := map[string]string{}
	for _, c := range pod.Containers {
		args := slices.Concat(c.Command, c.Args)
		for i, arg := range args {
			if !strings.HasPrefix(arg, "-") {
				continue
			}
			name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			if !given && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				value = args[i+1]
			}
			values[name] = value
		}
	}
	return values
}

// worksOn reports whether an operator with these flags works on wt.
func (f flags) worksOn(wt *v1alpha1.WeChatToken) bool {
	return (len(f.namespaces) == 0 || slices.Contains(f.namespaces, wt.Namespace)) &&
		(f.selector == nil || f.selector.Matches(labels.Set(wt.Labels)))
}

// permission is what somebody may do, or not.
type permission struct {
	attributes authorizationv1.ResourceAttributes
	allowed    bool
}

func (r permission) String() string {
	a := r.attributes
	what := a.Resource
	if a.Subresource != "" {
		what += "/" + a.Subresource
	}
	if a.Group != "" {
		what += "." + a.Group
	}
	if a.Namespace == "" {
		return fmt.Sprintf("%s %s in all namespaces", a.Verb, what)
	}
	return fmt.Sprintf("%s %s in namespace %s", a.Verb, what, a.Namespace)
}

// rule is what an operator needs in each namespace where it works, as
// config/rbac/role.yaml gives it, and with --consumers config/consumers/watch.
type rule struct {
	group, resource string
	verbs           []string
}

var rules = []rule{
	{"", "secrets", []string{"create", "delete", "get", "list", "patch", "watch"}},
	{"events.k8s.io", "events", []string{"create"}},
	{v1alpha1.GroupVersion.Group, "wechattokens", []string{"list", "watch"}},
	{v1alpha1.GroupVersion.Group, "wechattokens/status", []string{"patch"}},
}

var consumerRules = []rule{
	{"apps", "deployments", []string{"list", "watch"}},
	{"apps", "statefulsets", []string{"list", "watch"}},
	{"apps", "daemonsets", []string{"list", "watch"}},
	{"apps", "replicasets", []string{"get"}},
	{"batch", "cronjobs", []string{"list"}},
	{"batch", "jobs", []string{"get"}},
	{"", "pods", []string{"list"}},
}

// needs are the permissions that an install must have.
func (i *install) needs() []permission {
	namespaces := i.flags.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	all := rules
	if i.flags.consumers {
		all = slices.Concat(rules, consumerRules)
	}
	var permissions []permission
	for _, namespace := range namespaces {
		for _, r := range all {
			resource, sub, _ := strings.Cut(r.resource, "/")
			for _, verb := range r.verbs {
				permissions = append(permissions, permission{attributes: authorizationv1.ResourceAttributes{Verb: verb, Group: r.group, Resource: resource, Subresource: sub, Namespace: namespace}})
			}
		}
	}
	if !i.flags.alone {
		const group = "coordination.k8s.io"
		at := i.deployment.Namespace
		permissions = append(permissions,
			permission{attributes: authorizationv1.ResourceAttributes{Verb: "create", Group: group, Resource: "leases", Namespace: at}},
			permission{attributes: authorizationv1.ResourceAttributes{Verb: "get", Group: group, Resource: "leases", Name: operatorName, Namespace: at}},
			permission{attributes: authorizationv1.ResourceAttributes{Verb: "update", Group: group, Resource: "leases", Name: operatorName, Namespace: at}})
	}
	return permissions
}

// denied are those of the permissions that are not given, in words.
func denied(permissions []permission) []string {
	var all []string
	for _, r := range permissions {
		if !r.allowed {
			all = append(all, r.String())
		}
	}
	return all
}
