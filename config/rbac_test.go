//go:build integration

package config_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The operator is given what it asks for and nothing else. This fails when a verb
// is taken from a role, and when one is added that it never uses. Each part of
// config/consumers is alone with what it needs, and what config/rbac/role-binding.yaml
// says of --namespaces is true: no permission on Secrets reaches beyond them.
func TestTheOperatorNeedsNothingButItsRoles(t *testing.T) {
	t.Parallel()
	const restart = `"restart":{"workloads":[{"kind":"Deployment"},{"kind":"StatefulSet"},{"kind":"DaemonSet"}]}`
	cases := map[string]struct {
		reason string
		some   bool // of the namespaces are served
		roles  []string
		spec   string
		flags  []string
	}{
		"Default": {reason: "No pods are looked at."},
		"Consumers": {
			reason: "Pods are touched and workloads restarted.",
			roles:  []string{watchRole, touchRole, restartRole},
			spec:   `"propagation":"Touch",` + restart,
			flags:  []string{"--consumers"},
		},
		"SomeNamespaces": {reason: "No pods are looked at.", some: true},
		"SomeNamespacesWatched": {
			reason: "Workloads are told of, and left alone.",
			some:   true,
			roles:  []string{watchRole},
			flags:  []string{"--consumers"},
		},
		"SomeNamespacesTouched": {
			reason: "Pods are touched, and no workload is restarted.",
			some:   true,
			roles:  []string{watchRole, touchRole},
			spec:   `"propagation":"Touch"`,
			flags:  []string{"--consumers"},
		},
		"SomeNamespacesEvicted": {
			reason: "Pods are evicted, also of kinds that nobody watches, and no workload is changed.",
			some:   true,
			roles:  []string{watchRole, evictRole},
			spec: `"restart":{"workloads":[{"kind":"Deployment","method":"Eviction"},
				{"apiVersion":"argoproj.io/v1alpha1","kind":"Rollout","name":"shop","method":"Eviction"},
				{"apiVersion":"apps.kruise.io/v1beta1","kind":"StatefulSet","name":"shop","method":"Eviction"},
				{"apiVersion":"apps.kruise.io/v1beta1","kind":"CloneSet","name":"shop","method":"Eviction"}]}`,
			flags: []string{"--consumers", "--stable-window=16s"}, // of which a pod must have run for half
		},
		"SomeNamespacesRestarted": {
			reason: "Workloads are restarted, and no pod is touched.",
			some:   true,
			roles:  []string{watchRole, restartRole},
			spec:   restart,
			flags:  []string{"--consumers"},
		},
	}
	for what, tc := range cases {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			own, here, there, elsewhere := newNamespace(t), newNamespace(t), newNamespace(t), newNamespace(t)
			if slices.Contains(tc.roles, evictRole) {
				if err := cluster.admin(t).Create(t.Context(), &ofKind[rbacv1.ClusterRole](t, "ClusterRole", objectsIn(t, "consumers/evict/role.yaml"))[0]); err != nil {
					t.Fatal(err)
				}
			}
			roles, wide, served := append([]string{name}, tc.roles...), []string{metricsRole}, "--selector=test="+own
			if !tc.some {
				wide = append(wide, roles...)
			} else {
				served = "--namespaces=" + here + "," + there
				for _, ns := range []string{here, there} {
					cluster.bind(t, ns, own, name, roles...)
				}
			}
			lease := only(t, ofKind[rbacv1.Role](t, "Role", objects(t, "default")))
			lease.Namespace = own
			if err := cluster.admin(t).Create(t.Context(), &lease); err != nil {
				t.Fatal(err)
			}
			cluster.kubectl(t, "create", "rolebinding", leaseRole, "-n", own, "--role="+leaseRole, "--serviceaccount="+own+":"+name)
			cluster.bind(t, "", own, name, wide...)
			who := cluster.person(t, own, name)
			fake, _ := testcluster.FakeWeChat(t, wechattest.Config{})
			stranger := cluster.applyWeChatTokens(t, fake, elsewhere, "samples/stable.yaml")[0]

			exercise(t, own, here, tc.spec, who, append(tc.flags, served)...)
			usesAll(t, own, name, permissions(t, withEvict(t)), append(roles, leaseRole, metricsRole))
			if got := cluster.kubectl(t, "get", "-n", elsewhere, "wxt/"+stranger, "-o", "jsonpath={.status.conditions}"); got != "" {
				t.Errorf("%s\nelsewhere there is a status: %s", tc.reason, got)
			}
		})
	}
}

