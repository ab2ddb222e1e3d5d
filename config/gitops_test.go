//go:build integration

package config_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// appliers are the field managers of those that apply what is in Git, again and
// again: Argo CD, Flux and a person.
var appliers = []string{"argocd-controller", "kustomize-controller", "kubectl"}

// However often somebody applies what is in Git while the operator works, there is
// no difference to see, no conflict, and nobody takes a field from the other.
func TestApplyingAgainChangesNothing(t *testing.T) {
	t.Parallel()
	admin := cluster.admin(t)
	files := append(sampleFiles(t), "samples/touch-and-restart/stable.yaml")
	for _, file := range files {
		for _, inGit := range weChatTokensIn(t, file) {
			t.Run(file, func(t *testing.T) {
				t.Parallel()
				ns := newNamespace(t)
				fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
				cluster.serve(t, ns, url)
				wxt := cluster.applyWeChatTokens(t, fake, ns, file)[0]
				inGit.SetNamespace(ns)
				// The one default. No tool takes a field for a difference that Git does not
				// name, as long as nobody changes it.
				spec := maps.Clone(inGit.Object["spec"].(map[string]any))
				if spec["mode"] == nil {
					spec["mode"] = string(v1alpha1.ModeStable)
				}
				// applied is what the API server makes of it. Nobody forces anything.
				applied := func(who string, options ...client.ApplyOption) *unstructured.Unstructured {
					t.Helper()
					obj := inGit.DeepCopy()
					if err := admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(obj), append(options, client.FieldOwner(who))...); err != nil {
						t.Fatalf("%s: %v", who, err)
					}
					return obj
				}
				live := func() *unstructured.Unstructured {
					t.Helper()
					obj := inGit.DeepCopy()
					if err := admin.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
						t.Fatal(err)
					}
					return obj
				}
				for _, who := range appliers {
					applied(who)
				}
				owned := fieldsOf(live())
				for round := range 2 {
					cluster.awaitReady(t, ns, wxt)
					before := live()
					for _, who := range appliers {
						// Argo CD compares so, and with what is in Git below.
						if diff := cmp.Diff(wanted(before), wanted(applied(who, client.DryRunAll))); diff != "" {
							t.Errorf("round %d: %s would change (-live +applied):\n%s", round, who, diff)
						}
						applied(who)
					}
					after := live()
					if before.GetGeneration() != 1 || after.GetGeneration() != 1 {
						t.Errorf("round %d: generation %d, and %d when it was applied again, want 1", round, before.GetGeneration(), after.GetGeneration())
					}
					if diff := cmp.Diff(fmt.Sprint(spec), fmt.Sprint(after.Object["spec"])); diff != "" {
						t.Errorf("round %d: spec (-Git +live):\n%s", round, diff)
					}
					if round == 0 { // a second one would have to wait 30 s
						cluster.kubectl(t, "annotate", "-n", ns, "wxt/"+wxt, v1alpha1.AnnotationRefreshRequestedAt+"=monday")
						heard := "{.status.lastHandledRefreshAt}=monday"
						if spec["forcedRefresh"] == string(v1alpha1.ForcedRefreshNever) {
							heard = `{.status.conditions[?(@.type=="Ready")].reason}=` + v1alpha1.ReasonRefreshNotAllowed
						}
						cluster.kubectl(t, "wait", "-n", ns, "--for=jsonpath="+heard, "--timeout="+testcluster.Patience.String(), "wxt/"+wxt)
					}
				}
				after := fieldsOf(live())
				delete(after, "kubectl-annotate Update ")
				for who, fields := range after {
					// Which fields of the status there are changes with what there is to say.
					if who == name+" Update status" {
						owned[who] = fields
					}
				}
				if diff := cmp.Diff(owned, after); diff != "" {
					t.Errorf("who owns what (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// weChatTokensIn are those of a manifest, as they are there.
func weChatTokensIn(t *testing.T, file string) []unstructured.Unstructured {
	t.Helper()
	var some []unstructured.Unstructured
	for _, o := range objectsIn(t, file) {
		if o.GetKind() == "WeChatToken" {
			some = append(some, o)
		}
	}
	return some
}

// wanted is what somebody wants of an object: all but the status and what the API
// server counts and remembers.
func wanted(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	o.SetManagedFields(nil)
	o.SetResourceVersion("")
	delete(o.Object, "status")
	return o.Object
}

// fieldsOf says who owns what.
func fieldsOf(o *unstructured.Unstructured) map[string]string {
	owned := map[string]string{}
	for _, m := range o.GetManagedFields() {
		owned[m.Manager+" "+string(m.Operation)+" "+m.Subresource] = m.FieldsV1.GetRawString()
	}
	return owned
}

// The Secret is a child of its WeChatToken: that is how Argo CD shows it, and why
// neither Argo CD nor Flux takes it for something that is not in Git.
func TestGitOpsToolsSeeWhoseTheSecretIs(t *testing.T) {
	t.Parallel()
	ns, admin := newNamespace(t), cluster.admin(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	cluster.serve(t, ns, url)
	shop := cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	// How Argo CD and Flux mark what is theirs.
	cluster.kubectl(t, "label", "-n", ns, "wxt/"+shop, "app.kubernetes.io/instance=shop", "kustomize.toolkit.fluxcd.io/name=shop")
	cluster.kubectl(t, "annotate", "-n", ns, "wxt/"+shop, "argocd.argoproj.io/tracking-id=shop:wechattoken.io/WeChatToken:"+ns+"/"+shop)
	cluster.awaitReady(t, ns, shop)
	var secret metav1.PartialObjectMetadata
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "shop-token"}, &secret); err != nil {
		t.Fatal(err)
	}
	if owner := metav1.GetControllerOf(&secret); owner == nil || owner.Kind != "WeChatToken" || owner.Name != shop {
		t.Errorf("the Secret belongs to %+v", owner)
	}
	for _, mark := range []string{"app.kubernetes.io/instance", "kustomize.toolkit.fluxcd.io/name"} {
		if _, marked := secret.Labels[mark]; marked {
			t.Errorf("the Secret has the label %s: a tool would look for it in Git", mark)
		}
	}
	if _, marked := secret.Annotations["argocd.argoproj.io/tracking-id"]; marked {
		t.Error("the Secret has Argo CD's annotation: it would look for it in Git")
	}
}

// A Kustomization of Flux with wait: true is done when, and only when, the token
// is in the Secret, and fails when a person must act. The verdict is that of
// Flux's own library, on each version that the API server has had.
func TestFluxWaitsForTheToken(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	seen := watchVerdicts(t, ns)
	fake.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1}) // it is busy
	shop := cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	seen.await(t, status.InProgressStatus, "")
	cluster.serve(t, ns, url)
	seen.await(t, status.InProgressStatus, v1alpha1.ReasonWeChatUnavailable)
	fake.ClearFaults()
	seen.await(t, status.CurrentStatus, v1alpha1.ReasonTokenValid)
	if token := cluster.kubectl(t, "get", "-n", ns, "secret/shop-token", "-o", "jsonpath={.data.access_token}"); token == "" {
		t.Error("there is no token in the Secret")
	}
	cluster.kubectl(t, "patch", "-n", ns, "wxt/"+shop, "--type=merge", `--patch={"spec":{"mode":"Classic"}}`)
	seen.await(t, status.InProgressStatus, v1alpha1.ReasonTokenValid) // which speaks of the mode before
	seen.await(t, status.CurrentStatus, v1alpha1.ReasonTokenValid)
	cluster.kubectl(t, "patch", "-n", ns, "wxt/"+shop, "--type=merge", `--patch={"spec":{"appSecretRef":{"name":"none"}}}`)
	seen.await(t, status.FailedStatus, v1alpha1.ReasonAppSecretMissing)
	cluster.kubectl(t, "patch", "-n", ns, "wxt/"+shop, "--type=merge", `--patch={"spec":{"appSecretRef":{"name":"shop-app"}}}`)
	seen.await(t, status.CurrentStatus, v1alpha1.ReasonTokenValid)
}

// verdicts are what kstatus has said so far, and the reason of Ready then.
type verdicts struct {
	mu   sync.Mutex
	all  []verdict
	read int
}

type verdict struct {
	status status.Status
	ready  string
}

// watchVerdicts watches the WeChatTokens of a namespace. None is ever called
// Current without Ready being True for its spec.
func watchVerdicts(t *testing.T, ns string) *verdicts {
	t.Helper()
	c, err := dynamic.NewForConfig(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Resource(v1alpha1.GroupVersion.WithResource("wechattokens")).Namespace(ns).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v, ended := &verdicts{}, make(chan struct{})
	go func() {
		defer close(ended)
		for event := range w.ResultChan() {
			obj, is := event.Object.(*unstructured.Unstructured)
			if !is || event.Type == "DELETED" {
				continue
			}
			result, err := status.Compute(obj)
			if err != nil {
				t.Error(err)
				return
			}
			var wt v1alpha1.WeChatToken
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &wt); err != nil {
				t.Error(err)
				return
			}
			said := verdict{status: result.Status}
			if ready := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
				said.ready = ready.Reason
			}
			works := meta.IsStatusConditionTrue(wt.Status.Conditions, v1alpha1.ConditionReady) && wt.Status.ObservedGeneration == wt.Generation
			if said.status == status.CurrentStatus && !works {
				t.Errorf("kstatus calls this Current: %+v", wt.Status)
			}
			v.mu.Lock()
			v.all = append(v.all, said)
			v.mu.Unlock()
		}
	}()
	t.Cleanup(func() { w.Stop(); <-ended })
	return v
}

// await waits until kstatus says what is wanted, after what was waited for last.
func (v *verdicts) await(t *testing.T, is status.Status, ready string) {
	t.Helper()
	testcluster.Eventually(t, fmt.Sprintf("%s with reason %q", is, ready), func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		i := slices.Index(v.all[v.read:], verdict{is, ready})
		if i < 0 {
			return fmt.Errorf("after %d: %v", v.read, v.all)
		}
		v.read += i + 1
		return nil
	})
}

