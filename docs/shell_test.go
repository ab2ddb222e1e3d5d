//go:build pages || e2e

package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"wechattoken.io/operator/internal/testcluster"
)

const (
	appSecret = "0123456789abcdef0123456789abcdef"
	here      = "here" // the namespace of commands that name none
)

// shell runs scripts as a reader does who has a cluster.
type shell struct {
	programs   string // the folder with kubectl and what else is called
	kubeconfig string
}

func newShell(t *testing.T, kubeconfig string) shell {
	t.Helper()
	s := shell{programs: t.TempDir(), kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Contexts[config.CurrentContext].Namespace = here
	if err := clientcmd.WriteToFile(*config, s.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs a script with what is typed, and returns what it printed.
func (s shell) run(t *testing.T, dir, script, stdin string) (string, error) {
	t.Helper()
	if stdin == "" {
		stdin = appSecret + "\n"
	}
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eo", "pipefail", "-c", script)
	home := filepath.Join(dir, "home")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+home, "PATH="+filepath.Join(home, ".local", "bin")+":"+s.programs+":"+os.Getenv("PATH"),
		"KUBECONFIG="+s.kubeconfig, "HERE="+here, "APPSECRET="+appSecret)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String() + stderr.String(), fmt.Errorf("bash: %w", err)
	}
	return stdout.String(), nil
}