// exercise lets the operator of the namespace own do all that it can, for a
// WeChatToken with more in its spec. Two managers run, so that one can take over.
func exercise(t *testing.T, own, ns, more string, who *rest.Config, flags ...string) {
	t.Helper()
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	addr, err := testcluster.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	flags = append(flags, "--leader-elect", "--leader-election-namespace="+own)
	holder := func() string {
		return cluster.kubectl(t, "get", "lease", "-n", own, "-o", "jsonpath={.items[*].spec.holderIdentity}")
	}
	stopLeader := cluster.operate(t, who, url, append(flags, "--metrics-bind-address="+addr)...)
	testcluster.Eventually(t, "somebody leads", func() error {
		if holder() == "" {
			return errors.New("the lease is free")
		}
		return nil
	})
	// The stand-by asks as an API server wants it that cannot stream a list, such
	// as that of Kubernetes 1.33.
	stopStandby := cluster.run(t, managerWith(t, "KUBE_FEATURE_WatchListClient=false"), who, url, flags...)

	var pods, workloads []client.Object
	if slices.Contains(flags, "--consumers") {
		pods, workloads = consume(t, ns)
	}
	if strings.Contains(more, "Eviction") {
		scalable(t, ns)
	}
	shop := cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	cluster.kubectl(t, "label", "-n", ns, "wxt/"+shop, "test="+own)
	patch := func(spec string) {
		cluster.kubectl(t, "patch", "-n", ns, "wxt/"+shop, "--type=merge", `--patch={"spec":{`+spec+`}}`)
		generation := cluster.kubectl(t, "get", "-n", ns, "wxt/"+shop, "-o", "jsonpath={.metadata.generation}")
		cluster.kubectl(t, "wait", "-n", ns, "--for=jsonpath={.status.observedGeneration}="+generation, "--timeout="+testcluster.Patience.String(), "wxt/"+shop)
	}
	cluster.awaitReady(t, ns, shop)
	if slices.Contains(flags, "--consumers") {
		patch(more)
		cluster.kubectl(t, "wait", "-n", ns, "--for=jsonpath={.status.consumers[4].name}", "--timeout="+testcluster.Patience.String(), "wxt/"+shop)
	}
	cluster.kubectl(t, "annotate", "-n", ns, "wxt/"+shop, v1alpha1.AnnotationRefreshRequestedAt+"=monday")
	cluster.kubectl(t, "wait", "-n", ns, "--for=jsonpath={.status.lastHandledRefreshAt}=monday", "--timeout="+testcluster.Patience.String(), "wxt/"+shop)
	awaitFollowed(t, ns, shop, more, pods, workloads)
	testcluster.Eventually(t, "events tell of it", func() error {
		return contains(cluster.kubectl(t, "get", "events", "-n", ns), v1alpha1.ReasonTokenValid, "Refreshed")
	})
	testcluster.Eventually(t, "the metrics are read", func() error {
		status, err := scrape(t.Context(), addr, prometheus(t, ns))
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("got %d, want %d", status, http.StatusOK)
		}
		return err
	})
	patch(`"secret":{"name":"moved"}`)
	cluster.kubectl(t, "wait", "-n", ns, "--for=delete", "--timeout="+testcluster.Patience.String(), "secret/shop-token")

	before := holder()
	stopLeader()
	testcluster.Eventually(t, "the stand-by leads", func() error {
		if now := holder(); now == "" || now == before {
			return fmt.Errorf("the lease is held by %q", now)
		}
		return nil
	})
	cluster.kubectl(t, "delete", "-n", ns, "secret/moved") // it comes back
	cluster.kubectl(t, "wait", "-n", ns, "--for=create", "--timeout="+testcluster.Patience.String(), "secret/moved")
	stopStandby()
	if left := holder(); left != "" {
		t.Errorf("%s has left and still holds the lease", left)
	}
}

