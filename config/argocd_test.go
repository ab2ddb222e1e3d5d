package config_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
)

// The keys in argocd-cm.
const (
	healthKey  = "resource.customizations.health.wechattoken.io_WeChatToken"
	actionsKey = "resource.customizations.actions.wechattoken.io_WeChatToken"
)

// health is what Argo CD says of a resource.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// action is what Argo CD offers.
type action struct {
	Disabled    bool   `json:"disabled"`
	DisplayName string `json:"displayName"`
	IconClass   string `json:"iconClass"`
}

// customization is what config/argocd teaches Argo CD.
type customization struct {
	health  string
	Actions struct {
		Discovery   string `json:"discovery.lua"`
		Definitions []struct {
			Name string `json:"name"`
			Lua  string `json:"action.lua"`
		} `json:"definitions"`
	}
}

func newCustomization(t *testing.T) customization {
	t.Helper()
	cm := only(t, ofKind[corev1.ConfigMap](t, "ConfigMap", objects(t, "argocd")))
	c := customization{health: cm.Data[healthKey]}
	if err := yaml.UnmarshalStrict([]byte(cm.Data[actionsKey]), &c.Actions); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c customization) healthOf(t *testing.T, obj *unstructured.Unstructured) health {
	t.Helper()
	var h health
	runLua(t, c.health, obj, &h)
	return h
}

func (c customization) discover(t *testing.T, obj *unstructured.Unstructured) map[string]action {
	t.Helper()
	var actions map[string]action
	runLua(t, c.Actions.Discovery, obj, &actions)
	return actions
}

// act returns what Argo CD makes of an object.
func (c customization) act(t *testing.T, action string, obj *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	for _, d := range c.Actions.Definitions {
		if d.Name == action {
			changed := &unstructured.Unstructured{}
			runLua(t, d.Lua, obj, &changed.Object)
			changed.Object = asBefore(changed.Object, obj.Object).(map[string]any)
			return changed
		}
	}
	t.Fatalf("there is no action %s", action)
	return nil
}

// runLua runs a script of argocd-cm as Argo CD does, which gives it the libraries
// base, package and table, and os.date and os.time to those that require os.
func runLua(t *testing.T, script string, obj *unstructured.Unstructured, result any) {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	open := func(name string, f lua.LGFunction) {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(f), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	open(lua.OsLibName, lua.OpenOs)
	safe := l.NewTable()
	for _, f := range []string{"date", "time"} {
		safe.RawSetString(f, l.GetField(l.GetGlobal(lua.OsLibName), f))
	}
	l.SetGlobal(lua.OsLibName, lua.LNil)
	l.GetField(l.Get(lua.RegistryIndex), "_LOADED").(*lua.LTable).RawSetString(lua.OsLibName, lua.LNil)
	open(lua.LoadLibName, lua.OpenPackage)
	open(lua.BaseLibName, lua.OpenBase)
	open(lua.TabLibName, lua.OpenTable)
	l.PreloadModule(lua.OsLibName, func(l *lua.LState) int { l.Push(safe); return 1 })

	l.SetGlobal("obj", toLua(l, obj.Object))
	if err := l.DoString(script); err != nil {
		t.Fatalf("%v in\n%s", err, script)
	}
	text, err := luajson.Encode(l.Get(-1))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, result); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func toLua(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		list := l.NewTable()
		for _, item := range v {
			list.Append(toLua(l, item))
		}
		return list
	case map[string]any:
		table := l.NewTable()
		for key, item := range v {
			table.RawSetString(key, toLua(l, item))
		}
		return table
	default:
		return lua.LNil
	}
}

// asBefore makes those empty lists objects again that were empty objects before:
// Lua does not tell them apart.
func asBefore(now, before any) any {
	was, object := before.(map[string]any)
	if list, is := now.([]any); is && object && len(list) == 0 {
		return map[string]any{}
	}
	if is, also := now.(map[string]any); also && object {
		for key := range is {
			is[key] = asBefore(is[key], was[key])
		}
	}
	return now
}

