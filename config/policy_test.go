//go:build integration

package config_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

const (
	refused    = "ValidatingAdmissionPolicy 'wechattoken-annotations' with binding 'wechattoken-annotations' denied request: "
	goodReport = "3f1c9a0b55d2e871@2026-11-22T10:00:00Z"
)

func TestARefresherAsksAndWaits(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	cluster.serve(t, ns, url)
	shop := "wxt/" + cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	refresher := testcluster.WriteKubeconfig(t, cluster.person(t, ns, "refresher", refresherRole))
	run := func(args ...string) { cluster.with(refresher).kubectl(t, append(args, "-n", ns)...) }

	run("wait", shop, "--for=condition=Ready", "--timeout="+testcluster.Patience.String())
	run("annotate", shop, v1alpha1.AnnotationRefreshRequestedAt+"=monday")
	run("wait", shop, "--for=jsonpath={.status.lastHandledRefreshAt}=monday", "--timeout="+testcluster.Patience.String())
	run("annotate", shop, v1alpha1.AnnotationRefreshRequestedAt+"=tuesday", v1alpha1.AnnotationInvalidToken+"="+goodReport, "--overwrite")
	run("annotate", shop, v1alpha1.AnnotationRefreshRequestedAt+"-", v1alpha1.AnnotationInvalidToken+"-")
}

// change is one that an editor may make to precious, and a refresher may not.
type change struct {
	reason string
	patch  client.Patch
	forced bool // no matter who owns the field
	undone bool // by the API server itself, from Kubernetes 1.37 on
	want   string
}

