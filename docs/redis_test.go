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

	"wechattoken.io/operator/internal/testcluster"
)

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
