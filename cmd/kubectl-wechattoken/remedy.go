package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"wechattoken.io/operator/api/v1alpha1"
)

// notInstalled is said where there is no CRD.
const notInstalled = "the cluster does not know WeChatToken of wechattoken.io/v1alpha1: install the operator, by Helm or by install.yaml of a release. What is in the way: kubectl wechattoken check --pre"

// again is how to bring back what an install made, without Helm.
const again = "apply the manifests of its version again, with your changes: your kustomization, or install.yaml of the release"

// remedy is how to change an install in the way it was made: these values of the
// chart, or what there is to do without Helm.
func (i *install) remedy(withoutHelm string, values ...string) string {
	d := &i.deployment
	release := d.Annotations["meta.helm.sh/release-name"]
	switch {
	case release != "":
		command := fmt.Sprintf("helm upgrade %s CHART -n %s --reset-then-reuse-values", release, cmp.Or(d.Annotations["meta.helm.sh/release-namespace"], d.Namespace))
		if len(values) > 0 {
			command += " --set " + strings.Join(values, ",")
		}
		return command
	case d.Labels["app.kubernetes.io/managed-by"] != "Helm":
		return withoutHelm
	case len(values) > 0: // as Argo CD does it
		return "set " + strings.Join(values, ",") + " in the values of the chart"
	default:
		return "apply what the chart of its version renders"
	}
}

// bindAgain is how to let an install without Helm work in its --namespaces again: the
// RoleBindings of docs/rbac.md are in no manifest. Empty if it works in all.
func (i *install) bindAgain() string {
	if len(i.flags.namespaces) == 0 {
		return ""
	}
	parts := ""
	if i.flags.consumers {
		parts = ", and the same with wechat-token-operator-watch, -touch, -restart and -evict as both names, where the install has them"
	}
	return fmt.Sprintf("in the namespaces of --namespaces, such as %s: kubectl create rolebinding wechat-token-operator -n %[1]s --clusterrole=wechat-token-operator --serviceaccount=%s:%s%s. If they are there: %s",
		i.flags.namespaces[0], i.deployment.Namespace, i.deployment.Spec.Template.Spec.ServiceAccountName, parts, again)
}

// lookAfterPods is how to switch on what the spec of wt asks for.
func (i *install) lookAfterPods(wt *v1alpha1.WeChatToken) string {
	values := []string{"consumers.watch=true"}
	if wt.Spec.Propagation == v1alpha1.PropagationTouch {
		values = append(values, "consumers.touch=true")
	}
	component := ""
	for _, target := range wt.Spec.Restart.Workloads {
		value := "consumers.restart=true"
		if target.Method == v1alpha1.RestartByEviction {
			value, component = "consumers.evict=true", ", with the component config/consumers/evict"
		}
		if !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	flags := ""
	if len(i.flags.namespaces) > 0 || i.flags.selector != nil {
		flags = ", with --consumers beside its other args, and with --namespaces its roles bound as docs/rbac.md says"
	}
	return i.remedy("apply your kustomization with config/consumers instead of config/default"+component+flags+"; install.yaml has no roles for it", values...)
}