// Where the patch can, it changes an annotation that is free to change, too.
var changes = map[string]change{
	"Spec": {
		reason: "The spec says whose token goes where.",
		patch:  merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1"}},"spec":{"secret":{"name":"moved"}}}`),
		want:   "not change its spec",
	},
	"SpecAlone": {
		reason: "The annotations are no password.",
		patch:  merge(`{"spec":{"suspend":false}}`),
		want:   "not change its spec",
	},
	"SpecRemoved": {
		reason: "A field that is gone has changed.",
		patch:  merge(`{"metadata":{"annotations":{"wechattoken.io/invalid-token":"` + goodReport + `"}},"spec":{"suspend":null}}`),
		want:   "not change its spec",
	},
	"SpecByJSONPatch": {
		reason: "The kind of patch does not count.",
		patch: jsonPatch(`[{"op":"add","path":"/metadata/annotations/wechattoken.io~1refresh-requested-at","value":"1"},
			{"op":"replace","path":"/spec/appID","value":"wxfedcba9876543210"}]`),
		want: "not change its spec",
	},
	"SpecMoved": {
		reason: "What is moved has changed.",
		patch:  jsonPatch(`[{"op":"move","from":"/spec/appSecretRef/key","path":"/spec/appSecretRef/name"}]`),
		want:   "not change its spec",
	},
	"SpecApplied": {
		reason: "Server-side apply is a patch.",
		patch: apply("refresher", `{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1"}},
			"spec":{"appID":"wxfedcba9876543210","appSecretRef":{"name":"precious-app","key":"k"}}}`),
		forced: true,
		want:   "not change its spec",
	},
	"SpecLeftOutInTheNameOfTheEditor": {
		reason: "What a manager applied and leaves out goes, and anybody may give any manager's name.",
		patch: apply("editor", `{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1","example.com/owner":"web"},
			"labels":{"team":"web"},"finalizers":["example.com/keep"]},
			"spec":{"appID":"wx0123456789abcdef","appSecretRef":{"name":"precious-app","key":"k"}}}`),
		want: "not change its spec",
	},
	"LabelAdded":   {reason: "Labels select.", patch: merge(`{"metadata":{"labels":{"more":"1"}}}`), want: "labels"},
	"LabelChanged": {reason: "Labels select.", patch: merge(`{"metadata":{"labels":{"team":"mine"}}}`), want: "labels"},
	"LabelsRemoved": {
		reason: "Labels select.",
		patch:  merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1"},"labels":null}}`),
		want:   "labels",
	},
	"AnnotationAdded": {
		reason: "Other programs act on annotations, kubectl apply on its own for one.",
		patch:  merge(`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","wechattoken.io/refresh-requested-at":"1"}}}`),
		want:   "not change other annotations",
	},
	"AnnotationOfOurPrefix": {
		reason: "Two annotations are free, not all that begin alike.",
		patch:  merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at-noon":"1"}}}`),
		want:   "not change other annotations",
	},
	"AnnotationChanged": {
		reason: "Other programs act on annotations.",
		patch:  merge(`{"metadata":{"annotations":{"example.com/owner":"me"}}}`),
		want:   "not change other annotations",
	},
	"AnnotationRemoved": {
		reason: "Other programs act on annotations.",
		patch:  merge(`{"metadata":{"annotations":{"example.com/owner":null}}}`),
		want:   "not change other annotations",
	},
	"AnnotationsReplaced": {
		reason: "What is not in the new map is gone.",
		patch:  jsonPatch(`[{"op":"replace","path":"/metadata/annotations","value":{"wechattoken.io/refresh-requested-at":"1"}}]`),
		want:   "not change other annotations",
	},
	"AnnotationsRemoved": {
		reason: "A map that is gone is gone with all that was in it.",
		patch:  merge(`{"metadata":{"annotations":null}}`),
		want:   "not change other annotations",
	},
	"FinalizerAdded": {
		reason: "A finalizer keeps the object from being deleted.",
		patch:  merge(`{"metadata":{"finalizers":["example.com/keep","example.com/stay"]}}`),
		want:   "finalizers",
	},
	"FinalizersRemoved": {
		reason: "A finalizer waits for somebody's work.",
		patch:  merge(`{"metadata":{"finalizers":null}}`),
		want:   "finalizers",
	},
	"OwnerAdded": {
		reason: "An object goes with its owner.",
		patch:  merge(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"5b1ad7a1-8a39-4dbd-a7b6-92dbb3a8e2b7"}]}}`),
		want:   "owners",
	},
	"GenerateName": {
		reason: "There is more metadata than one thinks of.",
		patch:  merge(`{"metadata":{"generateName":"precious-"}}`),
		want:   "other metadata",
	},
	"FieldsOfNobody": {
		reason: "What nobody owns stays when its owner leaves it out.",
		patch:  merge(`{"metadata":{"managedFields":[{}]}}`),
		want:   "who owns its fields",
	},
	"FieldsOfAnother": {
		reason: "The next apply of the new owner would remove them.",
		patch:  jsonPatch(`[{"op":"replace","path":"/metadata/managedFields/0/manager","value":"argocd-controller"}]`),
		want:   "who owns its fields",
	},
	"FieldsOfNoVersion": {
		reason: "What is owned in a version that is not there is nobody's.",
		patch:  jsonPatch(`[{"op":"replace","path":"/metadata/managedFields/0/apiVersion","value":"example.com/v1"}]`),
		undone: true,
		want:   "who owns its fields",
	},
	"FieldsOfTheStatus": {
		reason: "What is owned as a status is not left out by an apply of the rest.",
		patch:  jsonPatch(`[{"op":"add","path":"/metadata/managedFields/0/subresource","value":"status"}]`),
		want:   "who owns its fields",
	},
	"FieldsForAnother": {
		reason: "The next apply of their owner would remove them.",
		patch: jsonPatch(`[{"op":"add","path":"/metadata/managedFields/-","value":{"manager":"argocd-controller","operation":"Apply",
			"apiVersion":"wechattoken.io/v1alpha1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:suspend":{}}}}}]`),
		want: "who owns its fields",
	},
	"MoreFields": {
		reason: "The next apply of their owner would remove them.",
		patch:  jsonPatch(`[{"op":"add","path":"/metadata/managedFields/0/fieldsV1/f:spec/f:mode","value":{}}]`),
		want:   "who owns its fields",
	},
	"LongRequest": {
		reason: "256 bytes count; these are 86 characters.",
		patch:  merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"` + strings.Repeat("今", 86) + `"}}}`),
		want:   "longer than 256 bytes",
	},
}