// A life of a WeChatToken, as Argo CD sees it and has a hand in it.
func TestArgoCDFollowsTheOperator(t *testing.T) {
	t.Parallel()
	c, ns, admin := newCustomization(t), newNamespace(t), cluster.admin(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	shop := cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	get := func() *unstructured.Unstructured {
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WeChatToken"))
		if err := admin.Get(t.Context(), types.NamespacedName{Namespace: ns, Name: shop}, obj); err != nil {
			t.Fatal(err)
		}
		return obj
	}
	await := func(want string) health {
		t.Helper()
		var got health
		testcluster.Eventually(t, want, func() error {
			if got = c.healthOf(t, get()); got.Status != want {
				return fmt.Errorf("it is %s: %s", got.Status, got.Message)
			}
			return nil
		})
		return got
	}
	// act does what Argo CD does: a merge patch of what the script has changed.
	act := func(action string) *unstructured.Unstructured {
		t.Helper()
		live := get()
		if a, offered := c.discover(t, live)[action]; !offered || a.Disabled {
			t.Errorf("%s is not offered", action)
		}
		changed := c.act(t, action, live)
		if err := admin.Patch(t.Context(), changed, client.MergeFrom(live)); err != nil {
			t.Fatal(err)
		}
		return changed
	}
	requested := func(obj *unstructured.Unstructured) string {
		return obj.GetAnnotations()[v1alpha1.AnnotationRefreshRequestedAt]
	}

	if got := c.healthOf(t, get()); got.Status != "Progressing" {
		t.Errorf("without an operator it is %+v", got)
	}
	// No two requests are the same, however fast they come.
	seen := map[string]bool{}
	for range 5 {
		value := requested(act("refresh"))
		if value == "" || seen[value] {
			t.Errorf("a request %q after %v", value, seen)
		}
		seen[value] = true
	}
	cluster.serve(t, ns, url)
	if got := await("Healthy"); got.Message == "" {
		t.Error("Healthy without a message")
	}

	before := fake.Counts("").Forced
	asked := requested(act("refresh"))
	testcluster.Eventually(t, "the refresh is done", func() error {
		if handled, _, _ := unstructured.NestedString(get().Object, "status", "lastHandledRefreshAt"); handled != asked {
			return fmt.Errorf("%q is, and %q was asked for", handled, asked)
		}
		return nil
	})
	if got := fake.Counts("").Forced - before; got != 1 {
		t.Errorf("%d forced refreshes, want 1", got)
	}
	// The value that was handled last is no request either.
	if next := requested(c.act(t, "refresh", get())); next == asked {
		t.Errorf("%s is asked for once more", next)
	}

	act("suspend")
	await("Suspended")
	act("resume")
	await("Healthy")

	cluster.kubectl(t, "patch", "-n", ns, "wxt/"+shop, "--type=merge", `--patch={"spec":{"appSecretRef":{"name":"none"}}}`)
	if got := await("Degraded"); !strings.Contains(got.Message, "none") {
		t.Errorf("the message does not say what is missing: %s", got.Message)
	}
	if got := kstatus(t, get()); got != status.FailedStatus {
		t.Errorf("kstatus reads %s", got)
	}
	cluster.kubectl(t, "delete", "-n", ns, "wxt/"+shop, "--cascade=foreground", "--wait=false")
	await("Progressing")
	cluster.kubectl(t, "patch", "-n", ns, "wxt/"+shop, "--type=merge", `--patch={"metadata":{"finalizers":null}}`) // as the garbage collector does
}

// Argo CD's own settings are somebody else's.
func TestThePatchKeepsArgoCDsOtherSettings(t *testing.T) {
	t.Parallel()
	cluster.kubectl(t, "create", "namespace", "argocd") // no other test has it
	file := filepath.Join(t.TempDir(), "theirs.yaml")
	write(t, file, theirs)
	for range 2 { // theirs is applied again with each of their releases
		cluster.kubectl(t, "apply", "-n", "argocd", "-f", file)
		patch := cluster.Kubectl("patch", "configmap", "argocd-cm", "-n", "argocd", "--type=merge", "--patch-file=/dev/stdin")
		patch.Stdin = strings.NewReader(cluster.kubectl(t, "kustomize", "argocd"))
		succeed(t, patch)
		var cm corev1.ConfigMap
		if err := cluster.admin(t).Get(t.Context(), types.NamespacedName{Namespace: "argocd", Name: "argocd-cm"}, &cm); err != nil {
			t.Fatal(err)
		}
		keepsTheirs(t, cm)
	}
}
