package docs_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"
	"sigs.k8s.io/yaml"
)

// command is one that a page says to type, with its variables made an x.
type command struct {
	page string
	args []string
}

func (c command) String() string { return c.page + ": " + strings.Join(c.args, " ") }

// Where a terminal pastes line by line, a command that reads it would take the lines that
// follow for its input.
func TestWhatReadsTheTerminalComesLast(t *testing.T) {
	t.Parallel()
	found := 0
	for name, p := range pages {
		for _, b := range p.blocks {
			if b.language != "sh" {
				continue
			}
			file, err := parseShell(b.code)
			if err != nil {
				continue // typed says so
			}
			for i, s := range file.Stmts {
				if readsTerminal(s) {
					if found++; i < len(file.Stmts)-1 {
						t.Errorf("%s: a command reads the terminal before others in\n%s", name, b.code)
					}
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("found only %d commands that read the terminal: are they seen?", found)
	}
}

// readsTerminal reports whether a command waits for somebody to type.
func readsTerminal(s *syntax.Stmt) (reads bool) {
	for _, r := range s.Redirs {
		if slices.Contains([]syntax.RedirOperator{syntax.RdrIn, syntax.Hdoc, syntax.DashHdoc, syntax.WordHdoc}, r.Op) {
			return false
		}
	}
	syntax.Walk(s.Cmd, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.BinaryCmd:
			reads = reads || readsTerminal(n.X) || n.Op != syntax.Pipe && readsTerminal(n.Y)
			return false
		case *syntax.CallExpr:
			for i, word := range n.Args {
				arg := word.Lit()
				reads = reads || i == 0 && arg == "read" || strings.HasSuffix(arg, "=/dev/stdin")
			}
		}
		return true
	})
	return reads
}

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
var ours = regexp.MustCompile(`^(make|go|kubectl|helm|(bin/)?(manager|fake-wechat|kubectl-wechattoken)) `)

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

// What a command names is there: folders and files, targets, packages and tests,
// values of the chart.
func TestCommandsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	check := checker{targets: makefile(t), values: chartValues(t)}
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
	for program, least := range map[string]int{"kubectl": 100, "make": 10, "go": 4, "manager": 2, "fake-wechat": 2} {
		if count[program] < least {
			t.Errorf("found %d commands of %s, want %d and more: are they read?", count[program], program, least)
		}
	}
}

func TestWrongNamesAreFound(t *testing.T) {
	t.Parallel()
	check := checker{targets: makefile(t), values: map[string]any{"image": map[string]any{"tag": ""}}}
	for script, want := range map[string]string{
		"make test": "",
		"make image IMAGE=x GOPROXY=https://goproxy.cn": "",
		"make tests":                             "no target tests",
		"make image IMAGES=x":                    "no variable IMAGES",
		"go run -C hack ./image -o ../image.tar": "",
		"go run -C hack ./images":                "no package hack/images",
		"go run ./hack/image":                    "go run -C hack ./image",
		"go test ./config":                       "go test -C config .",
		"go test -C config . -run TestEachPermissionHasItsReason": "",
		"go test -C config . -run TestEachPermissionHasNoReason":  "no test",
		"go test -C docs . -run TestCommandsCanBeTyped":           "no test",
		"go test -C docs -tags integration . -run TestCommands":   "",
		"go test ./controllers/... -run '^$'":                     "",
		"kubectl apply -k config/defaults":                        "no config/defaults",
		"kubectl apply -f config/samples/none.yaml":               "no config/samples/none.yaml",
		"helm install x config/chart --set image.tag=v1":          "",
		"helm install x config/chart --set image.tags=v1":         "no value image.tags",
	} {
		got := check.wrong(words(t, script), map[string]bool{"config/chart": true})
		if (want == "" && got != "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
}

// words are those of a command.
func words(t *testing.T, script string) (args []string) {
	t.Helper()
	file, err := parseShell(script)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range file.Stmts[0].Cmd.(*syntax.CallExpr).Args {
		args = append(args, plain(w))
	}
	return args
}

// checker finds out what is wrong with a command.
type checker struct {
	targets map[string]bool // of make, and its variables
	values  map[string]any  // of the chart
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
	switch path.Base(args[0]) {
	case "make":
		return c.make(args[1:])
	case "go":
		return goCommand(args[1:])
	case "helm":
		return c.helm(args[1:])
	default:
		return ""
	}
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
	file := sourceOf(t, "Makefile")
	all := map[string]bool{"GOPROXY=": true}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(file, -1) {
		all[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z_]+) [?:]?=`).FindAllStringSubmatch(file, -1) {
		all[m[1]+"="] = true
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

// goCommand looks whether the packages of a command are there and of the module in
// which it runs, and whether there is a test to run.
func goCommand(args []string) string {
	dir, tags, run := ".", "", ""
	for i, arg := range args[:len(args)-1] {
		switch arg {
		case "-C":
			dir = args[i+1]
		case "-tags":
			tags = args[i+1]
		case "-run":
			run = args[i+1]
		}
	}
	for _, arg := range args[1:] {
		if arg != "." && !strings.HasPrefix(arg, "./") {
			continue
		}
		name := path.Join(dir, strings.TrimSuffix(arg, "..."))
		if !isFolder(name) {
			return "there is no package " + name
		}
		module := name
		for module != "." && !isFile(path.Join(module, "go.mod")) {
			module = path.Dir(module)
		}
		if module != path.Clean(dir) {
			within := "." + strings.TrimPrefix(name, module)
			return fmt.Sprintf("%s is of another module: go %s -C %s %s", name, args[0], module, within)
		}
		if args[0] == "test" && run != "" && !hasTest(name, tags, run) {
			return fmt.Sprintf("no test of %s with the tags %q matches %s", name, tags, run)
		}
	}
	return ""
}

var (
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	buildTag = regexp.MustCompile(`^//go:build (\w+)\n`)
)

// hasTest reports whether a package has, with build tags, a test to run. None at all
// is wanted where benchmarks are run.
func hasTest(dir, tags, run string) bool {
	if run == "^$" {
		return true
	}
	files, _ := filepath.Glob(filepath.Join(root, dir, "*_test.go")) // the pattern is a good one
	for _, file := range files {
		source, err := os.ReadFile(file)
		if tag := buildTag.FindSubmatch(source); err != nil || tag != nil && string(tag[1]) != tags {
			continue
		}
		for _, test := range testFunc.FindAllSubmatch(source, -1) {
			if matched, err := regexp.Match(run, test[1]); matched && err == nil {
				return true
			}
		}
	}
	return false
}

func isFolder(name string) bool {
	info, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil && info.IsDir()
}

func isFile(name string) bool {
	info, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil && !info.IsDir()
}

// chartValues are the values of the chart.
func chartValues(t *testing.T) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(sourceOf(t, "config/chart/values.yaml")), &values); err != nil {
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