func TestARefresherChangesNothingElse(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	precious := createPrecious(t, ns)
	refresher := clientFor(t, cluster.person(t, ns, "refresher", refresherRole))
	live := precious.DeepCopy()
	if err := refresher.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Fatal(err)
	}
	for name, tc := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.make(t, refresher, precious)
			if tc.undone && err == nil && cmp.Equal(got.Object, live.Object) {
				return
			}
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), refused) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ngot %v, want a refusal with %q", tc.reason, err, tc.want)
			}
		})
	}

	strategic := client.RawPatch(types.StrategicMergePatchType, []byte(`{"spec":{"suspend":false}}`))
	if err := refresher.Patch(t.Context(), precious.DeepCopy(), strategic, client.DryRunAll); !apierrors.IsUnsupportedMediaType(err) {
		t.Errorf("a strategic merge patch: got %v, want none for a custom resource", err)
	}

	free := map[string]change{
		"Merge":   {reason: "As curl reports.", patch: merge(`{"metadata":{"annotations":{"wechattoken.io/invalid-token":"` + goodReport + `"}}}`)},
		"JSON":    {reason: "As some libraries patch.", patch: jsonPatch(`[{"op":"add","path":"/metadata/annotations/wechattoken.io~1invalid-token","value":"` + goodReport + `"}]`)},
		"Apply":   {reason: "As client-go does best.", patch: apply("refresher", `{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1"}}}`)},
		"Longest": {reason: "256 bytes count.", patch: merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"` + strings.Repeat("x", 256) + `"}}}`)},
		"Taken":   {reason: "The last to ask owns the annotation.", patch: apply("another", `{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"2"}}}`), forced: true},
		"Same":    {reason: "Nothing has changed.", patch: merge(`{"spec":{"suspend":true},"metadata":{"labels":{"team":"web"}}}`)},
		"Nothing": {reason: "Nothing has changed.", patch: merge(`{}`)},
	}
	for name, tc := range free {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := tc.make(t, refresher, precious); err != nil {
				t.Errorf("%s\ngot %v", tc.reason, err)
			}
		})
	}
}

func TestWhoMayUpdateIsAnEditor(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	precious := createPrecious(t, ns)
	collector := rest.CopyConfig(cluster.Config)
	collector.Impersonate.UserName = "system:serviceaccount:kube-system:generic-garbage-collector"
	for who, cfg := range map[string]*rest.Config{
		"Editor":           cluster.person(t, ns, "editor", name+"-view", name+"-edit"),
		"Both":             cluster.person(t, ns, "both", refresherRole, name+"-view", name+"-edit"),
		"Administrator":    cluster.Config,
		"GarbageCollector": collector,
	} {
		c := clientFor(t, cfg)
		for name, tc := range changes {
			t.Run(who+"/"+name, func(t *testing.T) {
				t.Parallel()
				if _, err := tc.make(t, c, precious); err != nil {
					t.Errorf("refused: %v", err)
				}
			})
		}
	}
}

// Of many managers the API server itself makes one when a refresher comes to them.
func TestManyManagersStandInNoRefreshersWay(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	precious := createPrecious(t, ns)
	refresher, admin := clientFor(t, cluster.person(t, ns, "refresher", refresherRole)), cluster.admin(t)
	for i := range 14 {
		body := fmt.Sprintf(`{"metadata":{"annotations":{"example.com/%d":"1"}}}`, i)
		if err := admin.Patch(t.Context(), precious.DeepCopy(), merge(body), client.FieldOwner(fmt.Sprint("person-", i))); err != nil {
			t.Fatal(err)
		}
	}
	// Who applies is never made one with others.
	if err := refresher.Patch(t.Context(), precious.DeepCopy(), merge(`{"metadata":{"managedFields":[{}]}}`), client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("all managers wiped out: got %v, want a refusal", err)
	}
	for i := range 2 {
		body := fmt.Sprintf(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"%d"}}}`, i)
		if err := refresher.Patch(t.Context(), precious.DeepCopy(), merge(body), client.FieldOwner(fmt.Sprint("server-", i))); err != nil {
			t.Error(err)
		}
	}
}

// CEL has a budget, and an object up to 256 KiB of annotations.
func TestAnObjectFullOfAnnotationsCanBeRefreshed(t *testing.T) {
	for name, size := range map[string]int{"Large": 10_000, "Small": 10} {
		t.Run(name, func(t *testing.T) {
			full := map[string]string{}
			fill(full, size)
			body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": full}})
			if err != nil {
				t.Fatal(err)
			}
			ns := newNamespace(t)
			precious := createPrecious(t, ns)
			if err := cluster.admin(t).Patch(t.Context(), precious.DeepCopy(), merge(string(body))); err != nil {
				t.Fatal(err)
			}
			refresher := clientFor(t, cluster.person(t, ns, "refresher", refresherRole))
			patchInTime(t, refresher, precious, reportOf(t, goodReport))
		})
	}
}

