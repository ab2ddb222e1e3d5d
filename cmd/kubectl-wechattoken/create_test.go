package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
)

// quietly runs the plugin where there is no cluster.
func quietly(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	none := filepath.Join(t.TempDir(), "none")
	code := run(t.Context(), append([]string{"--kubeconfig=" + none}, args...), genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &stdout, ErrOut: &stderr})
	return result{stdout.String(), stderr.String(), code}
}

func TestCreateDryRunPrintsTheManifest(t *testing.T) {
	t.Parallel()
	got := quietly(t, "0123456789abcdef0123456789abcdef\n", "create", "shop", "-n", "web", "--appid=wx0123456789abcdef", "--dry-run=client", "-o", "yaml")
	want := `apiVersion: wechattoken.io/v1alpha1
kind: WeChatToken
metadata:
  name: shop
  namespace: web
spec:
  appID: wx0123456789abcdef
  appSecretRef:
    name: shop-app
  secret:
    name: shop-token
`
	if diff := cmp.Diff(result{stdout: want}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCreateLooksAtItsFlagsFirst(t *testing.T) {
	t.Parallel()
	const id = "--appid=wx0123456789abcdef"
	cases := map[string]struct {
		reason string
		args   []string
		code   int
		text   string
	}{
		"NoName":    {"It has to be called something.", []string{id}, exitUsage, "accepts 1 arg"},
		"NoAppID":   {"Nobody else knows the appid.", []string{"shop"}, exitUsage, "--appid is missing"},
		"OddAppID":  {"The API server would refuse it.", []string{"shop", "--appid=wx0123456789ABCDEF"}, exitUsage, `not "wx0123456789ABCDEF"`},
		"TwoWays":   {"It cannot come from both.", []string{"shop", id, "--appsecret-ref=a", "--appsecret-file=b"}, exitUsage, "appsecret-file"},
		"DryServer": {"That would need the AppSecret.", []string{"shop", id, "--dry-run=server"}, exitUsage, "none or client"},
		"NoTime":    {"It would wait for nothing.", []string{"shop", id, "--timeout=0s"}, exitUsage, "--timeout"},
		"NoCluster": {"There is none to write to.", []string{"shop", id}, exitCluster, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Log(tc.reason)
			got := quietly(t, "", append([]string{"create"}, tc.args...)...)
			if got.code != tc.code || !strings.Contains(got.stderr, tc.text) {
				t.Errorf("want code %d with %q, got %s", tc.code, tc.text, got)
			}
		})
	}
}

// The form of an appid is looked at here before anything is written, and there again.
func TestTheFormOfAnAppIDIsTheCRDs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../config/crd/wechattoken.io_wechattokens.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	rules := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["appID"].XValidations
	want := "self.matches('" + appIDForm.String() + "')"
	if !slices.ContainsFunc(rules, func(r apiextensionsv1.ValidationRule) bool { return r.Rule == want }) {
		t.Errorf("the CRD has no rule %s, but %v", want, rules)
	}
}

func TestReadyIsAwaitedUntilAPersonMustAct(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		status  metav1.ConditionStatus
		now     string
		seen    int64 // of generation 2
		stalled bool
		after   time.Duration
		done    bool
		stop    string
	}{
		"Valid":      {reason: "That is what was awaited.", status: metav1.ConditionTrue, now: v1alpha1.ReasonTokenValid, seen: 2, done: true},
		"OldSpec":    {reason: "It was true of the spec before.", status: metav1.ConditionTrue, now: v1alpha1.ReasonTokenValid, seen: 1},
		"Pending":    {reason: "WeChat may be back soon.", status: metav1.ConditionFalse, now: v1alpha1.ReasonWeChatUnavailable, seen: 2, after: time.Minute},
		"NotAllowed": {reason: "A person must allow the address, and then ask for it.", status: metav1.ConditionFalse, now: v1alpha1.ReasonIPNotAllowed, seen: 2, stalled: true, after: settle, stop: "Add 203.0.113.7. Then run: kubectl wechattoken refresh shop -n web --wait"},
		"TooEarly":   {reason: "The operator may not have seen the Secret yet.", status: metav1.ConditionFalse, now: v1alpha1.ReasonAppSecretMissing, seen: 2, stalled: true},
		"NoSecret":   {reason: "Nobody else makes it.", status: metav1.ConditionFalse, now: v1alpha1.ReasonAppSecretMissing, seen: 2, stalled: true, after: settle, stop: "kubectl wechattoken doctor shop -n web"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wt := &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop", Generation: 2}}
			wt.Status.ObservedGeneration = tc.seen
			wt.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: tc.status, Reason: tc.now, Message: "Add 203.0.113.7"}}
			if tc.stalled {
				wt.Status.Conditions = append(wt.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue})
			}
			got := (&readying{since: noon}).look(wt, noon.Add(tc.after))
			stop := ""
			if got.stop != nil {
				stop = got.stop.Error()
			}
			if got.done != tc.done || (stop != "") != (tc.stop != "") || !strings.Contains(stop, tc.stop) {
				t.Errorf("%s got done %t, stop %q; want %t, %q", tc.reason, got.done, stop, tc.done, tc.stop)
			}
		})
	}
}
