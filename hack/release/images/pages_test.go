package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The commands of docs/releasing.md and docs/air-gapped.md that need a release work as they stand,
// but for the names of the registries and the version.
func TestTheCommandsOfThePagesWork(t *testing.T) {
	r := newRelease(t)
	if out, err := r.push(dist, filepath.Join(r.dir, "maintainer"), r.registry+"/somebody/wechat-token-operator"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	folder, programs := t.TempDir(), t.TempDir()
	check(t, os.Symlink(strings.TrimSpace(r.must("env", "CGO_ENABLED=0", "go", "tool", "-n", "cosign")), filepath.Join(programs, "cosign")))
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	entries, err := os.ReadDir(dist)
	check(t, err)
	for _, e := range entries {
		check(t, os.Symlink(filepath.Join(dist, e.Name()), filepath.Join(folder, e.Name())))
	}
	check(t, os.WriteFile(filepath.Join(folder, "allowed_signers"), []byte("# who signs\nwechat-token-operator namespaces=\"file\" "+r.read("maintainer.pub")), 0o600))
	names := strings.NewReplacer("registry.example.com/wechat-token-operator", r.registry+"/somebody/wechat-token-operator",
		"source.example.com", r.registry+"/somebody", "registry.example.com", r.registry, "v0.1.0", version)
	for _, commands := range []struct {
		page  string
		parts []string // of the blocks, which run in one shell
	}{
		{"releasing.md", []string{"cosign verify --key", "verify-attestation"}},
		{"air-gapped.md", []string{"skopeo login", "cosign copy", "cosign save", "--local-image"}},
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", commands.page))
		check(t, err)
		script := ""
		for _, part := range commands.parts {
			found := ""
			for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
				if strings.Contains(block[1], part) {
					found = block[1]
				}
			}
			if found == "" {
				t.Fatalf("%s has no commands with %q", commands.page, part)
			}
			script += found
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-eo", "pipefail", "-c", names.Replace(script))
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v in\n%s\n%s", commands.page, err, script, out)
		}
	}
}

var blocks = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")