// The rest RBAC refuses, before the policy is asked.
func TestTheRefresherRoleIsLeast(t *testing.T) {
	t.Parallel()
	ns, elsewhere := newNamespace(t), newNamespace(t)
	precious, other := createPrecious(t, ns), createPrecious(t, elsewhere)
	refresher := clientFor(t, cluster.person(t, ns, "refresher", refresherRole))
	create := newPrecious(ns)
	create.SetName("new")
	report := merge(`{"metadata":{"annotations":{"wechattoken.io/invalid-token":"` + goodReport + `"}}}`)

	cases := map[string]struct {
		reason string
		do     func() error
	}{
		"Status": {
			reason: "The operator alone says how things stand.",
			do: func() error {
				return refresher.Status().Patch(t.Context(), precious.DeepCopy(), merge(`{"status":{"lastHandledRefreshAt":"1"}}`))
			},
		},
		"Create": {reason: "A WeChatToken reads a Secret of its namespace.", do: func() error { return refresher.Create(t.Context(), create.DeepCopy()) }},
		"CreateByApply": {
			reason: "A patch of what is not there creates it.",
			do: func() error {
				return refresher.Patch(t.Context(), create.DeepCopy(), apply("refresher", `{"spec":{"appID":"wx0123456789abcdef","appSecretRef":{"name":"precious-app"}}}`), client.FieldOwner("refresher"))
			},
		},
		"Update": {reason: "The right to update makes an editor.", do: func() error { return refresher.Update(t.Context(), precious.DeepCopy()) }},
		"Delete": {reason: "The Secret would go, too.", do: func() error { return refresher.Delete(t.Context(), precious.DeepCopy()) }},
		"DeleteAll": {
			reason: "The Secrets would go, too.",
			do:     func() error { return refresher.DeleteAllOf(t.Context(), precious.DeepCopy(), client.InNamespace(ns)) },
		},
		"Elsewhere": {
			reason: "A RoleBinding ends at its namespace.",
			do:     func() error { return refresher.Patch(t.Context(), other.DeepCopy(), report, client.DryRunAll) },
		},
		"ReadElsewhere": {
			reason: "A RoleBinding ends at its namespace.",
			do: func() error {
				return refresher.Get(t.Context(), client.ObjectKeyFromObject(other), other.DeepCopy())
			},
		},
		"Secret": {
			reason: "The token is in the Secret; who mounts it needs no permission to read all of them.",
			do: func() error {
				return refresher.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "any"}, &corev1.Secret{})
			},
		},
		"Secrets":   {reason: "AppSecrets are Secrets.", do: func() error { return refresher.List(t.Context(), &corev1.SecretList{}, client.InNamespace(ns)) }},
		"ConfigMap": {reason: "Nothing else.", do: func() error { return refresher.List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(ns)) }},
		"Pods":      {reason: "Nothing else.", do: func() error { return refresher.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns)) }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := tc.do(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), " cannot ") {
				t.Errorf("%s\ngot %v, want a refusal by RBAC", tc.reason, err)
			}
		})
	}

	var role struct {
		Rules []map[string][]string `json:"rules"`
	}
	if err := json.Unmarshal([]byte(cluster.kubectl(t, "get", "clusterrole", refresherRole, "-o", "json")), &role); err != nil {
		t.Fatal(err)
	}
	want := []map[string][]string{{"apiGroups": {"wechattoken.io"}, "resources": {"wechattokens"}, "verbs": {"get", "list", "watch", "patch"}}}
	if diff := cmp.Diff(want, role.Rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}

	// The status cannot come in with the rest of the object, either.
	if err := refresher.Patch(t.Context(), precious.DeepCopy(), merge(`{"status":{"lastHandledRefreshAt":"1"}}`)); err != nil {
		t.Fatal(err)
	}
	if echo := cluster.kubectl(t, "get", "wxt/precious", "-n", ns, "-o", "jsonpath={.status.lastHandledRefreshAt}"); echo != "" {
		t.Errorf("a refresher has written %q into the status", echo)
	}
}

