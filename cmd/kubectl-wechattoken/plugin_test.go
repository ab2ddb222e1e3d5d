//go:build integration

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
)

// inPath is the environment in which kubectl finds the plugin, and by its other
// name what completes it.
func inPath(t *testing.T, w *world) []string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"kubectl-wechattoken", "kubectl_complete-wechattoken"} {
		w.must(os.Symlink(filepath.Join(binaries, "kubectl-wechattoken"), filepath.Join(bin, name)))
	}
	return append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+w.Kubeconfig)
}

func TestKubectlFindsThePlugin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	kubectl := func(args ...string) result {
		t.Helper()
		cmd := exec.Command(w.Kubectl().Path, args...)
		cmd.Env = inPath(t, w)
		return w.finish(cmd)
	}
	kubectl("wechattoken", "status", "-n", w.Name).wants(t, 0, "shop", "TokenValid")
	kubectl("wechattoken", "status", "-n", w.Name, "none").wants(t, exitCluster, "There is no WeChatToken")
	kubectl("wechattoken", "version").wants(t, 0, "kubectl-wechattoken ")
	kubectl("plugin", "list").wants(t, 0, "kubectl-wechattoken")

	// As a shell asks kubectl when somebody presses Tab.
	kubectl("__complete", "wechattoken", "ref").wants(t, 0, "refresh\tAsk for a new token")
	kubectl("__complete", "wechattoken", "refresh", "-n", w.Name, "sh").wants(t, 0, "shop\n")
	kubectl("__complete", "wechattoken", "status", "-o", "").wants(t, 0, "wide\n", "json\n")
	kubectl("__complete", "wechattoken", "status", "--namespace", w.Name[:3]).wants(t, 0, w.Name+"\n")
	kubectl("__complete", "wechattoken", "refresh", "-n", w.Name, "shop", "").wants(t, 0, "!shop\n")
}

func TestMistakesAreExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("statsu").wants(t, exitUsage, `unknown command "statsu"`)
	w.run("status", "--no-such-flag").wants(t, exitUsage, "--no-such-flag")
	w.run("status", "--context=none").wants(t, exitCluster, "There is no cluster to ask", "--context")
	w.run("status", "--server=https://127.0.0.1:1").wants(t, exitCluster, "The cluster cannot be reached")
	w.run("status", "--as=nobody").wants(t, exitCluster, "Ask the owner of the namespace for a RoleBinding")
}

// The plugin has no operator and no client of WeChat's in it.
func TestThePluginIsNoOperator(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := slices.DeleteFunc(strings.Fields(string(out)), func(p string) bool { return !strings.HasPrefix(p, "wechattoken.io/") })
	want := []string{
		"wechattoken.io/operator/api/v1alpha1",
		"wechattoken.io/operator/cmd/kubectl-wechattoken",
		"wechattoken.io/operator/internal/budget",
		"wechattoken.io/operator/internal/build",
		"wechattoken.io/operator/internal/record",
		"wechattoken.io/operator/internal/uses",
		"wechattoken.io/operator/internal/wechat/console",
		"wechattoken.io/operator/internal/wechat/wire",
	}
	slices.Sort(ours)
	if diff := cmp.Diff(want, ours); diff != "" {
		t.Errorf("our packages (-want +got):\n%s", diff)
	}
	if strings.Contains(string(out), "controller-runtime/pkg/manager") {
		t.Error("the plugin has controller-runtime's manager in it")
	}
}