// prometheus is the credential of who may read the metrics.
func prometheus(t *testing.T, ns string) string {
	t.Helper()
	admin := cluster.admin(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "prometheus", Namespace: ns}}
	reader := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "prometheus-" + ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name + "-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: account.Name}},
	}
	for _, o := range []client.Object{account, reader} {
		if err := client.IgnoreAlreadyExists(admin.Create(t.Context(), o)); err != nil {
			t.Fatal(err)
		}
	}
	return cluster.serviceAccount(t, ns, account.Name).BearerToken
}

// consume makes a workload of each watched kind that uses the Secret, with a pod, as
// their controllers would, and pods of a Job and of a ReplicaSet.
func consume(t *testing.T, ns string) (pods, workloads []client.Object) {
	t.Helper()
	admin, deployment := cluster.admin(t), consumerDeployment(ns)
	as := func(name string) (metav1.ObjectMeta, *metav1.LabelSelector, corev1.PodTemplateSpec) {
		labels := map[string]string{"app": name}
		template := *deployment.Spec.Template.DeepCopy()
		template.Labels = labels
		return metav1.ObjectMeta{Name: name, Namespace: ns}, &metav1.LabelSelector{MatchLabels: labels}, template
	}
	stateful, daemon := &appsv1.StatefulSet{}, &appsv1.DaemonSet{}
	stateful.ObjectMeta, stateful.Spec.Selector, stateful.Spec.Template = as("stateful")
	daemon.ObjectMeta, daemon.Spec.Selector, daemon.Spec.Template = as("daemon")
	workloads = []client.Object{deployment, stateful, daemon}
	for _, o := range workloads {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	deployment.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
	stateful.Status = appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1, CurrentRevision: "a", UpdateRevision: "a"}
	daemon.Status = appsv1.DaemonSetStatus{ObservedGeneration: 1, CurrentNumberScheduled: 1, DesiredNumberScheduled: 1, UpdatedNumberScheduled: 1, NumberReady: 1, NumberAvailable: 1}
	pods = []client.Object{consumerPod(ns)}
	for _, owner := range []metav1.OwnerReference{
		{APIVersion: "apps/v1", Kind: "StatefulSet", Name: stateful.Name, UID: stateful.UID},
		{APIVersion: "apps/v1", Kind: "DaemonSet", Name: daemon.Name, UID: daemon.UID},
		{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "canary", UID: "canary"},
		{APIVersion: "batch/v1", Kind: "Job", Name: "import", UID: "import"},
	} {
		owner.Controller = new(true)
		pod := consumerPod(ns)
		pod.Name, pod.Labels, pod.OwnerReferences = owner.Name+"-0", map[string]string{"app": owner.Name}, []metav1.OwnerReference{owner}
		pods = append(pods, pod)
	}
	for _, o := range pods {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		o.(*corev1.Pod).Status.Phase = corev1.PodRunning
	}
	for _, o := range slices.Concat(pods, workloads) {
		if err := admin.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return pods, workloads
}

// scalable makes the other kinds that config/consumers/evict names, and one of each.
func scalable(t *testing.T, ns string) {
	t.Helper()
	for _, k := range []struct{ group, version, plural, kind string }{
		{"argoproj.io", "v1alpha1", "rollouts", "Rollout"}, {"apps.kruise.io", "v1beta1", "clonesets", "CloneSet"}, {"apps.kruise.io", "v1beta1", "statefulsets", "StatefulSet"},
	} {
		applyText(t, fmt.Sprintf(`{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "%[3]s.%[1]s"}, "spec": {
			"group": "%[1]s", "scope": "Namespaced", "names": {"plural": "%[3]s", "kind": "%[4]s"}, "versions": [{
				"name": "%[2]s", "served": true, "storage": true,
				"schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
				"subresources": {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}}}]}}`, k.group, k.version, k.plural, k.kind))
		cluster.kubectl(t, "wait", "--for=condition=Established", "crd/"+k.plural+"."+k.group)
		applyText(t, fmt.Sprintf(`{"apiVersion": "%s/%s", "kind": "%s", "metadata": {"name": "shop", "namespace": "%s"}, "spec": {"replicas": 1}, "status": {"selector": "app=none"}}`, k.group, k.version, k.kind, ns))
	}
}

// applyText applies a manifest.
func applyText(t *testing.T, manifest string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster.kubectl(t, "apply", "--server-side", "-f", file)
}

// awaitFollowed waits until pods and workloads have been told of the token, those
// that more in the spec wants told; the others stay as they are.
func awaitFollowed(t *testing.T, ns, wxt, more string, pods, workloads []client.Object) {
	t.Helper()
	admin := cluster.admin(t)
	fingerprint := cluster.kubectl(t, "get", "-n", ns, "wxt/"+wxt, "-o", "jsonpath={.status.tokenFingerprint}")
	evicts := strings.Contains(more, "Eviction")
	wanted := func(word string) string {
		if strings.Contains(more, word) && !evicts {
			return fingerprint
		}
		return ""
	}
	restartedFor := func(o client.Object) string {
		token, _, _ := strings.Cut(o.GetAnnotations()[v1alpha1.AnnotationRestartPrefix+wxt], "@")
		return token
	}
	testcluster.Eventually(t, "pods are touched and workloads restarted", func() error {
		for _, o := range slices.Concat(pods, workloads) {
			err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), o)
			if evicts && o == pods[0] { // of the Deployment
				if err == nil {
					return fmt.Errorf("pod %s is still there", o.GetName())
				}
				continue
			}
			if err != nil {
				return err
			}
			var got, want string
			switch o := o.(type) {
			case *corev1.Pod:
				got, want = o.Annotations[v1alpha1.AnnotationTouchedFor], wanted("Touch")
			default:
				got, want = restartedFor(o), wanted("restart")
			}
			if got != want {
				return fmt.Errorf("%T %s was told of %q, want %q", o, o.GetName(), got, want)
			}
		}
		return nil
	})
}

