package docs_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// english are the pages with blocks of commands, in their order. The Chinese ones have
// the same: TestEveryPageIsThereInBothLanguages.
func english() (names []string) {
	for name, p := range pages {
		if !strings.HasPrefix(name, "docs/zh/") && !strings.HasSuffix(name, ".zh-CN.md") && slices.ContainsFunc(p.blocks, block.isTyped) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (b block) isTyped() bool { return b.language == "sh" || b.language == "console" }

// script is what is typed of a block, and shown what is printed then.
func (b block) script() (script, shown string) {
	if b.language == "sh" {
		return b.code, ""
	}
	for line := range strings.Lines(b.code) {
		if typed, ok := strings.CutPrefix(line, "$ "); ok {
			script += typed
		} else {
			shown += line
		}
	}
	return script, shown
}

// step is what the table has about a block: the entries that fit, as one.
func (w visit) step(t *testing.T, b block) (s step) {
	t.Helper()
	fits := 0
	for part, one := range w.blocks {
		if strings.Contains(b.code, part) {
			fits++
			s = one
		}
	}
	if fits > 1 {
		t.Errorf("%d entries of the table fit\n%s", fits, b.code)
	}
	return s
}

// A block runs, or the table says what runs it, or why nothing does. A page that is new
// is in the table, and an entry is about a block.
func TestEveryBlockRunsOrTheTableSaysWhyNot(t *testing.T) {
	t.Parallel()
	names := english()
	for name := range visits {
		if !slices.Contains(names, name) {
			t.Errorf("%s has no commands: take it out of the table", name)
		}
	}
	here, node, elsewhere, nowhere := 0, 0, 0, map[string]int{}
	for _, name := range names {
		w, ok := visits[name]
		if !ok {
			t.Errorf("%s is not in the table of what its blocks need", name)
		}
		stale := map[string]bool{}
		for part := range w.blocks {
			stale[part] = true
		}
		for _, b := range pages[name].blocks {
			if !b.isTyped() {
				continue
			}
			for part := range stale {
				if strings.Contains(b.code, part) {
					delete(stale, part)
				}
			}
			switch s := w.step(t, b); {
			case s.elsewhere != "":
				elsewhere++
				file, word, _ := strings.Cut(s.elsewhere, " ")
				text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
				if err != nil || !strings.Contains(string(text), word) {
					t.Errorf("%s: %s does not run the block any more: %v\n%s", name, s.elsewhere, err, b.code)
				}
			case s.node != "":
				node++
			case s.needs != "":
				nowhere[s.needs]++
			default:
				here++
			}
		}
		for part := range stale {
			t.Errorf("%s has no block with %q: take it out of the table", name, part)
		}
	}
	t.Logf("%d blocks run here, %d on a node, %d elsewhere, and none of those that need %v", here, node, elsewhere, nowhere)
}

// failing is a program that fails, unless it destroys something: that is written down if
// another has failed before.
const failing = `#!/bin/sh
case " ${0##*/} $* " in
*" delete "* | *" uninstall "* | *" del "* | *" rm "* | *" drain "*) if [ -e failed ]; then echo "${0##*/} $*" >>destroyed; fi ;;
*) touch failed; exit 1 ;;
esac
`

// destructive is a word in each command that destroys something.
var destructive = regexp.MustCompile(`\b(delete|uninstall|del|rm|drain)\b`)

// What destroys something comes only after everything before it in its block has
// succeeded: a block is pasted as a whole.
func TestNothingIsDestroyedAfterAFailure(t *testing.T) {
	t.Parallel()
	for name, p := range pages {
		for _, b := range p.blocks {
			if script, _ := b.script(); b.isTyped() && destructive.MatchString(script) {
				if said := destroys(t, script); said != "" {
					t.Errorf("%s: though a command before it fails, the block runs %s in\n%s", name, said, script)
				}
			}
		}
	}
}

func TestWhatDestroysAfterAFailureIsFound(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"kubectl delete pod x":                                      "",
		"kubectl patch x\nkubectl delete pod x":                     "kubectl delete pod x\n",
		"kubectl patch x &&\n  kubectl delete pod x":                "",
		"kubectl delete pod x\nkubectl delete pod y":                "",
		"kubectl get x | xargs kubectl delete":                      "kubectl delete\n",
		"(for x in a b; do kubectl get $x || exit; done) && rm x":   "",
		"for x in a b; do kubectl get $x; done\nhelm uninstall x":   "helm uninstall x\n",
		"kubectl get x\nredis-cli -h redis del y":                   "redis-cli -h redis del y\n",
		"echo x >y\nkubectl delete pod x # echo cannot fail":        "",
		"x=$(kubectl get x)\nkubectl delete pod x --namespace=\"\"": "kubectl delete pod x --namespace=\n",
	} {
		if got := destroys(t, script); got != want {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
}

// destroys runs a script with programs that fail, and returns what it destroyed after that.
func destroys(t *testing.T, script string) string {
	t.Helper()
	dir, programs := t.TempDir(), t.TempDir()
	for _, program := range []string{"kubectl", "helm", "redis-cli", "make", "git", "curl", "rm"} {
		if err := os.WriteFile(filepath.Join(programs, program), []byte(failing), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
	_ = cmd.Run() // it fails, as its programs do
	destroyed, err := os.ReadFile(filepath.Join(dir, "destroyed"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(destroyed)
}
