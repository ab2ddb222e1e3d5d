package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

// trial is the namespace of the trial.
const trial = "wechat-trial"

// trialPods are the pods of config/trial, by the names of what makes them.
func trialPods(t *testing.T) map[string]corev1.PodSpec {
	t.Helper()
	all := map[string]corev1.PodSpec{}
	for _, d := range deployments(t, "trial") {
		all[d.Name] = d.Spec.Template.Spec
	}
	for _, j := range ofKind[batchv1.Job](t, "Job", objects(t, "trial")) {
		all[j.Name] = j.Spec.Template.Spec
	}
	return all
}

// So the namespace and the CRD are all that there is to remove, and an operator that is
// installed elsewhere keeps its roles and policies.
func TestTheTrialIsInItsNamespace(t *testing.T) {
	t.Parallel()
	var outside []string
	for _, o := range objects(t, "trial") {
		if o.GetNamespace() == "" {
			outside = append(outside, o.GetKind()+" "+o.GetName())
		} else if o.GetNamespace() != trial {
			t.Errorf("%s %s is in the namespace %s", o.GetKind(), o.GetName(), o.GetNamespace())
		}
		if o.GetLabels()["app.kubernetes.io/part-of"] != trial {
			t.Errorf("%s %s has not the label by which it is known", o.GetKind(), o.GetName())
		}
	}
	if diff := cmp.Diff([]string{"Namespace " + trial, "CustomResourceDefinition wechattokens.wechattoken.io"}, outside); diff != "" {
		t.Errorf("what is in no namespace (-want +got):\n%s", diff)
	}
	operator := deploymentOf(t, name, objects(t, "trial"))
	if args := container(operator).Args; !slices.Contains(args, "--namespaces=wechat-trial") {
		t.Errorf("the operator of a trial works elsewhere, too: %q", args)
	}
}

// One image is loaded, and no address is asked for that another cluster may not have.
func TestTheTrialRunsInAnyCluster(t *testing.T) {
	t.Parallel()
	for of, pod := range trialPods(t) {
		for _, c := range pod.Containers {
			if c.Image != "wechat-token-operator-trial:dev" || len(c.Command) == 0 {
				t.Errorf("%s runs %q of the image %s", of, c.Command, c.Image)
			}
		}
	}
	for _, s := range ofKind[corev1.Service](t, "Service", objects(t, "trial")) {
		if s.Spec.ClusterIP != "" || len(s.Spec.Ports) != 1 || s.Spec.Ports[0].NodePort != 0 {
			t.Errorf("the Service %s wants the address %q and the ports %+v", s.Name, s.Spec.ClusterIP, s.Spec.Ports)
		}
	}
}

// The operator has to know how WeChat's time passes, and the kubelet must be in time: it
// may take 90 s to bring a token into a file.
func TestTheTimeOfTheTrialFits(t *testing.T) {
	t.Parallel()
	flags := map[string]string{}
	for _, program := range []string{name, "fake-wechat"} {
		for _, arg := range container(deploymentOf(t, program, objects(t, "trial"))).Args {
			key, value, _ := strings.Cut(arg, "=")
			flags[key] = value
		}
	}
	window, err := time.ParseDuration(flags["--window"])
	if err != nil || window <= 100*time.Second || flags["--stable-window"] != flags["--window"] || flags["--overlap"] != flags["--window"] {
		t.Errorf("%v: the windows of the fake WeChat and of the operator do not fit: %v", err, flags)
	}
	shop := only(t, ofKind[v1alpha1.WeChatToken](t, "WeChatToken", objectsIn(t, "trial/shop.yaml")))
	if account, _, _ := strings.Cut(flags["--account"], "="); account != shop.Spec.AppID {
		t.Errorf("WeChat has the account %q, and the WeChatToken that of %q", account, shop.Spec.AppID)
	}
}
