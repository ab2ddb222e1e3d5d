package docs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mvdan.cc/sh/v3/syntax"
	"sigs.k8s.io/yaml"
)

// command is one that a page says to type, with its variables made an x.
type command struct {
	page string
	args []string
}

func (c command) String() string { return c.page + ": " + strings.Join(c.args, " ") }

func parseShell(code string) (*syntax.File, error) {
	return syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(code), "")
}

// typed are the commands in the blocks of a page, and those within its text
// that begin with one of ours. made are the paths that they make.
func typed(t *testing.T, p *page) (all []command, made map[string]bool) {
	t.Helper()
	var scripts []string
	for _, b := range p.blocks {
		switch b.language {
		case "sh":
			scripts = append(scripts, b.code)
		case "bash", "shell":
			t.Errorf("%s: call the language sh, or console where output is shown, not %s", p.name, b.language)
		case "console":
			for line := range strings.Lines(b.code) {
				if line, ok := strings.CutPrefix(line, "$ "); ok {
					scripts = append(scripts, line)
				}
			}
		}
	}
	for _, span := range p.spans {
		if ours.MatchString(span) {
			scripts = append(scripts, strings.ReplaceAll(span, "…", "x"))
		}
	}
	made = map[string]bool{}
	for _, script := range scripts {
		file, err := parseShell(script)
		if err != nil {
			t.Errorf("%s: %v in\n%s", p.name, err, script)
			continue
		}
		syntax.Walk(file, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.Redirect:
				if n.Op == syntax.RdrOut {
					made[plain(n.Word)] = true
				}
			case *syntax.CallExpr:
				c := command{page: p.name}
				for _, w := range n.Args {
					c.args = append(c.args, plain(w))
				}
				if len(c.args) > 1 && c.args[0] == "mkdir" {
					made[c.args[len(c.args)-1]] = true
				}
				if len(c.args) > 0 {
					all = append(all, c)
				}
			}
			return true
		})
	}
	return all, made
}

// ours is the beginning of a command within a text.
var ours = regexp.MustCompile(`^(make|kubectl|helm|(bin/)?(manager|fake-wechat|kubectl-wechattoken)) `)

