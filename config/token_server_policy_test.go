//go:build integration

package config_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const serverPolicy = "ValidatingAdmissionPolicy '" + server + "' with binding '" + server + "' denied request: "

// serverElsewhere is a token server of another namespace. RBAC allows it everything, so
// that config/policy takes it for an editor.
func (p plane) serverElsewhere() *rest.Config {
	elsewhere := rest.CopyConfig(p.Config)
	elsewhere.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:another:" + server, Groups: []string{"system:masters"}}
	return elsewhere
}

// What RBAC cannot say of a patch the policy does, both for the ServiceAccount and for one
// that config/policy would let change everything.
func TestTheTokenServerReportsAndChangesNothingElse(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	precious := createPrecious(t, ns)
	// With a report, none of these is refused for having none.
	if err := cluster.admin(t).Patch(t.Context(), precious.DeepCopy(), reportOf(t, goodReport)); err != nil {
		t.Fatal(err)
	}
	bad := map[string]change{
		"Refresh":        {reason: "It asks for no refresh.", patch: merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1"}}}`)},
		"RefreshBesides": {reason: "It asks for no refresh.", patch: merge(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1","wechattoken.io/invalid-token":"` + goodReport + `"}}}`)},
		"LabelInTheNameOfTheEditor": {
			reason: "Who owns what stays as it is, for anybody may give any manager's name.",
			patch: apply("editor", `{"metadata":{"annotations":{"example.com/owner":"web"},"labels":{"team":"mine"},"finalizers":["example.com/keep"]},
				"spec":{"appID":"wx0123456789abcdef","appSecretRef":{"name":"precious-app","key":"k"},"suspend":true}}`),
		},
		"AnnotationInTheNameOfTheEditor": {
			reason: "Who owns what stays as it is, for anybody may give any manager's name.",
			patch: apply("editor", `{"metadata":{"annotations":{"example.com/owner":"me"},"labels":{"team":"web"},"finalizers":["example.com/keep"]},
				"spec":{"appID":"wx0123456789abcdef","appSecretRef":{"name":"precious-app","key":"k"},"suspend":true}}`),
		},
		"Alike": {reason: "One annotation is free, not all that begin alike.", patch: merge(`{"metadata":{"annotations":{"wechattoken.io/invalid-token-at":"1","wechattoken.io/invalid-token":"` + goodReport + `"}}}`)},
	}
	maps.Copy(bad, changes)
	live := precious.DeepCopy()
	if err := cluster.admin(t).Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Fatal(err)
	}
	own, elsewhere := clientFor(t, cluster.serviceAccount(t, name, server)), clientFor(t, cluster.serverElsewhere())
	for what, tc := range bad {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for who, c := range map[string]client.Client{"ValidatingAdmissionPolicy '": own, serverPolicy: elsewhere} {
				got, err := tc.make(t, c, precious)
				if tc.undone && err == nil && cmp.Equal(got.Object, live.Object) {
					continue
				}
				if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), who) {
					t.Errorf("%s\ngot %v, want a refusal by %s", tc.reason, err, who)
				}
			}
			if _, err := tc.make(t, cluster.admin(t), precious); err != nil {
				t.Errorf("an administrator may not: %v", err)
			}
		})
	}
}

func TestNothingStandsInTheWayOfTheTokenServersReport(t *testing.T) {
	t.Parallel()
	ns, admin := newNamespace(t), cluster.admin(t)
	precious := createPrecious(t, ns)
	servers := map[string]client.Client{"own": clientFor(t, cluster.serviceAccount(t, name, server)), "elsewhere": clientFor(t, cluster.serverElsewhere())}
	good := map[string]change{
		"Merge": {patch: reportOf(t, goodReport)},
		"JSON":  {patch: jsonPatch(`[{"op":"add","path":"/metadata/annotations/wechattoken.io~1invalid-token","value":"` + goodReport + `"}]`)},
		"Apply": {patch: apply(server, `{"metadata":{"annotations":{"wechattoken.io/invalid-token":"`+goodReport+`"}}}`), forced: true},
		"Short": {patch: reportOf(t, fingerprint)},
	}
	report := func(on string) {
		for what, tc := range good {
			for who, c := range servers {
				if _, err := tc.make(t, c, precious); err != nil {
					t.Errorf("%s, %s, %s: %v", on, what, who, err)
				}
			}
		}
	}
	report("the first report")
	// A report of somebody else, whose field it takes, among many managers, of which the
	// API server itself makes one.
	if err := admin.Patch(t.Context(), precious.DeepCopy(), reportOf(t, "0123456789abcdef"), client.FieldOwner("person")); err != nil {
		t.Fatal(err)
	}
	report("over another's report")
	for i := range 14 {
		body := fmt.Sprintf(`{"metadata":{"annotations":{"example.com/%d":"1"}}}`, i)
		if err := admin.Patch(t.Context(), precious.DeepCopy(), merge(body), client.FieldOwner(fmt.Sprint("person-", i))); err != nil {
			t.Fatal(err)
		}
	}
	report("among many managers")
	for who, c := range servers {
		// Of those of the same second the first by name are made one.
		if err := c.Patch(t.Context(), precious.DeepCopy(), reportOf(t, goodReport), client.FieldOwner(server), client.DryRunAll); err != nil {
			t.Errorf("%s, as one more manager: %v", who, err)
		}
		if err := c.Patch(t.Context(), precious.DeepCopy(), merge(`{"metadata":{"managedFields":[{}]}}`), client.DryRunAll); !apierrors.IsForbidden(err) {
			t.Errorf("%s wipes out all managers: got %v, want a refusal", who, err)
		}
	}
	// An object without annotations.
	bare := newPrecious(ns)
	bare.SetName("bare")
	if err := admin.Create(t.Context(), bare.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	if err := servers["own"].Patch(t.Context(), bare, reportOf(t, goodReport)); err != nil {
		t.Error(err)
	}
}

// CEL has a budget, and an object up to 256 KiB of annotations.
func TestAnObjectFullOfAnnotationsCanBeReported(t *testing.T) {
	ns := newNamespace(t)
	full := newPrecious(ns)
	annotations := map[string]string{}
	fill(annotations, 10)
	full.SetAnnotations(annotations)
	if err := cluster.admin(t).Create(t.Context(), full.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	patchInTime(t, clientFor(t, cluster.serviceAccount(t, name, server)), newPrecious(ns), reportOf(t, goodReport))
}