func TestReportsOfAnotherFormAreRefusedWithoutBeingQuoted(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	precious := createPrecious(t, ns)
	refresher := cluster.person(t, ns, "refresher", refresherRole)
	everybody := map[string]client.Client{
		"Refresher":     clientFor(t, refresher),
		"Editor":        clientFor(t, cluster.person(t, ns, "editor", name+"-view", name+"-edit")),
		"Administrator": cluster.admin(t),
	}
	const form = "the first 16 hex digits of its SHA-256, in lower case, and if you like an @ and up to 40 letters, digits and : . + - _"
	bad := map[string]string{
		"Token":      strings.Repeat("99_J", 34),
		"TokenBelow": "3f1c9a0b55d2e871\n" + strings.Repeat("99_J", 34),
		"TokenAbove": strings.Repeat("99_J", 34) + "\n3f1c9a0b55d2e871",
		"TokenAfter": "3f1c9a0b55d2e871@" + strings.Repeat("99_J", 34),
		"Empty":      "",
		"Short":      "3f1c9a0b55d2e87",
		"Long":       "3f1c9a0b55d2e8710",
		"UpperCase":  "3F1C9A0B55D2E871",
		"NoHex":      "3f1c9a0b55d2e87g",
		"Newline":    "3f1c9a0b55d2e871\n",
		"Space":      " 3f1c9a0b55d2e871",
		"NoTime":     "3f1c9a0b55d2e871@",
		"LongTime":   "3f1c9a0b55d2e871@" + strings.Repeat("1", 41),
		"Comma":      "3f1c9a0b55d2e871@10,5", // between + and _, as are the next two
		"Slash":      "3f1c9a0b55d2e871@11/22",
		"Semicolon":  "3f1c9a0b55d2e871@1;2",
		"SpaceIn":    "3f1c9a0b55d2e871@10 o'clock",
		"Chinese":    "3f1c9a0b55d2e871@十点",
		"At":         "3f1c9a0b55d2e871@a@b",
	}
	for name, value := range bad {
		for who, c := range everybody {
			t.Run(name+"/"+who, func(t *testing.T) {
				t.Parallel()
				refusesReport(t, c.Patch(t.Context(), precious.DeepCopy(), reportOf(t, value), client.DryRunAll), form, value)
			})
		}
		born := newPrecious(ns)
		born.SetName("born")
		born.SetAnnotations(map[string]string{v1alpha1.AnnotationInvalidToken: value})
		t.Run(name+"/Create", func(t *testing.T) {
			t.Parallel()
			refusesReport(t, everybody["Editor"].Create(t.Context(), born, client.DryRunAll), form, value)
		})
	}

	good := []string{
		"3f1c9a0b55d2e871", goodReport, "0000000000000000@" + strings.Repeat("1", 40),
		"ffffffffffffffff@2026-11-22T10:00:00.123+08:00", "3f1c9a0b55d2e871@pod_7-AZaz.09:+",
	}
	for _, value := range good {
		for who, c := range everybody {
			if err := c.Patch(t.Context(), precious.DeepCopy(), reportOf(t, value), client.DryRunAll); err != nil {
				t.Errorf("%s: %s: %v", who, value, err)
			}
		}
	}

	// As a person meets it.
	out, err := cluster.with(testcluster.WriteKubeconfig(t, refresher)).Kubectl("annotate", "wxt/precious", "-n", ns, v1alpha1.AnnotationInvalidToken+"="+bad["Token"]).CombinedOutput()
	if err == nil || !strings.Contains(string(out), form) || strings.Contains(string(out), bad["Token"]) {
		t.Errorf("kubectl: got %v and\n%s", err, out)
	}
}

// oldReport is in a namespace of its own, and older than the policy.
var oldReport *unstructured.Unstructured