// The tests run with the libraries that Argo CD gives, and not with more.
func TestLuaIsAsNarrowAsInArgoCD(t *testing.T) {
	t.Parallel()
	var got map[string]string
	runLua(t, `
		local os = require("os")
		return {
			os_global = type(_G.os), string = type(string), math = type(math), io = type(io), debug = type(debug),
			table = type(table), date = type(os.date), time = type(os.time), exit = type(os.exit), getenv = type(os.getenv),
		}`, &unstructured.Unstructured{}, &got)
	want := map[string]string{
		"os_global": "nil", "string": "nil", "math": "nil", "io": "nil", "debug": "nil", "exit": "nil", "getenv": "nil",
		"table": "table", "date": "function", "time": "function",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
}

// ofKstatus are the words of Argo CD for those of kstatus.
var ofKstatus = map[status.Status]string{
	status.CurrentStatus: "Healthy", status.InProgressStatus: "Progressing", status.FailedStatus: "Degraded", status.TerminatingStatus: "Progressing",
}

func kstatus(t *testing.T, obj *unstructured.Unstructured) status.Status {
	t.Helper()
	result, err := status.Compute(obj)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

// Argo CD says what Flux says, but for what is suspended.
func TestArgoCDReadsTheConditions(t *testing.T) {
	t.Parallel()
	c := newCustomization(t)
	condition := func(kind string, is metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: kind, Status: is, Reason: "Because", Message: "of " + kind}
	}
	ready, not := condition("Ready", metav1.ConditionTrue), condition("Ready", metav1.ConditionFalse)
	reconciling, stalled := condition("Reconciling", metav1.ConditionTrue), condition("Stalled", metav1.ConditionTrue)
	seen := func(conditions ...metav1.Condition) v1alpha1.WeChatTokenStatus {
		return v1alpha1.WeChatTokenStatus{ObservedGeneration: 2, Conditions: conditions}
	}
	cases := map[string]struct {
		reason    string
		status    v1alpha1.WeChatTokenStatus
		suspended bool
		deleted   bool
		want      health
		kstatus   status.Status // where Flux says something else
	}{
		"New":                  {reason: "The API server's default.", status: v1alpha1.WeChatTokenStatus{ObservedGeneration: -1}, want: health{"Progressing", "The operator has not looked at this spec yet"}},
		"ObservedWithoutReady": {reason: "Nothing is known.", status: seen(), want: health{"Progressing", "The operator has not looked at this spec yet"}, kstatus: status.CurrentStatus},
		"Changed":              {reason: "Ready speaks of another spec.", status: v1alpha1.WeChatTokenStatus{ObservedGeneration: 1, Conditions: []metav1.Condition{ready}}, want: health{"Progressing", "The operator has not looked at this spec yet"}},
		"ChangedWhileStalled":  {reason: "The new spec may be right.", status: v1alpha1.WeChatTokenStatus{ObservedGeneration: 1, Conditions: []metav1.Condition{not, stalled}}, want: health{"Progressing", "The operator has not looked at this spec yet"}},
		"Ready":                {reason: "All is well.", status: seen(ready), want: health{"Healthy", "of Ready"}},
		"ReadyAmongOthers":     {reason: "Who uses the Secret is not its health.", status: seen(condition("ConsumersCurrent", metav1.ConditionFalse), ready), want: health{"Healthy", "of Ready"}},
		"Reconciling":          {reason: "It passes by itself.", status: seen(not, reconciling), want: health{"Progressing", "of Ready"}},
		"ReadyReconciling":     {reason: "So it is while the old token is valid.", status: seen(ready, reconciling), want: health{"Progressing", "of Ready"}},
		"NotReady":             {reason: "A token is not there.", status: seen(not), want: health{"Progressing", "of Ready"}},
		"Stalled":              {reason: "A person must act.", status: seen(not, stalled), want: health{"Degraded", "of Ready"}},
		"ReadyStalled":         {reason: "A person must act before the old token expires.", status: seen(ready, stalled), want: health{"Degraded", "of Ready"}},
		"Suspended":            {reason: "As wanted.", status: seen(ready), suspended: true, want: health{"Suspended", "of Ready"}, kstatus: status.CurrentStatus},
		"SuspendedDead":        {reason: "No token will come.", status: seen(not), suspended: true, want: health{"Degraded", "of Ready"}, kstatus: status.InProgressStatus},
		"SuspendedStalled":     {reason: "A person must act.", status: seen(ready, stalled), suspended: true, want: health{"Degraded", "of Ready"}},
		"Deleting":             {reason: "Whatever it was.", status: seen(ready), deleted: true, want: health{"Progressing", "It is being deleted"}},
	}
	for what, tc := range cases {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wt := &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Name: "shop", Generation: 2}, Status: tc.status}
			wt.Spec = v1alpha1.WeChatTokenSpec{AppID: "wx0123456789abcdef", AppSecretRef: v1alpha1.AppSecretReference{Name: "shop-app"}, Suspend: tc.suspended}
			if tc.deleted {
				wt.DeletionTimestamp = new(metav1.Now())
			}
			fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wt)
			if err != nil {
				t.Fatal(err)
			}
			obj := &unstructured.Unstructured{Object: fields}
			obj.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WeChatToken"))
			if diff := cmp.Diff(tc.want, c.healthOf(t, obj)); diff != "" {
				t.Errorf("%s\nhealth (-want +got):\n%s", tc.reason, diff)
			}
			flux := kstatus(t, obj)
			if tc.kstatus != "" && flux != tc.kstatus || tc.kstatus == "" && ofKstatus[flux] != tc.want.Status {
				t.Errorf("%s\nkstatus reads %s", tc.reason, flux)
			}
		})
	}
}

