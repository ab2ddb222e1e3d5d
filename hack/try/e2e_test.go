//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cluster is the one of E2E_KUBECONFIG, in which neither the operator nor its CRD is.
type cluster struct{ t *testing.T }

// run runs a command in the root of the project, as a user would.
func (c cluster) run(args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+os.Getenv("E2E_KUBECONFIG"), "PATH="+filepath.Join(mustAbs(c.t, cmd.Dir), "bin", "controlplane")+":"+os.Getenv("PATH"))
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}

func mustAbs(t *testing.T, dir string) string {
	t.Helper()
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func (c cluster) mustRun(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// objects are the names of all that is in the cluster, but for what comes and goes by
// itself.
func (c cluster) objects() []string {
	c.t.Helper()
	kinds := strings.Fields(c.mustRun("kubectl", "api-resources", "--verbs=list", "--output=name"))
	kinds = slices.DeleteFunc(kinds, func(kind string) bool { return strings.HasPrefix(kind, "events") })
	all := strings.Fields(c.mustRun("kubectl", "get", strings.Join(kinds, ","), "--all-namespaces", "--output=name"))
	slices.Sort(all)
	return all
}

// log is what the consumer has printed.
func (c cluster) log() string {
	out, _ := c.run("kubectl", "--namespace="+namespace, "logs", "deployment/consumer", "--tail=-1") // before it has started there is none
	return out
}

// readPage types what docs/trial.md says to try: it deletes what it can, and requests a refresh.
func (c cluster) readPage() {
	c.t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "trial.md"))
	if err != nil {
		c.t.Fatal(err)
	}
	blocks := typed.FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 5 {
		c.t.Fatalf("docs/trial.md has the commands %q", blocks)
	}
	for _, block := range blocks {
		command := block[1]
		if watches.MatchString(command) { // until somebody ends it
			command = "timeout 5 " + command + " || test $? = 124"
		}
		c.t.Logf("$ %s\n%s", command, c.mustRun("bash", "-c", command))
	}
}

var (
	typed   = regexp.MustCompile(`(?m)^(?:\$ )?(kubectl -n wechat-trial .*)$`)
	watches = regexp.MustCompile(` (logs -f|get .* -w)`)
)

// A stranger needs two commands: one for a cluster in which an application has a valid token
// all the while, and one for the cluster as it was before.
func TestATrialFromBeginningToEnd(t *testing.T) {
	if os.Getenv("E2E_KUBECONFIG") == "" {
		t.Fatal("E2E_KUBECONFIG does not say which cluster to use: run `make e2e`")
	}
	c := cluster{t}
	before := c.objects()
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := c.run("kubectl", "--namespace="+namespace, "get", "pods,wechattokens,events", "--output=wide")
			t.Logf("%s\n%s", out, c.log())
			_, _ = c.run("make", "--no-print-directory", "try-down")
		}
	})
	t.Log(c.mustRun("make", "--no-print-directory", "try"))

	c.readPage()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for !strings.Contains(c.log(), "ok (a new token)\n") {
		if err := sleep(ctx, time.Second); err != nil {
			t.Fatalf("waited in vain for the second token: %v", err)
		}
	}
	tokens, wrong := map[string]int{}, []string(nil)
	for line := range strings.Lines(c.log()) {
		words := strings.Fields(line) // 08:15:02 token 3f1c9a0b55d2e871: ok
		if len(words) < 4 || words[3] != "ok" {
			wrong = append(wrong, line)
			continue
		}
		tokens[words[2]]++
	}
	if len(tokens) < 2 || len(wrong) > 0 {
		t.Errorf("the consumer has had %d tokens, want 2 or more, and these calls went wrong:\n%s", len(tokens), strings.Join(wrong, ""))
	}
	t.Logf("calls with each token: %v", tokens)

	t.Log(c.mustRun("make", "--no-print-directory", "try-down"))
	if diff := cmp.Diff(before, c.objects()); diff != "" {
		t.Errorf("what is in the cluster (-before +after):\n%s", diff)
	}
}
