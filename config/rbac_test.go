package config_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

const (
	leaseRole   = name + "-leader-election"
	metricsRole = name + "-metrics-auth"
	watchRole   = name + "-watch"
	touchRole   = name + "-touch"
	restartRole = name + "-restart"
)

// A right is a verb on a resource that a role gives.
type right struct {
	Role     string
	Verb     string
	Resource string // with its group, or a path
	Name     string // of the one object; empty for all
}

// Where it looks after pods it needs the roles of config/consumers, too.
func TestConsumersNeedNothingButTheirRoles(t *testing.T) {
	installConsumers(t)
	ns := newNamespace(t)
	args := container(only(t, deployments(t, "consumers"))).Args
	uses(t, name, []string{name, leaseRole, metricsRole, watchRole, touchRole, restartRole}, func() {
		exercise(t, name, ns, `"propagation":"Touch","restart":{"workloads":[{"kind":"Deployment"},{"kind":"StatefulSet"},{"kind":"DaemonSet"}]}`, args...)
	})
}

// What config/rbac/role-binding.yaml says of --namespaces is true: no right on
// Secrets reaches beyond them. Here each part of config/consumers is alone with
// what it needs.
func TestInItsNamespacesTheOperatorNeedsNothingButItsRoles(t *testing.T) {
	installConsumers(t)
	cases := map[string]struct {
		reason string
		roles  []string
		spec   string
		flags  []string
	}{
		"Alone": {reason: "No pods are looked at."},
		"Watch": {
			reason: "Workloads are told of, and left alone.",
			roles:  []string{watchRole},
			flags:  []string{"--consumers"},
		},
		"Touch": {
			reason: "Pods are touched, and no workload is restarted.",
			roles:  []string{watchRole, touchRole},
			spec:   `"propagation":"Touch"`,
			flags:  []string{"--consumers"},
		},
		"Restart": {
			reason: "Workloads are restarted, and no pod is touched.",
			roles:  []string{watchRole, restartRole},
			spec:   `"restart":{"workloads":[{"kind":"Deployment"},{"kind":"StatefulSet"},{"kind":"DaemonSet"}]}`,
			flags:  []string{"--consumers"},
		},
	}
	for what, tc := range cases {
		t.Run(what, func(t *testing.T) {
			own, here, there, elsewhere := newNamespace(t), newNamespace(t), newNamespace(t), newNamespace(t)
			operator := "--serviceaccount=" + own + ":" + name
			kubectl(t, "create", "serviceaccount", name, "-n", own)
			lease := only(t, ofKind[rbacv1.Role](t, "Role", objects(t, "default")))
			lease.Namespace = own
			if err := clientFor(t, cluster.Config).Create(t.Context(), &lease); err != nil {
				t.Fatal(err)
			}
			kubectl(t, "create", "rolebinding", leaseRole, "-n", own, "--role="+leaseRole, operator)
			for _, role := range append(tc.roles, name) {
				for _, ns := range []string{here, there} {
					kubectl(t, "create", "rolebinding", role, "-n", ns, "--clusterrole="+role, operator)
				}
			}
			kubectl(t, "create", "clusterrolebinding", own, "--clusterrole="+metricsRole, operator)
			t.Cleanup(func() { kubectl(t, "delete", "clusterrolebinding", own) })
			stranger := applyWeChatTokens(t, newWeChat(t), elsewhere, "samples/stable.yaml")[0]

			uses(t, own, append(tc.roles, name, leaseRole, metricsRole), func() {
				exercise(t, own, here, tc.spec, append(tc.flags, "--namespaces="+here+","+there)...)
			})
			if got := kubectl(t, "get", "-n", elsewhere, "wxt/"+stranger, "-o", "jsonpath={.status.conditions}"); got != "" {
				t.Errorf("%s\nelsewhere there is a status: %s", tc.reason, got)
			}
		})
	}
}