// What is offered can be done, and what can be done is offered.
func TestArgoCDOffersItsActions(t *testing.T) {
	t.Parallel()
	c := newCustomization(t)
	var defined []string
	for _, d := range c.Actions.Definitions {
		defined = append(defined, d.Name)
	}
	slices.Sort(defined)
	for spec, disabled := range map[string][]string{
		`{}`:                              {"resume"},
		`{"suspend": false}`:              {"resume"},
		`{"suspend": true}`:               {"refresh", "suspend"},
		`{"sourceRef": {"name": "shop"}}`: {"refresh", "resume"},
	} {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte("spec: "+spec), &obj.Object); err != nil {
			t.Fatal(err)
		}
		var not []string
		offered := c.discover(t, obj)
		for name, a := range offered {
			if a.DisplayName == "" || !strings.HasPrefix(a.IconClass, "fa fa-fw fa-") {
				t.Errorf("%s has no name or no icon: %+v", name, a)
			}
			if a.Disabled {
				not = append(not, name)
			}
		}
		slices.Sort(not)
		if diff := cmp.Diff(disabled, not); diff != "" {
			t.Errorf("spec %s: disabled (-want +got):\n%s", spec, diff)
		}
		if diff := cmp.Diff(defined, slices.Sorted(maps.Keys(offered))); diff != "" {
			t.Errorf("actions (-defined +offered):\n%s", diff)
		}
	}
}

// theirs is what others have set up for Argo CD.
const theirs = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  labels: {app.kubernetes.io/part-of: argocd, team: platform}
data:
  url: https://argocd.example.com
  resource.customizations.health.cert-manager.io_Certificate: return {status = "Healthy"}
`

// keepsTheirs checks that an argocd-cm has what was there before beside what is ours.
func keepsTheirs(t *testing.T, cm corev1.ConfigMap) {
	t.Helper()
	if diff := cmp.Diff([]string{actionsKey, "resource.customizations.health.cert-manager.io_Certificate", healthKey, "url"}, slices.Sorted(maps.Keys(cm.Data))); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if cm.Labels["team"] != "platform" || cm.Labels["app.kubernetes.io/part-of"] != "argocd" {
		t.Errorf("labels: %v", cm.Labels)
	}
}

func TestTheComponentKeepsArgoCDsOtherSettings(t *testing.T) {
	t.Parallel()
	own := t.TempDir()
	write(t, filepath.Join(own, "theirs.yaml"), theirs)
	write(t, filepath.Join(own, "kustomization.yaml"), `
namespace: argocd
resources: [theirs.yaml]
components: [`+relative(t, own, "argocd/customizations")+`]
`)
	keepsTheirs(t, only(t, ofKind[corev1.ConfigMap](t, "ConfigMap", objects(t, own))))
}
