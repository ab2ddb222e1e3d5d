//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// The operator as the chart installs it: its pods run, an upgrade replaces them,
// and what it has made stays when it goes.
func TestChartInACluster(t *testing.T) {
	c := connect(t)
	t.Cleanup(func() {
		if t.Failed() {
			c.tell(t)
		}
	})
	c.startWeChat(t)
	c.available(t, weChatNamespace, "fake-wechat")
	image, tag, _ := strings.Cut(operatorImage, ":")
	c.helm(t, "install", operatorName, "../../config/chart", "--namespace="+operatorNamespace, "--create-namespace",
		"--wait", "--timeout="+patience.String(), "--set=image.repository="+image, "--set=image.tag="+tag, "--set=extraCA.configMap="+weChatCA,
		"--set=wechat.url="+weChatURL, `--set-json=extraArgs=["--stable-window=40s"]`,
		`--set-json=networkPolicy.extraEgress=[{"ports":[{"port":8090,"protocol":"TCP"}]}]`) // of the fake, behind its Service

	token := sample[v1alpha1.WeChatToken](t, "stable.yaml")
	token.Spec.AppID = "wx000000000000c4a2"
	c.create(t, "charted", appSecret(), token)
	c.isReady(t, "charted", token.Name)
	c.helm(t, "test", operatorName, "--namespace="+operatorNamespace, "--timeout="+patience.String())

	before := c.operatorPods(t)
	_, nextTag, _ := strings.Cut(nextOperatorImage, ":")
	c.helm(t, "upgrade", operatorName, "../../config/chart", "--namespace="+operatorNamespace, "--reuse-values",
		"--wait", "--timeout="+patience.String(), "--set=image.tag="+nextTag)
	c.available(t, operatorNamespace, operatorName)
	if after := c.operatorPods(t); slices.ContainsFunc(after, func(p string) bool { return slices.Contains(before, p) }) {
		t.Errorf("of the pods %q some were there before the upgrade: %q", after, before)
	}
	c.nextToken(t, "charted", token.Name, c.fingerprint(t, "charted", token.Name)) // the new pods work

	c.helm(t, "uninstall", operatorName, "--namespace="+operatorNamespace, "--wait", "--timeout="+patience.String())
	c.gone(t, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: operatorName}})
	if _, err := c.token("charted", token.Name); err != nil {
		t.Errorf("the WeChatToken: %v", err)
	}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "charted", Name: token.TokenSecretName()}, &corev1.Secret{}); err != nil {
		t.Errorf("the Secret with the token: %v", err)
	}
}

// helm runs the helm that the Makefile runs.
func (c *cluster) helm(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"tool", "-modfile=../helm/go.mod", "helm"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("helm %s: %v: %s", strings.Join(args, " "), err, said.String())
	}
}
