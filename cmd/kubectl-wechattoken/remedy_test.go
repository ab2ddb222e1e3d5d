package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

// byHelm is an install of the release wx, byArgo one of what the chart renders.
var (
	byHelm = install{deployment: appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Name: "wx", Namespace: "ops", Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"},
		Annotations: map[string]string{"meta.helm.sh/release-name": "wx", "meta.helm.sh/release-namespace": "ops"},
	}}}
	byArgo     = install{deployment: appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"}}}}
	byManifest = install{}
)

func TestTheRemedyKnowsWhereTheAddressIsNot(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		failed *v1alpha1.WeChatError
		want   string
	}{
		"Named":    {"WeChat has named the address.", &v1alpha1.WeChatError{Code: new(int64(40164)), CallerIP: "203.0.113.7"}, "203.0.113.7"},
		"NotNamed": {"45035 names none, and is no less a refusal.", &v1alpha1.WeChatError{Code: new(int64(45035))}, "docs/egress-ip.md"},
		"Other":    {"It is not about the address.", &v1alpha1.WeChatError{Code: new(int64(40013))}, "has not refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wt := &v1alpha1.WeChatToken{Status: v1alpha1.WeChatTokenStatus{LastError: tc.failed, LastRefreshTime: &metav1.Time{Time: noon}}}
			if got := fmt.Sprint(addressAllowed(&tokenFacts{wt: wt}, noon)); !strings.Contains(got, tc.want) {
				t.Errorf("%s got %s", tc.reason, got)
			}
		})
	}
}

func TestRemediesFitTheInstall(t *testing.T) {
	t.Parallel()
	const upgrade = "helm upgrade wx CHART -n ops --reset-then-reuse-values"
	for name, tc := range map[string]struct {
		reason               string
		install              install
		broken, unwatched    string
		unwatchedTouchedToo  string
		unwatchedEvicted     string
		unbound              string
		mustNotBeSaidAtAnyOf []string
	}{
		"Helm":     {"helm knows the values of the release.", byHelm, upgrade, upgrade + " --set consumers.watch=true,consumers.restart=true", upgrade + " --set consumers.watch=true,consumers.touch=true", upgrade + " --set consumers.watch=true,consumers.evict=true", upgrade, []string{"kustomization", "install.yaml"}},
		"Rendered": {"No release is in the cluster.", byArgo, "what the chart of its version renders", "set consumers.watch=true,consumers.restart=true in the values", "set consumers.watch=true,consumers.touch=true", "set consumers.watch=true,consumers.evict=true", "what the chart of its version renders", []string{"kustomization", "helm upgrade"}},
		"Manifest": {"There are no values.", byManifest, "install.yaml of the release", "config/consumers instead of config/default", "config/consumers instead of config/default", "with the component config/consumers/evict", "kubectl create rolebinding wechat-token-operator -n pay", []string{"helm"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Log(tc.reason)
			in := tc.install
			in.permissions.value = []permission{{}}
			cluster := &clusterFacts{installs: fetched[[]install]{value: []install{in}}}
			cluster.schema.value = schemas{"io.wechattoken.v1alpha1.WeChatToken": {}}
			unwatched := func(spec v1alpha1.WeChatTokenSpec) []finding {
				wt := &v1alpha1.WeChatToken{Spec: spec}
				wt.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConsumersCurrent, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonConsumersUnwatched}}
				owned := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: wt.UID, Controller: new(true)}}}}
				return consumersFollow(&tokenFacts{clusterFacts: cluster, wt: wt, secret: fetched[*metav1.PartialObjectMetadata]{value: owned}}, noon)
			}
			for what, said := range map[string]struct {
				findings []finding
				want     string
			}{
				"an old CRD":   {crdKnown(cluster, noon), tc.broken},
				"a lost role":  {operatorMay(cluster, noon), tc.broken},
				"no consumers": {unwatched(v1alpha1.WeChatTokenSpec{Restart: v1alpha1.Restart{Workloads: []v1alpha1.RestartTarget{{}}}}), tc.unwatched},
				"no eviction":  {unwatched(v1alpha1.WeChatTokenSpec{Restart: v1alpha1.Restart{Workloads: []v1alpha1.RestartTarget{{Method: v1alpha1.RestartByEviction}}}}), tc.unwatchedEvicted},
				"no binding":   {operatorMay(ofSome(in), noon), tc.unbound},
				"no touch":     {unwatched(v1alpha1.WeChatTokenSpec{Propagation: v1alpha1.PropagationTouch}), tc.unwatchedTouchedToo},
			} {
				text := fmt.Sprint(said.findings)
				if !strings.Contains(text, said.want) {
					t.Errorf("%s: %q is not in %s", what, said.want, text)
				}
				for _, not := range tc.mustNotBeSaidAtAnyOf {
					if strings.Contains(text, not) {
						t.Errorf("%s: %q is in %s", what, not, text)
					}
				}
			}
		})
	}
}

// ofSome is what is known of an install that works in one namespace.
func ofSome(in install) *clusterFacts {
	in.flags.namespaces = []string{"pay"}
	return &clusterFacts{installs: fetched[[]install]{value: []install{in}}}
}

// A spec that nobody follows, and a workload with the old token: each has its line.
func TestDoctorSaysBothOfConsumers(t *testing.T) {
	t.Parallel()
	wt := &v1alpha1.WeChatToken{Spec: v1alpha1.WeChatTokenSpec{Restart: v1alpha1.Restart{Workloads: []v1alpha1.RestartTarget{{}}}}}
	owned := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: wt.UID, Controller: new(true)}}}}
	f := &tokenFacts{clusterFacts: &clusterFacts{installs: fetched[[]install]{value: []install{byHelm}}}, wt: wt, secret: fetched[*metav1.PartialObjectMetadata]{value: owned}}
	f.consumers.list = []v1alpha1.Consumer{{Kind: "Deployment", Name: "shop-env", Uses: []v1alpha1.SecretUse{v1alpha1.UseEnv}}}
	for reason, want := range map[string]int{v1alpha1.ReasonConsumersUnwatched: 2, v1alpha1.ReasonRestartRefused: 2, v1alpha1.ReasonConsumersStale: 1} {
		wt.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConsumersCurrent, Status: metav1.ConditionFalse, Reason: reason}}
		if got := consumersFollow(f, noon); len(got) != want {
			t.Errorf("%s: got %d lines, want %d: %v", reason, len(got), want, got)
		}
	}
}

// An apply of a folder overwrites the image and the flags of an install by Helm or with
// a kustomization, and most users have no checkout.
func TestNoMessageSaysToApplyAFolder(t *testing.T) {
	t.Parallel()
	messages := 0
	for _, dir := range []string{"api", "cmd", "controllers", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				literal, is := n.(*ast.BasicLit)
				if !is || literal.Kind != token.STRING {
					return true
				}
				messages++
				if text, err := strconv.Unquote(literal.Value); err != nil || strings.Contains(text, "apply -k") {
					t.Errorf("%s says %s", path, literal.Value)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if messages < 1000 {
		t.Errorf("found %d texts: are they read?", messages)
	}
}