// allowedBy is what the RBAC authorizer says of what it allows.
var allowedBy = regexp.MustCompile(`^RBAC: allowed by (?:Cluster)?RoleBinding "[^"]+" of (?:Cluster)?Role "([^"]+)" to `)

// usesAll compares what the API server says that a ServiceAccount of the namespace own
// has asked for with what some roles of all give: nothing more, and nothing less.
func usesAll(t *testing.T, own, account string, all []permission, roles []string) {
	t.Helper()
	given := slices.DeleteFunc(all, func(r permission) bool { return !slices.Contains(roles, r.Role) })
	used := map[permission]bool{}
	for _, a := range auditedTo(t, own) {
		if a.User.Username != "system:serviceaccount:"+own+":"+account {
			continue
		}
		if a.ResponseStatus.Code == http.StatusForbidden || a.Annotations["authorization.k8s.io/decision"] != "allow" {
			t.Errorf("it was forbidden to %s %s: %v", a.Verb, a.RequestURI, a.Annotations)
			continue
		}
		by := allowedBy.FindStringSubmatch(a.Annotations["authorization.k8s.io/reason"])
		if by == nil {
			t.Errorf("nobody knows why it may %s %s: %v", a.Verb, a.RequestURI, a.Annotations)
			continue
		}
		if a.ObjectRef == nil && by[1] == "system:discovery" {
			continue // which kinds there are, as everybody may know
		}
		verbs := []string{a.Verb}
		if a.Verb == "patch" && a.ResponseStatus.Code == http.StatusCreated {
			// The API server lets nobody make an object by an apply who may not
			// create it. Its log tells of that when it is refused.
			verbs = append(verbs, "create")
		}
		known := false
		for _, r := range given {
			is := a.ObjectRef != nil && slices.Contains(roles, by[1]) && slices.Contains(verbs, r.Verb) &&
				r.Resource == resourceOf(a.ObjectRef.APIGroup, a.ObjectRef.Resource, a.ObjectRef.Subresource) &&
				(r.Name == "" || r.Name == a.ObjectRef.Name)
			if is {
				known, used[r] = true, true
			}
		}
		if !known {
			t.Errorf("it may %s %s by role %s, which is none of its own", a.Verb, a.RequestURI, by[1])
		}
	}
	if diff := cmp.Diff(sorted(given), sorted(slices.Collect(maps.Keys(used)))); diff != "" {
		t.Errorf("permissions (-given +used):\n%s", diff)
	}
}