// exercise lets the operator of the namespace own do all that it can, for a
// WeChatToken with more in its spec. Two managers run, so that one can take over.
func exercise(t *testing.T, own, ns, more string, flags ...string) {
	t.Helper()
	weChat, who, addr := newWeChat(t), serviceAccount(t, own, name), freeAddress(t)
	flags = append(flags, "--wechat-url="+weChat.url, "--leader-election-namespace="+own)
	kubectl(t, "delete", "lease", name, "-n", own, "--ignore-not-found") // to see it made
	holder := func() string {
		return kubectl(t, "get", "lease", "-n", own, "-o", "jsonpath={.items[*].spec.holderIdentity}")
	}
	leader := operate(t, who, append(flags, "--metrics-bind-address="+addr)...)
	eventually(t, "somebody leads", func() error {
		if holder() == "" {
			return errors.New("the lease is free")
		}
		return nil
	})
	// The stand-by asks as an API server wants it that cannot stream a list, such
	// as that of Kubernetes 1.33.
	t.Setenv("KUBE_FEATURE_WatchListClient", "false")
	standby := operate(t, who, flags...)

	shop := applyWeChatTokens(t, weChat, ns, "samples/stable.yaml")[0]
	patch := func(spec string) {
		kubectl(t, "patch", "-n", ns, "wxt/"+shop, "--type=merge", `--patch={"spec":{`+spec+`}}`)
		generation := kubectl(t, "get", "-n", ns, "wxt/"+shop, "-o", "jsonpath={.metadata.generation}")
		kubectl(t, "wait", "-n", ns, "--for=jsonpath={.status.observedGeneration}="+generation, "--timeout=60s", "wxt/"+shop)
	}
	kubectl(t, "wait", "-n", ns, "--for=condition=Ready", "--timeout=60s", "wxt/"+shop)
	var pods, workloads []client.Object
	if slices.Contains(flags, "--consumers") {
		pods, workloads = consume(t, ns)
		patch(more)
		kubectl(t, "wait", "-n", ns, "--for=jsonpath={.status.consumers[2].name}", "--timeout=60s", "wxt/"+shop)
	}
	kubectl(t, "annotate", "-n", ns, "wxt/"+shop, v1alpha1.AnnotationRefreshRequestedAt+"=monday")
	kubectl(t, "wait", "-n", ns, "--for=jsonpath={.status.lastHandledRefreshAt}=monday", "--timeout=60s", "wxt/"+shop)
	awaitFollowed(t, ns, shop, more, pods, workloads)
	eventually(t, "events tell of it", func() error {
		return contains(kubectl(t, "get", "events", "-n", ns), v1alpha1.ReasonTokenValid, "Refreshed")
	})
	eventually(t, "the metrics are read", func() error {
		status, err := scrape(t.Context(), addr, prometheus(t, ns))
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("got %d, want %d", status, http.StatusOK)
		}
		return err
	})
	patch(`"secret":{"name":"moved"}`)
	kubectl(t, "wait", "-n", ns, "--for=delete", "--timeout=60s", "secret/shop-token")

	before := holder()
	leader.stop()
	eventually(t, "the stand-by leads", func() error {
		if now := holder(); now == "" || now == before {
			return fmt.Errorf("the lease is held by %q", now)
		}
		return nil
	})
	kubectl(t, "delete", "-n", ns, "secret/moved") // it comes back
	kubectl(t, "wait", "-n", ns, "--for=create", "--timeout=60s", "secret/moved")
	standby.stop()
	if left := holder(); left != "" {
		t.Errorf("%s has left and still holds the lease", left)
	}
}

// prometheus is the credential of who may read the metrics.
func prometheus(t *testing.T, ns string) string {
	t.Helper()
	admin := clientFor(t, cluster.Config)
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
	return serviceAccount(t, ns, account.Name).BearerToken
}

// consume makes a workload of each kind that uses the Secret, with a pod, as
// their controllers would.
func consume(t *testing.T, ns string) (pods, workloads []client.Object) {
	t.Helper()
	admin, deployment := clientFor(t, cluster.Config), consumerDeployment(ns)
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
	for kind, o := range map[string]client.Object{"StatefulSet": stateful, "DaemonSet": daemon} {
		pod := consumerPod(ns)
		pod.Name, pod.Labels = o.GetName()+"-0", map[string]string{"app": o.GetName()}
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: o.GetName(), UID: o.GetUID(), Controller: new(true)}}
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

