package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
)

// leastKubernetes is what the admission policies need: they map maps.
const leastKubernetes = "1.33"

// preFacts are what is known before an install.
type preFacts struct {
	version  fetched[string]
	policies fetched[bool] // whether the API server has them
	schema   fetched[schemas]
	installs fetched[[]install]
	yours    fetched[[]permission]
}

// preChecks are made before an install, in this order.
var preChecks = []check[preFacts]{
	{"kubernetes", versionEnough},
	{"policies", policiesServed},
	{"crd", crdBefore},
	{"operator", installedAlready},
	{"your-permissions", youMayInstall},
}

// creates is what an install creates, by its resources; those with a true are in the
// namespace of the operator.
var creates = []struct {
	group, kind, resource string
	namespaced            bool
}{
	{"", "Namespace", "namespaces", false},
	{"", "Service", "services", true},
	{"", "ServiceAccount", "serviceaccounts", true},
	{"admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", false},
	{"admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false},
	{"apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", false},
	{"apps", "Deployment", "deployments", true},
	{"networking.k8s.io", "NetworkPolicy", "networkpolicies", true},
	{"policy", "PodDisruptionBudget", "poddisruptionbudgets", true},
	{"rbac.authorization.k8s.io", "ClusterRole", "clusterroles", false},
	{"rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", false},
	{"rbac.authorization.k8s.io", "Role", "roles", true},
	{"rbac.authorization.k8s.io", "RoleBinding", "rolebindings", true},
}

func (g *gatherer) preFacts(ctx context.Context) *preFacts {
	var (
		server struct {
			GitVersion string `json:"gitVersion"`
		}
		policies metav1.APIResourceList
		f        preFacts
	)
	f.version.err = explain(g.read(ctx, "/version", &server))
	f.version.value = server.GitVersion
	f.policies.err = g.read(ctx, "/apis/admissionregistration.k8s.io/v1", &policies)
	f.policies.value = slices.ContainsFunc(policies.APIResources, func(r metav1.APIResource) bool { return r.Name == "validatingadmissionpolicies" })
	f.schema = g.schema(ctx)
	f.installs = fetch(g.installs(ctx))
	f.yours = fetch(g.mayYou(ctx, installerNeeds(cmp.Or(g.operatorNS, operatorName))))
	return &f
}

// installerNeeds are the permissions of somebody who installs the operator in a
// namespace. RBAC lets nobody give what they do not have, so what the operator needs is
// among them.
func installerNeeds(namespace string) []permission {
	var all []permission
	for _, c := range creates {
		a := authorizationv1.ResourceAttributes{Verb: "create", Group: c.group, Resource: c.resource}
		if c.namespaced {
			a.Namespace = namespace
		}
		all = append(all, permission{attributes: a})
	}
	operator := install{}
	operator.deployment.Namespace = namespace
	return append(all, operator.needs()...)
}

func versionEnough(f *preFacts, _ time.Time) []finding {
	if err := f.version.err; err != nil {
		return []finding{unknownf("the version of Kubernetes: %s", sorry(err))}
	}
	v, err := version.ParseGeneric(f.version.value)
	switch {
	case err != nil:
		return []finding{unknownf("the version of Kubernetes: %v", err)}
	case v.LessThan(version.MustParseGeneric(leastKubernetes)):
		return []finding{fails("Kubernetes %s is too old: the admission policies need %s; from 1.30 on the chart installs with policy.enabled=false, as docs/helm.md says", f.version.value, leastKubernetes)}
	}
	return []finding{passes("Kubernetes %s", f.version.value)}
}

func policiesServed(f *preFacts, _ time.Time) []finding {
	switch {
	case f.policies.err != nil && !apierrors.IsNotFound(f.policies.err):
		return []finding{unknownf("admission policies: %s", sorry(f.policies.err))}
	case !f.policies.value:
		return []finding{fails("the cluster has no ValidatingAdmissionPolicy of admissionregistration.k8s.io/v1, which keeps the operator to its own Secrets: switch it on in the API server, or, on Kubernetes 1.30 or newer, install the chart with policy.enabled=false and namespaces, as docs/helm.md says")}
	}
	return []finding{passes("the cluster has admission policies")}
}

func crdBefore(f *preFacts, _ time.Time) []finding {
	if err := f.schema.err; err != nil {
		return []finding{unknownf("the CRD: %s", sorry(err))}
	}
	if !f.schema.value.served() {
		return []finding{passes("there is no CRD yet; the install brings it")}
	}
	if missing := missingFields(f.schema.value.kindSchema()); len(missing) > 0 {
		return []finding{warns("there is a CRD of an older version, without %s: the install replaces it, and keeps the WeChatTokens", some(missing))}
	}
	return []finding{passes("there is a CRD already, with all fields that this plugin knows")}
}

func installedAlready(f *preFacts, _ time.Time) []finding {
	if err := f.installs.err; err != nil {
		return []finding{unknownf("Deployments cannot be listed, so there may be an operator already: %s. --operator-namespace says where to look", sorry(err))}
	}
	if len(f.installs.value) == 0 {
		return []finding{passes("there is no operator yet")}
	}
	var all []finding
	for i := range f.installs.value {
		in := &f.installs.value[i]
		all = append(all, warns("Deployment %s is there, image %s. To upgrade it: %s. A second operator must have other --namespaces or another --selector", in, in.images(), in.remedy("apply the manifests of the new version, with your changes")))
	}
	return all
}

func youMayInstall(f *preFacts, _ time.Time) []finding {
	if err := f.yours.err; err != nil {
		return []finding{unknownf("your permissions: %s", sorry(err))}
	}
	if not := denied(f.yours.value); len(not) > 0 {
		return []finding{fails("you may not %s: have a cluster administrator install it", some(not))}
	}
	return []finding{passes("you may create what an install creates")}
}