// auditedTo is the audit log up to now: it has what is asked for here, too.
func auditedTo(t *testing.T, namespace string) []testcluster.Audit {
	t.Helper()
	cluster.kubectl(t, "create", "serviceaccount", "mark", "-n", namespace)
	defer cluster.kubectl(t, "delete", "serviceaccount", "mark", "-n", namespace)
	if err := clientFor(t, cluster.serviceAccount(t, namespace, "mark")).List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(namespace)); err == nil {
		t.Error("everybody may list ConfigMaps")
	}
	var all []testcluster.Audit
	testcluster.Eventually(t, "the audit log is written", func() (err error) {
		all, err = cluster.Audited()
		if err == nil && !slices.ContainsFunc(all, func(a testcluster.Audit) bool { return a.User.Username == "system:serviceaccount:"+namespace+":mark" }) {
			err = errors.New("the last request is not there yet")
		}
		return err
	})
	return all
}

// An access is what somebody may do, or may not.
type access = authorizationv1.ResourceAttributes

// permissionsOf are those of an install without consumers in the namespace home.
func permissionsOf(home string) (allowed, denied []access) {
	const (
		ours   = "wechattoken.io"
		leases = "coordination.k8s.io"
		events = "events.k8s.io"
	)
	allowed = []access{
		{Verb: "list", Group: ours, Resource: "wechattokens"},
		{Verb: "watch", Group: ours, Resource: "wechattokens"},
		{Verb: "patch", Group: ours, Resource: "wechattokens", Subresource: "status", Namespace: "web"},
		{Verb: "get", Resource: "secrets", Namespace: "web"},
		{Verb: "list", Resource: "secrets"},
		{Verb: "watch", Resource: "secrets"},
		{Verb: "create", Resource: "secrets", Namespace: "web"},
		{Verb: "patch", Resource: "secrets", Namespace: "web"},
		{Verb: "delete", Resource: "secrets", Namespace: "web"},
		{Verb: "create", Group: events, Resource: "events", Namespace: "web"},
		{Verb: "create", Group: leases, Resource: "leases", Namespace: home},
		{Verb: "get", Group: leases, Resource: "leases", Namespace: home, Name: name},
		{Verb: "update", Group: leases, Resource: "leases", Namespace: home, Name: name},
		{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"},
		{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"},
	}
	denied = []access{
		{Verb: "*", Group: "*", Resource: "*"},
		{Verb: "*", Resource: "secrets", Namespace: "web"},
		{Verb: "update", Resource: "secrets", Namespace: "web"},
		{Verb: "deletecollection", Resource: "secrets", Namespace: "web"},
		{Verb: "*", Group: ours, Resource: "*"},
		{Verb: "create", Group: ours, Resource: "wechattokens", Namespace: "web"},
		{Verb: "update", Group: ours, Resource: "wechattokens", Namespace: "web"},
		{Verb: "patch", Group: ours, Resource: "wechattokens", Namespace: "web"},
		{Verb: "delete", Group: ours, Resource: "wechattokens", Namespace: "web"},
		{Verb: "update", Group: ours, Resource: "wechattokens", Subresource: "status", Namespace: "web"},
		{Verb: "update", Group: ours, Resource: "wechattokens", Subresource: "finalizers", Namespace: "web"},
		{Verb: "get", Resource: "configmaps", Namespace: home},
		{Verb: "list", Resource: "pods"},
		{Verb: "create", Resource: "pods", Namespace: home},
		{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: "web"},
		{Verb: "list", Resource: "nodes"},
		{Verb: "get", Resource: "nodes", Subresource: "proxy"},
		{Verb: "get", Resource: "namespaces"},
		{Verb: "list", Group: events, Resource: "events"},
		{Verb: "patch", Group: events, Resource: "events", Namespace: "web"},
		{Verb: "patch", Resource: "events", Namespace: home},
		{Verb: "create", Resource: "events", Namespace: home},
		{Verb: "create", Resource: "events", Namespace: "web"},
		{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: home},
		{Verb: "impersonate", Resource: "users"},
		{Verb: "impersonate", Resource: "serviceaccounts", Namespace: "kube-system"},
		{Verb: "get", Group: "apps", Resource: "deployments", Namespace: home},
		{Verb: "get", Group: leases, Resource: "leases", Namespace: home, Name: "another"},
		{Verb: "update", Group: leases, Resource: "leases", Namespace: home, Name: "another"},
		{Verb: "delete", Group: leases, Resource: "leases", Namespace: home, Name: name},
		{Verb: "list", Group: leases, Resource: "leases", Namespace: home},
		{Verb: "create", Group: leases, Resource: "leases", Namespace: "kube-system"},
		{Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "escalate", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "get", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Verb: "create", Group: "certificates.k8s.io", Resource: "certificatesigningrequests"},
	}
	return allowed, denied
}

// has waits until who may do all that is allowed, and looks that it may do no more.
func has(t *testing.T, who client.Client, allowed, denied []access) {
	t.Helper()
	testcluster.Eventually(t, "the roles are bound", func() error {
		for _, a := range allowed {
			if !may(t, who, a) {
				return fmt.Errorf("it may not %s", sentence(a))
			}
		}
		return nil
	})
	for _, a := range denied {
		if may(t, who, a) {
			t.Errorf("it may %s", sentence(a))
		}
	}
}

// Each shard is an install as config/default is, by TestShardsLackNothing. It may do
// nothing with pods and workloads, and holds its own lease only.
func TestTheRolesAreLeast(t *testing.T) {
	t.Parallel()
	installed(t)
	withConsumers, _ := consumersPermissions()
	for i, s := range shards {
		home := name + "-" + s
		allowed, denied := permissionsOf(home)
		denied = append(denied, access{Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Namespace: name + "-" + shards[1-i], Name: name})
		has(t, clientFor(t, cluster.serviceAccount(t, home, name)), allowed, append(denied, withConsumers...))
	}
}

func TestTheRolesForPeopleGiveNoSecrets(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	reads := []string{"get", "list", "watch"}
	writes := []string{"create", "update", "patch", "delete", "deletecollection"}
	for role, can := range map[string][]string{"view": reads, "edit": writes} {
		person := clientFor(t, cluster.person(t, ns, role, name+"-"+role))
		for _, verb := range slices.Concat(reads, writes) {
			wxt := authorizationv1.ResourceAttributes{Verb: verb, Group: "wechattoken.io", Resource: "wechattokens", Namespace: ns}
			if want := slices.Contains(can, verb); may(t, person, wxt) != want {
				t.Errorf("%s may %s: got %t, want %t", role, sentence(wxt), !want, want)
			}
			secret := authorizationv1.ResourceAttributes{Verb: verb, Resource: "secrets", Namespace: ns}
			if may(t, person, secret) {
				t.Errorf("%s may %s", role, sentence(secret))
			}
		}
	}
}

// consumersPermissions are those that config/consumers gives beside them.
func consumersPermissions() (allowed, denied []access) {
	for _, kind := range []string{"deployments", "statefulsets", "daemonsets"} {
		for _, verb := range []string{"list", "watch", "patch"} {
			allowed = append(allowed, access{Verb: verb, Group: "apps", Resource: kind, Namespace: "web"})
		}
		for _, verb := range []string{"get", "create", "update", "delete", "deletecollection"} {
			denied = append(denied, access{Verb: verb, Group: "apps", Resource: kind, Namespace: "web"})
		}
		denied = append(denied, access{Verb: "patch", Group: "apps", Resource: kind, Subresource: "status", Namespace: "web"}, access{Verb: "patch", Group: "apps", Resource: kind, Subresource: "scale", Namespace: "web"})
	}
	for _, verb := range []string{"list", "patch"} {
		allowed = append(allowed, access{Verb: verb, Resource: "pods", Namespace: "web"})
	}
	for _, verb := range []string{"get", "watch", "create", "update", "delete", "deletecollection"} {
		denied = append(denied, access{Verb: verb, Resource: "pods", Namespace: "web"})
	}
	for _, sub := range []string{"status", "exec", "ephemeralcontainers", "eviction", "log"} {
		denied = append(denied, access{Verb: "patch", Resource: "pods", Subresource: sub, Namespace: "web"}, access{Verb: "create", Resource: "pods", Subresource: sub, Namespace: "web"})
	}
	allowed = append(allowed, access{Verb: "get", Group: "apps", Resource: "replicasets", Namespace: "web"}, access{Verb: "get", Group: "batch", Resource: "jobs", Namespace: "web"}, access{Verb: "list", Group: "batch", Resource: "cronjobs", Namespace: "web"})
	denied = append(denied, access{Verb: "list", Group: "apps", Resource: "replicasets", Namespace: "web"}, access{Verb: "*", Group: "apps", Resource: "*"}, access{Verb: "patch", Group: "batch", Resource: "cronjobs", Namespace: "web"}, access{Verb: "list", Group: "batch", Resource: "jobs", Namespace: "web"})
	return allowed, denied
}

func TestTheRolesForConsumersAreLeast(t *testing.T) {
	t.Parallel()
	installed(t)
	usual, _ := permissionsOf(name)
	allowed, denied := consumersPermissions()
	has(t, clientFor(t, cluster.serviceAccount(t, name, name)), append(usual, allowed...), denied)
}

// What is tried of the operator is tried of the token server, too.
func TestTheRolesOfTheTokenServerAreLeast(t *testing.T) {
	t.Parallel()
	installed(t)
	allowed := []access{
		{Verb: "list", Resource: "secrets"},
		{Verb: "watch", Resource: "secrets"},
		{Verb: "list", Group: "wechattoken.io", Resource: "wechattokens"},
		{Verb: "watch", Group: "wechattoken.io", Resource: "wechattokens"},
		{Verb: "patch", Group: "wechattoken.io", Resource: "wechattokens", Namespace: "web"},
		{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"},
		{Verb: "create", Group: "authorization.k8s.io", Resource: "subjectaccessreviews"},
	}
	can, cannot := permissionsOf(name)
	canWatch, cannotWatch := consumersPermissions()
	denied := slices.DeleteFunc(slices.Concat(can, cannot, canWatch, cannotWatch), func(a access) bool { return slices.Contains(allowed, a) })
	has(t, clientFor(t, cluster.serviceAccount(t, name, server)), allowed, append(denied,
		access{Verb: "get", Group: "wechattoken.io", Resource: "wechattokens", Subresource: "token", Namespace: "web", Name: "shop"}))
}

// It serves a token and passes on a report, both to the account of the sample.
func TestTheTokenServerNeedsNothingButItsRoles(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	cluster.serve(t, ns, url)
	shop := cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	cluster.awaitReady(t, ns, shop)
	cluster.kubectl(t, "apply", "--server-side", "--validate=strict", "-n", ns, "-f", filepath.Join(serverFolder, "access.yaml"))
	credential := strings.TrimSpace(cluster.kubectl(t, "create", "token", "shop-php", "-n", ns, "--audience=wechattoken.io"))
	roles := []string{server, server + "-auth"}
	cluster.kubectl(t, "create", "serviceaccount", server, "-n", ns)
	cluster.bind(t, "", ns, server, roles...)
	who := cluster.with(testcluster.WriteKubeconfig(t, cluster.serviceAccount(t, ns, server)))
	// The other one asks as an API server wants it that cannot stream a list.
	for _, path := range []string{program(t, "token-server"), programWith(t, "token-server", "KUBE_FEATURE_WatchListClient=false")} {
		s := who.StartTokenServer(t, path)
		s.AwaitReady()
		at := "/v1/namespaces/" + ns + "/wechattokens/" + shop
		testcluster.Eventually(t, "a token is served", func() error {
			if resp, body := s.Get(t, at+"/token", credential); resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", resp.Status, body)
			}
			return nil
		})
		reported := cluster.kubectl(t, "get", "-n", ns, "wxt/"+shop, "-o", "jsonpath={.status.tokenFingerprint}")
		if resp, body := s.Post(t, at+"/invalid", credential, strings.NewReader(`{"fingerprint":"`+reported+`"}`), "Content-Type", "application/json"); resp.StatusCode >= http.StatusMultipleChoices {
			t.Errorf("a report: %s: %s", resp.Status, body)
		}
		if got := cluster.kubectl(t, "get", "-n", ns, "wxt/"+shop, "-o", `jsonpath={.metadata.annotations.wechattoken\.io/invalid-token}`); !strings.HasPrefix(got, reported+"@") {
			t.Errorf("the report is %q, want one of %s", got, reported)
		}
		if code := s.Terminate(); code != 0 {
			t.Errorf("the token server ended with exit code %d", code)
		}
	}
	usesAll(t, ns, server, permissions(t, objects(t, "token-server")), roles)
}

// Who has the role for all tokens of a namespace, or the sample's for one, asks the token
// server for these and the API server for nothing.
func TestTheReadersOfTokensMayNothingElse(t *testing.T) {
	t.Parallel()
	ns, elsewhere := newNamespace(t), newNamespace(t)
	cluster.kubectl(t, "apply", "--server-side", "--validate=strict", "-n", ns, "-f", filepath.Join(serverFolder, "access.yaml"))
	take := func(ns, name string) access {
		return access{Verb: "get", Group: "wechattoken.io", Resource: "wechattokens", Subresource: "token", Namespace: ns, Name: name}
	}
	report := func(ns, name string) access {
		return access{Verb: "create", Group: "wechattoken.io", Resource: "wechattokens", Subresource: "invalid", Namespace: ns, Name: name}
	}
	denied := []access{take(elsewhere, "shop"), report(elsewhere, "shop"), {Verb: "create", Resource: "pods", Namespace: ns}}
	for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"} {
		for _, resource := range []string{"", "status", "token", "invalid"} {
			a := access{Verb: verb, Group: "wechattoken.io", Resource: "wechattokens", Subresource: resource, Namespace: ns, Name: "shop"}
			if a != take(ns, "shop") && a != report(ns, "shop") {
				denied = append(denied, a)
			}
		}
		denied = append(denied, access{Verb: verb, Resource: "secrets", Namespace: ns, Name: "shop-token"})
	}
	all := []access{take(ns, "shop"), take(ns, "another"), report(ns, "shop"), report(ns, "another")}
	has(t, clientFor(t, cluster.person(t, ns, "reader", readerRole)), all, denied)
	has(t, clientFor(t, cluster.serviceAccount(t, ns, "shop-php")), []access{all[0], all[2]}, append(denied, all[1], all[3]))

	// The roles for people give no token, for they give no Secret.
	people := clientFor(t, cluster.person(t, ns, "people", name+"-view", name+"-edit", refresherRole))
	for _, a := range all {
		if may(t, people, a) {
			t.Errorf("people may %s", sentence(a))
		}
	}
}

// scrape asks for the metrics as a Prometheus does that does not look at the
// certificate.
func scrape(ctx context.Context, addr, token string) (int, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}
