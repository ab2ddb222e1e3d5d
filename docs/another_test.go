//go:build pages

package docs_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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

// startRedis starts one, and has a redis-cli in the folder of programs that finds it by the name
// redis, as pods do.
func startRedis(t *testing.T, programs string) error {
	t.Helper()
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		return fmt.Errorf("%w: run `make pages`, which installs it", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(free.Addr().String())
	if err := errors.Join(err, free.Close()); err != nil {
		return err
	}
	server := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := server.Start(); err != nil {
		return err
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed
	})
	script := "#!/bin/bash\nargs=()\nfor arg; do [[ $arg != redis ]] || arg=127.0.0.1; args+=(\"$arg\"); done\nexec " + cli + " -p " + port + " \"${args[@]}\"\n"
	if err := os.WriteFile(filepath.Join(programs, "redis-cli"), []byte(script), 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Patience)
	defer cancel()
	for exec.CommandContext(ctx, cli, "-p", port, "ping").Run() != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("redis-server does not answer: %w", ctx.Err())
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}
