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
	w := newWorld(t)
	w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	kubectl := func(args ...string) result {
		t.Helper()
		cmd := w.Kubectl(args...)
		cmd.Env = inPath(t, w)
		return w.finish(cmd)
	}
	kubectl("wechattoken", "status", "-n", w.name).wants(t, 0, "shop", "TokenValid")
	kubectl("wechattoken", "status", "-n", w.name, "none").wants(t, exitCluster, "There is no WeChatToken")
	kubectl("wechattoken", "version").wants(t, 0, "kubectl-wechattoken ")
	kubectl("plugin", "list").wants(t, 0, "kubectl-wechattoken")

	// As a shell asks kubectl when somebody presses Tab.
	kubectl("__complete", "wechattoken", "ref").wants(t, 0, "refresh\tAsk for a new token")
	kubectl("__complete", "wechattoken", "refresh", "-n", w.name, "sh").wants(t, 0, "shop\n")
	kubectl("__complete", "wechattoken", "status", "-o", "").wants(t, 0, "wide\n", "json\n")
	kubectl("__complete", "wechattoken", "status", "--namespace", w.name[:3]).wants(t, 0, w.name+"\n")
	kubectl("__complete", "wechattoken", "refresh", "-n", w.name, "shop", "").wants(t, 0, "!shop\n")
}

func TestHelpHasExamples(t *testing.T) {
	for _, sub := range []string{"", "status", "refresh", "doctor", "leak"} {
		args := append(strings.Fields(sub), "--help")
		out, err := exec.Command(filepath.Join(binaries, "kubectl-wechattoken"), args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Examples:\n  kubectl wechattoken ") || !strings.Contains(string(out), "Exit codes:") {
			t.Errorf("%q: %v\n%s", sub, err, out)
		}
	}
}

func TestMistakesAreExplained(t *testing.T) {
	w := newWorld(t)
	w.run("statsu").wants(t, exitUsage, `unknown command "statsu"`)
	w.run("status", "--no-such-flag").wants(t, exitUsage, "--no-such-flag")
	w.run("status", "--context=none").wants(t, exitCluster, "There is no cluster to ask", "--context")
	w.run("status", "--server=https://127.0.0.1:1").wants(t, exitCluster, "The cluster cannot be reached")
	w.run("status", "--as=nobody").wants(t, exitCluster, "ask who manages the namespace for a RoleBinding")
}

// The plugin has no operator and no client of WeChat's in it.
func TestThePluginIsNoOperator(t *testing.T) {
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

// The canaries of the other tests are found where they are.
func TestSecretsWouldBeFound(t *testing.T) {
	w := newWorld(t)
	w.operate()
	w.create("shop", v1alpha1.ModeStable)
	w.awaitReady("shop")
	told := strings.Join(w.told(w.kubectl("get", "secrets", "-o", "yaml")+w.token("shop")), ", ")
	for _, want := range []string{"a token in base64", "an AppSecret in base64", "a token"} {
		if !strings.Contains(told, want) {
			t.Errorf("%s is not found: %s", want, told)
		}
	}
}