// awaitFollowed waits until pods and workloads have been told of the token, those
// that more in the spec wants told; the others stay as they are.
func awaitFollowed(t *testing.T, ns, wxt, more string, pods, workloads []client.Object) {
	t.Helper()
	admin := clientFor(t, cluster.Config)
	fingerprint := kubectl(t, "get", "-n", ns, "wxt/"+wxt, "-o", "jsonpath={.status.tokenFingerprint}")
	wanted := func(word string) string {
		if strings.Contains(more, word) {
			return fingerprint
		}
		return ""
	}
	restartedFor := func(template corev1.PodTemplateSpec) string {
		token, _, _ := strings.Cut(template.Annotations[v1alpha1.AnnotationRestartPrefix+wxt], "@")
		return token
	}
	eventually(t, "pods are touched and workloads restarted", func() error {
		for _, o := range slices.Concat(pods, workloads) {
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			var got, want string
			switch o := o.(type) {
			case *corev1.Pod:
				got, want = o.Annotations[v1alpha1.AnnotationTouchedFor], wanted("Touch")
			case *appsv1.Deployment:
				got, want = restartedFor(o.Spec.Template), wanted("restart")
			case *appsv1.StatefulSet:
				got, want = restartedFor(o.Spec.Template), wanted("restart")
			case *appsv1.DaemonSet:
				got, want = restartedFor(o.Spec.Template), wanted("restart")
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

// uses compares what the API server says that the operator of the namespace own
// asked for during do with what the given roles give: nothing more, and nothing
// less.
func uses(t *testing.T, own string, roles []string, do func()) {
	t.Helper()
	before, err := cluster.Audited()
	if err != nil {
		t.Fatal(err)
	}
	do()
	given := slices.DeleteFunc(rights(t, objects(t, "consumers")), func(r right) bool { return !slices.Contains(roles, r.Role) })
	used := map[right]bool{}
	for _, a := range auditedTo(t, own)[len(before):] {
		if a.User.Username != "system:serviceaccount:"+own+":"+name {
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
		t.Errorf("rights (-given +used):\n%s", diff)
	}
}

// auditedTo is the audit log up to now: it has what is asked for here, too.
func auditedTo(t *testing.T, namespace string) []testcluster.Audit {
	t.Helper()
	kubectl(t, "create", "serviceaccount", "mark", "-n", namespace)
	defer kubectl(t, "delete", "serviceaccount", "mark", "-n", namespace)
	if err := clientFor(t, serviceAccount(t, namespace, "mark")).List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(namespace)); err == nil {
		t.Error("everybody may list ConfigMaps")
	}
	var all []testcluster.Audit
	eventually(t, "the audit log is written", func() (err error) {
		all, err = cluster.Audited()
		if err == nil && !slices.ContainsFunc(all, func(a testcluster.Audit) bool { return a.User.Username == "system:serviceaccount:"+namespace+":mark" }) {
			err = errors.New("the last request is not there yet")
		}
		return err
	})
	return all
}

// resourceOf is how a resource is written in a [right]: as in a command line of
// kubectl.
func resourceOf(group, resource, sub string) string {
	if group != "" {
		resource += "." + group
	}
	return path.Join(resource, sub)
}

// rights are all that the roles of some manifests give.
func rights(t *testing.T, manifests []unstructured.Unstructured) []right {
	t.Helper()
	var all []right
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
						all = append(all, right{Role: role, Verb: verb, Resource: resource, Name: name})
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

func sorted(rights []right) []right {
	return slices.SortedFunc(slices.Values(rights), func(a, b right) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
}

// Who reads docs/rbac.md knows all that is given to the operator and to people,
// and what for.
func TestEachRightHasItsReason(t *testing.T) {
	given := sorted(rights(t, objects(t, "consumers")))
	if len(given) < 30 {
		t.Errorf("there are %d rights", len(given))
	}
	for _, file := range []string{"rbac.md", "zh/rbac.md"} {
		if diff := cmp.Diff(given, sorted(rightsToldIn(t, filepath.Join("../docs", file)))); diff != "" {
			t.Errorf("docs/%s (-manifests +table):\n%s", file, diff)
		}
	}
}

var (
	rightRow      = regexp.MustCompile("(?m)^\\| `(wechat[a-z-]+)` \\| (`.*`) \\| (`[^|]*) \\| *(.*?) *\\|$")
	rightVerb     = regexp.MustCompile("`([^`]+)`")
	rightResource = regexp.MustCompile("`([^`]+)`(?: \\(`([^`]+)`\\))?")
)

// rightsToldIn are those in the table of a page, whose rows are: role, verbs,
// resources and reason.
func rightsToldIn(t *testing.T, page string) []right {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var told []right
	for _, row := range rightRow.FindAllStringSubmatch(string(text), -1) {
		if len(row[4]) < 10 {
			t.Errorf("%s gives no reason in %s", page, row[0])
		}
		for _, verb := range rightVerb.FindAllStringSubmatch(row[2], -1) {
			for _, resource := range rightResource.FindAllStringSubmatch(row[3], -1) {
				told = append(told, right{Role: row[1], Verb: verb[1], Resource: resource[1], Name: resource[2]})
			}
		}
	}
	return told
}