// makeOldReport makes it, before the policy is installed.
func makeOldReport(t *testing.T) {
	t.Helper()
	old := newPrecious(cluster.newNamespace(t))
	old.SetAnnotations(map[string]string{v1alpha1.AnnotationInvalidToken: "what I tried first"})
	if err := cluster.admin(t).Create(t.Context(), old.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	oldReport = old
}

func TestAnOldReportOfAnotherFormStandsInNobodysWay(t *testing.T) {
	t.Parallel()
	installed(t)
	old, ns := oldReport, oldReport.GetNamespace()
	refresher := clientFor(t, cluster.person(t, ns, "refresher", refresherRole))
	editor := clientFor(t, cluster.person(t, ns, "editor", name+"-view", name+"-edit"))
	patch := func(c client.Client, p client.Patch) error {
		return c.Patch(t.Context(), old.DeepCopy(), p, client.DryRunAll)
	}
	for what, err := range map[string]error{
		"an editor changes the spec":    patch(editor, merge(`{"spec":{"suspend":false}}`)),
		"a refresher asks":              patch(refresher, merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1"}}}`)),
		"a refresher reports":           patch(refresher, reportOf(t, goodReport)),
		"a refresher takes it away":     patch(refresher, merge(`{"metadata":{"annotations":{"wechattoken.io/invalid-token":null}}}`)),
		"an editor writes it once more": patch(editor, reportOf(t, "what I tried first")),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := patch(editor, reportOf(t, "what I try next")); !apierrors.IsInvalid(err) {
		t.Errorf("another one of another form: got %v, want a refusal", err)
	}
}

// newPrecious is a WeChatToken that has something of everything. It is
// suspended, so that no operator minds it.
func newPrecious(namespace string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "wechattoken.io/v1alpha1", "kind": "WeChatToken",
		"metadata": map[string]any{"name": "precious", "namespace": namespace},
		"spec": map[string]any{
			"appID":        "wx0123456789abcdef",
			"appSecretRef": map[string]any{"name": "precious-app", "key": "k"},
			"suspend":      true,
		},
	}}
}

// createPrecious has an editor apply one.
func createPrecious(t *testing.T, namespace string) *unstructured.Unstructured {
	t.Helper()
	precious := newPrecious(namespace)
	precious.SetLabels(map[string]string{"team": "web"})
	precious.SetAnnotations(map[string]string{"example.com/owner": "web"})
	precious.SetFinalizers([]string{"example.com/keep"})
	if err := cluster.admin(t).Apply(t.Context(), client.ApplyConfigurationFromUnstructured(precious), client.FieldOwner("editor")); err != nil {
		t.Fatal(err)
	}
	return newPrecious(namespace)
}

// make tries the change and leaves no trace.
func (c change) make(t *testing.T, who client.Client, wxt *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	t.Helper()
	opts := []client.PatchOption{client.DryRunAll}
	if p, ok := c.patch.(applied); ok {
		opts = append(opts, client.FieldOwner(p.manager))
	}
	if c.forced {
		opts = append(opts, client.ForceOwnership)
	}
	got := wxt.DeepCopy()
	err := who.Patch(t.Context(), got, c.patch, opts...)
	return got, err
}

func merge(body string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(body)) }

func jsonPatch(body string) client.Patch { return client.RawPatch(types.JSONPatchType, []byte(body)) }

// applied is what a manager applies of the WeChatToken that is patched.
type applied struct{ manager, body string }

func apply(manager, body string) client.Patch { return applied{manager, body} }

func (applied) Type() types.PatchType { return types.ApplyPatchType }

func (p applied) Data(to client.Object) ([]byte, error) {
	var body map[string]any
	if err := json.Unmarshal([]byte(p.body), &body); err != nil {
		return nil, err
	}
	o := unstructured.Unstructured{Object: maps.Clone(body)}
	o.SetGroupVersionKind(to.GetObjectKind().GroupVersionKind())
	o.SetName(to.GetName())
	return o.MarshalJSON()
}

func reportOf(t *testing.T, value string) client.Patch {
	t.Helper()
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1alpha1.AnnotationInvalidToken: value}}})
	if err != nil {
		t.Fatal(err)
	}
	return merge(string(body))
}

// refusesReport is the check of a refusal that tells the form and not the value.
func refusesReport(t *testing.T, err error, form, value string) {
	t.Helper()
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), refused) || !strings.Contains(err.Error(), form) {
		t.Errorf("got %v, want a refusal that tells the form", err)
	}
	if err != nil && len(value) > 20 && strings.Contains(err.Error(), value) {
		t.Errorf("the refusal quotes the value: %v", err)
	}
}
