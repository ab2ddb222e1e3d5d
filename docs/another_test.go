//go:build pages

package docs_test

import (
	"errors"
	"os"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"wechattoken.io/operator/internal/testcluster"
)

// another starts a second cluster, which the pages call new, and this one old. What it returns
// ends that.
func (r *runner) another(t *testing.T) (end func()) {
	t.Helper()
	c, err := testcluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	startStandIns(t, c, r.standIns.manager, r.standIns.weChat)
	before, err := os.ReadFile(r.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.Load(before)
	if err != nil {
		t.Fatal(err)
	}
	second, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	old, fresh := config.Contexts[config.CurrentContext], second.Contexts[second.CurrentContext]
	config.Clusters["new"], config.AuthInfos["new"] = second.Clusters[fresh.Cluster], second.AuthInfos[fresh.AuthInfo]
	fresh.Cluster, fresh.AuthInfo, fresh.Namespace = "new", "new", here
	config.Contexts["old"], config.Contexts["new"], config.CurrentContext = old, fresh, "old"
	if err := clientcmd.WriteToFile(*config, r.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(c.Stop(), os.WriteFile(r.kubeconfig, before, 0o600)); err != nil {
			t.Error(err)
		}
	}
}
