package config_test

import (
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// What kustomize renames, the WeChatToken names as it is called then; and so do the pods
// that use its Secret.
func TestKustomizeRenamesWhatWeChatTokensName(t *testing.T) {
	t.Parallel()
	references, err := os.ReadFile("kustomize/namereference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := filesys.MakeFsInMemory()
	for file, text := range map[string]string{
		"namereference.yaml": string(references),
		"kustomization.yaml": `
namePrefix: staging-
resources: [objects.yaml]
secretGenerator: [{name: shop-app, literals: [appsecret=0123456789abcdef0123456789abcdef]}]
configurations: [namereference.yaml]
`,
		"objects.yaml": `
apiVersion: wechattoken.io/v1alpha1
kind: WeChatToken
metadata: {name: shop}
spec:
  appID: wx0123456789abcdef
  appSecretRef: {name: shop-app}
  restart: {workloads: [{kind: Deployment, name: web}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers: [{name: web, env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: shop, key: access_token}}}]}]
      volumes: [{name: token, secret: {secretName: shop}}, {name: other, secret: {secretName: theirs}}]
`,
	} {
		if err := files.WriteFile(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	byKind := map[string]unstructured.Unstructured{}
	for _, o := range decode(t, strings.NewReader(string(text))) {
		byKind[o.GetKind()] = o
	}
	wt, web, app := byKind["WeChatToken"], byKind["Deployment"], byKind["Secret"]
	name, _, _ := unstructured.NestedString(wt.Object, "spec", "appSecretRef", "name")
	if name != app.GetName() || !strings.HasPrefix(name, "staging-shop-app-") {
		t.Errorf("appSecretRef names %q, and the Secret is %q", name, app.GetName())
	}
	workloads, _, _ := unstructured.NestedSlice(wt.Object, "spec", "restart", "workloads")
	if got := workloads[0].(map[string]any)["name"]; got != web.GetName() || got != "staging-web" {
		t.Errorf("spec.restart names %q, and the Deployment is %q", got, web.GetName())
	}
	pod, _, _ := unstructured.NestedMap(web.Object, "spec", "template", "spec")
	said, err := (&unstructured.Unstructured{Object: map[string]any{"kind": "Pod", "apiVersion": "v1", "spec": pod}}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"secretName":"staging-shop"`, `"secretName":"theirs"`, `"secretKeyRef":{"key":"access_token","name":"staging-shop"}`} {
		if !strings.Contains(string(said), want) {
			t.Errorf("the pods have no %s:\n%s", want, said)
		}
	}
}
