package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/yaml"
)

// Nothing here can run a workflow. But it can be seen that each action is pinned,
// that each job has the rights it names and no others, that the container is the
// Dockerfile's, and that what the steps run is there.
func TestWorkflowsArePinnedAndFit(t *testing.T) {
	root := filepath.Join("..", "..")
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := func(pattern, text string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("nothing matches %s", pattern)
		}
		return m[1]
	}
	base := first(`(?m)^ARG BASE=(\S+)$`, read("Dockerfile"))
	if !strings.Contains(read("Dockerfile"), "\nENV GOTOOLCHAIN=auto\n") || !regexp.MustCompile(`(?m)^toolchain go[\d.]+$`).MatchString(read("go.mod")) {
		t.Error("the Dockerfile does not build with the Go that go.mod names")
	}
	if !regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(base) {
		t.Errorf("the Dockerfile builds with %s, which has no digest", base)
	}
	stages := map[string]bool{"scratch": true, "$BASE": true}
	for _, from := range regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)(?: AS (\S+))?$`).FindAllStringSubmatch(read("Dockerfile"), -1) {
		if !stages[from[1]] {
			t.Errorf("the Dockerfile takes %s, which has no digest", from[1])
		}
		stages[from[2]] = true
	}
	makefile := read("Makefile")
	rights := map[string]string{
		"ci.yaml make":              "contents: read\n",
		"release.yaml build":        "contents: read\n",
		"release.yaml publish":      "contents: write\nid-token: write\npackages: write\n",
		"scheduled.yaml kubernetes": "contents: read\n",
		"scheduled.yaml make":       "contents: read\n",
		"scheduled.yaml versions":   "contents: read\n",
	}
	pinned := regexp.MustCompile(`uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+\n`)
	for _, file := range []string{"ci.yaml", "release.yaml", "scheduled.yaml"} {
		text := read(".github/workflows/" + file)
		if got, want := len(pinned.FindAllString(text, -1)), strings.Count(text, "uses:"); got != want {
			t.Errorf("%s: %d of %d actions are pinned to a commit and name its version", file, got, want)
		}
		var workflow struct {
			Permissions map[string]string
			Jobs        map[string]struct {
				Permissions map[string]string
				Strategy    struct{ Matrix struct{ Target []string } }
				Steps       []struct{ Run string }
			}
		}
		if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
			t.Fatal(err)
		}
		for name, job := range workflow.Jobs {
			has := job.Permissions
			if has == nil {
				has = workflow.Permissions
			}
			got, err := yaml.Marshal(has)
			if err != nil {
				t.Fatal(err)
			}
			if want, known := rights[file+" "+name]; !known || string(got) != want {
				t.Errorf("%s: the job %s may do\n%s, want\n%s", file, name, got, want)
			}
			for _, step := range job.Steps {
				run := step.Run
				for _, target := range job.Strategy.Matrix.Target {
					run += "\n" + strings.ReplaceAll(step.Run, "${{ matrix.target }}", target)
				}
				for _, target := range regexp.MustCompile(`(?m)^ *make ([\w-]+)`).FindAllStringSubmatch(run, -1) {
					if !strings.Contains(makefile, "\n"+target[1]+":") {
						t.Errorf("%s: there is no make %s", file, target[1])
					}
				}
				for _, program := range regexp.MustCompile(`(?m)(?:^|[ (])((?:hack|\.ci)/[\w./-]+)`).FindAllStringSubmatch(run, -1) {
					if info, err := os.Stat(filepath.Join(root, program[1])); err != nil || info.Mode()&0o111 == 0 {
						t.Errorf("%s: %s is no program: %v", file, program[1], err)
					}
				}
			}
		}
		for _, image := range regexp.MustCompile(`(?m)^ +(?:container|image): (\S+)$`).FindAllStringSubmatch(text, -1) {
			if image[1] != base {
				t.Errorf("%s runs in %s, and the Dockerfile in %s", file, image[1], base)
			}
		}
	}
}

// A section of .ci/run that the workflow lacks would not keep a change out.
func TestEveryChangePassesWhatCIRunRuns(t *testing.T) {
	root := filepath.Join("..", "..")
	script, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, ".github", "workflows", "ci.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs struct {
			Make struct {
				Strategy struct{ Matrix struct{ Target []string } }
			}
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	sections := regexp.MustCompile(`(?m)^section \S+ make (\S+)`).FindAllStringSubmatch(string(script), -1)
	if len(sections) == 0 {
		t.Fatal(".ci/run runs nothing of the Makefile")
	}
	for _, section := range sections {
		if got := workflow.Jobs.Make.Strategy.Matrix.Target; !slices.Contains(got, section[1]) {
			t.Errorf("ci.yaml runs %v, and not make %s, which .ci/run runs", got, section[1])
		}
	}
}

// Before it publishes anything, the workflow asks for the key, and without one
// that step fails.
func TestWorkflowPublishesNothingWithoutAKey(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", ".github", "workflows", "release.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct {
				Run, If string
				Env     map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	for _, step := range workflow.Jobs["publish"].Steps {
		if strings.Contains(step.Env["GH_TOKEN"], "token") && step.Env["KEY"] == "" {
			t.Fatalf("this publishes before anything is signed:\n%s", step.Run)
		}
		if step.Env["KEY"] == "" {
			continue
		}
		dir := t.TempDir()
		if err := os.CopyFS(filepath.Join(dir, "dist"), fstest.MapFS{
			"empty":      {},
			"SHA256SUMS": {Data: fmt.Appendf(nil, "%x  empty\n", sha256.Sum256(nil))},
		}); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", step.Run)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "KEY=")
		out, err := cmd.CombinedOutput()
		if err == nil || step.If != "" || !strings.Contains(string(out), "RELEASE_SIGNING_KEY") {
			t.Errorf("without a key (if %q): %v: %s", step.If, err, out)
		}
		return
	}
	t.Error("nothing is signed")
}