// plain is a word as the shell would hand it on, but for what it does not know.
func plain(w *syntax.Word) string {
	var text func(parts []syntax.WordPart) string
	text = func(parts []syntax.WordPart) string {
		var all strings.Builder
		for _, part := range parts {
			switch part := part.(type) {
			case *syntax.Lit:
				all.WriteString(strings.ReplaceAll(part.Value, `\`, ""))
			case *syntax.SglQuoted:
				all.WriteString(part.Value)
			case *syntax.DblQuoted:
				all.WriteString(text(part.Parts))
			default:
				all.WriteByte('x')
			}
		}
		return all.String()
	}
	return text(w.Parts)
}

// Each command can be typed as it stands: its flags, folders and files are
// there, and the API server knows what it is about.
func TestCommandsCanBeTyped(t *testing.T) {
	try(t)
	check := checker{targets: makefile(t), values: chartValues(t), said: map[string]string{}}
	count := map[string]int{}
	for _, p := range pages {
		commands, made := typed(t, p)
		for _, c := range commands {
			count[path.Base(c.args[0])]++
			if why := check.wrong(c.args, made); why != "" {
				t.Errorf("%s\n\t%s", c, why)
			}
		}
	}
	for program, least := range map[string]int{"kubectl": 100, "make": 10, "manager": 2, "fake-wechat": 2} {
		if count[program] < least {
			t.Errorf("found %d commands of %s, want %d and more: are they read?", count[program], program, least)
		}
	}
}

func TestWrongCommandsAreFound(t *testing.T) {
	try(t)
	check := checker{targets: makefile(t), values: map[string]any{"image": map[string]any{"tag": ""}}, said: map[string]string{}}
	for script, want := range map[string]string{
		"make test": "",
		"make image IMAGE=x GOPROXY=https://goproxy.cn": "",
		"make tests":          "no target tests",
		"make image IMAGES=x": "no variable IMAGES",
		"kubectl get wxt -A -o jsonpath='{.items[*].spec.appID}'":      "",
		"kubectl get wxt shop -o jsonpath='{.status.expires}'":         "there is no expires",
		"kubectl get wxt shop -o jsonpath='{.status.'":                 "unclosed",
		"kubectl get wxt -o custom-columns=A:.spec.appId":              "there is no appId",
		"kubectl get wxt -o jsonpath='{.status.conditions[?(@.x==1)]}": "reached EOF",
		"kubectl wait wxt/shop --for=jsonpath='{.status.x}'=1":         "there is no x",
		"kubectl get wxts":                      "doesn't have a resource type",
		"kubectl get wxt --everywhere":          "unknown flag",
		"kubectl gett wxt":                      "unknown command",
		"kubectl rollout state deployment/shop": "no such command",
		"kubectl patch wxt shop --type=merge -p '{\"spec\":{\"mode\":\"Fancy\"}}'": "Unsupported value",
		"kubectl apply -k config/defaults":                                         "no config/defaults",
		"kubectl apply -f config/samples/none.yaml":                                "no config/samples/none.yaml",
		"kubectl run x --image=x -- --any":                                         "",
		"bin/manager --namespaces=a,b":                                             "",
		"bin/manager --namespace=a":                                                "not defined: -namespace",
		"manager run":                                                              "takes flags alone",
		"fake-wechat --life=x":                                                     "invalid value",
		"helm install x config/chart --set image.tag=v1":                           "",
		"helm install x config/chart --set image.tags=v1":                          "no value image.tags",
	} {
		file, err := parseShell(script)
		if err != nil {
			if want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", script, err)
			}
			continue
		}
		var args []string
		for _, w := range file.Stmts[0].Cmd.(*syntax.CallExpr).Args {
			args = append(args, plain(w))
		}
		got := check.wrong(args, map[string]bool{"config/chart": true})
		if (want == "" && got != "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
}

// checker finds out what is wrong with a command.
type checker struct {
	targets map[string]bool   // of make, and its variables
	values  map[string]any    // of the chart
	said    map[string]string // of commands that were tried
}

// inProject is a path that belongs to the project.
var inProject = regexp.MustCompile(`^(\./)?(api|cmd|config|controllers|docs|hack|internal)/[^ ]*$`)

// wrong says what is wrong with a command; empty if nothing is.
func (c checker) wrong(args []string, made map[string]bool) string {
	for _, arg := range args {
		if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "-") {
			arg = value
		}
		if !inProject.MatchString(arg) || made[arg] || slices.ContainsFunc(keys(made), func(dir string) bool { return strings.HasPrefix(arg, dir+"/") }) {
			continue
		}
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(strings.TrimSuffix(arg, "..."))))
		if err != nil || len(found) == 0 {
			return "there is no " + arg
		}
	}
	program := path.Base(args[0])
	switch {
	case program == "make":
		return c.make(args[1:])
	case program == "kubectl" && len(args) > 1 && args[1] == "wechattoken":
		return c.program("kubectl-wechattoken", args[2:])
	case program == "kubectl" && len(args) > 1 && args[1] == "krew":
		return "" // a plugin of others, which is not here
	case program == "kubectl":
		return c.kubectl(args[1:])
	case program == "helm":
		return c.helm(args[1:])
	}
	if _, err := os.Stat(filepath.Join(programs, program)); err == nil {
		return c.program(program, args[1:])
	}
	return ""
}

func keys(m map[string]bool) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	return all
}

// makefile has the targets of the Makefile, its variables with an = behind them,
// and those that Go takes.
func makefile(t *testing.T) map[string]bool {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{"GOPROXY=": true}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllSubmatch(file, -1) {
		all[string(m[1])] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z_]+) [?:]?=`).FindAllSubmatch(file, -1) {
		all[string(m[1])+"="] = true
	}
	return all
}

func (c checker) make(args []string) string {
	for _, arg := range args {
		if name, _, ok := strings.Cut(arg, "="); ok && !c.targets[name+"="] {
			return "the Makefile has no variable " + name
		} else if !ok && !c.targets[arg] {
			return "the Makefile has no target " + arg
		}
	}
	return ""
}

// program asks a program of ours for help behind its flags: it reads these
// first.
func (c checker) program(name string, args []string) string {
	if name != "kubectl-wechattoken" && slices.ContainsFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") }) {
		return name + " takes flags alone, as --flag=value"
	}
	return c.try(filepath.Join(programs, name), append(args, "--help")...)
}

// try runs a program, and returns what it said if it failed.
func (c checker) try(name string, args ...string) string {
	line := name + " " + strings.Join(args, "\x00")
	if said, ok := c.said[line]; ok {
		return said
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig)
	out, err := cmd.CombinedOutput()
	said := ""
	if err != nil {
		said = fmt.Sprintf("%v: %s", err, bytes.TrimSpace(out))
	} else if bytes.Contains(out, []byte(" SUBCOMMAND")) && !strings.HasPrefix(args[1], "-") {
		said = "no such command" // this is the help of the group
	}
	c.said[line] = said
	return said
}

// chartValues are the values of the chart; none while there is no chart.
func chartValues(t *testing.T) map[string]any {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(root, "config/chart/values.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(file, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// helm looks whether what is set is there to be set. What helm itself takes, the
// tests of the chart try.
func (c checker) helm(args []string) string {
	for i, arg := range args {
		flag, set, joined := strings.Cut(arg, "=")
		if flag != "--set" && flag != "--set-string" && flag != "--set-json" {
			continue
		}
		if !joined {
			if set = ""; i+1 < len(args) {
				set = args[i+1]
			}
		}
		for _, pair := range regexp.MustCompile(`(?:^|,)([A-Za-z][A-Za-z.]*)(?:\[\d+\])?=`).FindAllStringSubmatch(set, -1) {
			at := any(c.values)
			for key := range strings.SplitSeq(pair[1], ".") {
				within, _ := at.(map[string]any)
				next, ok := within[key]
				if !ok && within != nil && len(within) > 0 || within == nil {
					return "the chart has no value " + pair[1]
				}
				at = next
			}
		}
	}
	return ""
}
