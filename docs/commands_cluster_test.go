//go:build integration

package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"wechattoken.io/operator/internal/testcluster"
)

// trier tries commands on an API server.
type trier struct {
	cluster  *testcluster.Cluster
	programs string    // the folder with those of cmd
	said     *sync.Map // of commands that were tried, as func() string
}

// newTrier is one for a cluster with the WeChatToken that the pages speak of.
func newTrier(t *testing.T) trier {
	t.Helper()
	c := trier{cluster: testcluster.Shared(t), programs: t.TempDir(), said: &sync.Map{}}
	if err := testcluster.BuildCommands(c.programs, "..."); err != nil {
		t.Fatal(err)
	}
	if out, err := c.cluster.Kubectl("apply", "-f", root+"/config/samples/stable.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return c
}

// Each command can be typed as it stands: its flags are there, and the API server
// knows what it is about.
func TestCommandsCanBeTyped(t *testing.T) {
	t.Parallel()
	c := newTrier(t)
	t.Run("Pages", func(t *testing.T) {
		for _, p := range pages {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				commands, _ := typed(t, p)
				for _, command := range commands {
					if why := c.wrong(command.args); why != "" {
						t.Errorf("%s\n\t%s", command, why)
					}
				}
			})
		}
	})
	for script, want := range map[string]string{
		"kubectl get wxt -A -o jsonpath='{.items[*].spec.appID}'": "",
		"kubectl get wxt shop -o jsonpath='{.status.expires}'":    "there is no expires",
		"kubectl get wxt shop -o jsonpath='{.status.'":            "unclosed",
		"kubectl get wxt -o custom-columns=A:.spec.appId":         "there is no appId",
		"kubectl wait wxt/shop --for=jsonpath='{.status.x}'=1":    "there is no x",
		"kubectl get wxts":                      "doesn't have a resource type",
		"kubectl get wxt --everywhere":          "unknown flag",
		"kubectl gett wxt":                      "unknown command",
		"kubectl rollout state deployment/shop": "no such command",
		"kubectl patch wxt shop --type=merge -p '{\"spec\":{\"mode\":\"Fancy\"}}'": "Unsupported value",
		"kubectl run x --image=x -- --any":                                         "",
		"bin/manager --namespaces=a,b":                                             "",
		"bin/manager --namespace=a":                                                "not defined: -namespace",
		"manager run":                                                              "takes flags alone",
		"fake-wechat --life=x":                                                     "invalid value",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			if got := c.wrong(words(t, script)); (want == "" && got != "") || !strings.Contains(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// wrong says what is wrong with a command; empty if nothing is.
func (c trier) wrong(args []string) string {
	program := path.Base(args[0])
	switch {
	case program == "kubectl" && len(args) > 1 && args[1] == "wechattoken":
		return c.program("kubectl-wechattoken", args[2:])
	case program == "kubectl" && len(args) > 1 && args[1] == "krew":
		return "" // a plugin of others, which is not here
	case program == "kubectl":
		return c.kubectl(args[1:])
	}
	if _, err := os.Stat(filepath.Join(c.programs, program)); err == nil {
		return c.program(program, args[1:])
	}
	return ""
}

// program asks a program of ours for help behind its flags: it reads these
// first.
func (c trier) program(name string, args []string) string {
	if name != "kubectl-wechattoken" && slices.ContainsFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") }) {
		return name + " takes flags alone, as --flag=value"
	}
	return c.try(filepath.Join(c.programs, name), append(args, "--help")...)
}

// try runs a program once, and returns what it said if it failed.
func (c trier) try(name string, args ...string) string {
	run := sync.OnceValue(func() string {
		ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "KUBECONFIG="+c.cluster.Kubeconfig)
		out, err := cmd.CombinedOutput()
		switch {
		case err != nil:
			return fmt.Sprintf("%v: %s", err, bytes.TrimSpace(out))
		case bytes.Contains(out, []byte(" SUBCOMMAND")) && !strings.HasPrefix(args[1], "-"):
			return "no such command" // this is the help of the group
		default:
			return ""
		}
	})
	said, _ := c.said.LoadOrStore(name+" "+strings.Join(args, "\x00"), run)
	return said.(func() string)()
}
