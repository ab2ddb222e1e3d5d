package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// root is that of the repository.
const root = "../.."

func theRules(t *testing.T) rules {
	t.Helper()
	r, err := readRules(root)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// promtool runs it in dir.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	path, err := tool(root, "promtool")
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolTakesTheRules(t *testing.T) {
	dir := t.TempDir()
	if err := theRules(t).write(filepath.Join(dir, "rules.yaml")); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
}

// ruleTest is what is used here of a test file of promtool's.
type ruleTest struct {
	Tests []struct {
		Name   string `json:"name"`
		Checks []struct {
			Alert  string `json:"alertname"`
			Alerts []struct {
				Labels map[string]string `json:"exp_labels"`
			} `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

func TestAlertsFireAndKeepSilent(t *testing.T) {
	dir := t.TempDir()
	r := theRules(t)
	for _, rule := range r.all() {
		// promtool compares whole texts. One that uses the labels is enough.
		if rule.Alert != "" {
			rule.Annotations = map[string]string{"summary": rule.Annotations["summary"]}
		}
	}
	if err := r.write(filepath.Join(dir, "rules.yaml")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var tests ruleTest
		if err := yaml.Unmarshal(text, &tests); err != nil {
			t.Fatal(err)
		}
		for _, test := range tests.Tests {
			for _, check := range test.Checks {
				if len(check.Alerts) == 0 {
					silent[check.Alert] = true
				}
				for _, alert := range check.Alerts {
					fires[check.Alert+alert.Labels["budget"]] = true
				}
			}
		}
		name := filepath.Base(file)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { promtool(t, dir, "test", "rules", name) })
	}
	for _, rule := range r.all() {
		if rule.Alert != "" && (!fires[rule.Alert+rule.Labels["budget"]] || !silent[rule.Alert]) {
			t.Errorf("testdata has no case in which %s %v fires, or none in which it does not", rule.Alert, rule.Labels)
		}
	}
}

func TestAlertsSayWhatToDo(t *testing.T) {
	for _, rule := range theRules(t).all() {
		if rule.Alert == "" {
			continue
		}
		if s := rule.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity is %q", rule.Alert, s)
		}
		want := map[string]string{"runbook": "docs/runbooks/" + rule.Alert + ".md", "summary": rule.Annotations["summary"], "description": rule.Annotations["description"]}
		if diff := cmp.Diff(want, rule.Annotations); diff != "" || want["summary"] == "" || want["description"] == "" {
			t.Errorf("%s: annotations (-want +got):\n%s", rule.Alert, diff)
		}
		for _, file := range []string{want["runbook"], strings.Replace(want["runbook"], "docs/", "docs/zh/", 1)} {
			text, err := os.ReadFile(filepath.Join(root, file))
			if err != nil {
				t.Error(err)
				continue
			}
			headings := []string{"# " + rule.Alert, "## Meaning", "## Impact", "## Diagnosis", "## Remedy"}
			if strings.Contains(file, "/zh/") {
				headings = []string{"# " + rule.Alert, "## 含义", "## 影响", "## 诊断", "## 处理"}
			}
			var got []string
			for line := range strings.Lines(string(text)) {
				if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "# WeChat") {
					got = append(got, strings.TrimSpace(line))
				}
			}
			if diff := cmp.Diff(headings, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		}
	}
}

// Each page that lists the alerts lists all of them, and no others.
func TestPagesListTheAlerts(t *testing.T) {
	alerts := theRules(t).alerts()
	for _, page := range []string{"docs/monitoring.md", "docs/zh/monitoring.md"} {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		var listed []string
		for line := range strings.Lines(string(text)) {
			if name, found := strings.CutPrefix(line, "| [`WeChatToken"); found {
				name, _, _ = strings.Cut(name, "`")
				listed = append(listed, "WeChatToken"+name)
			}
		}
		slices.Sort(listed)
		if diff := cmp.Diff(alerts, listed); diff != "" {
			t.Errorf("%s (-rules +page):\n%s", page, diff)
		}
	}
}

func TestMetricsOf(t *testing.T) {
	for query, want := range map[string][]string{
		`max by (namespace, name) (a_total{b="c_d"}) == 0 unless on (x) y:z:max and on () absent(e)`: {"a_total", "e", "y:z:max"},
		`histogram_quantile(0.99, sum by (le, endpoint) (rate(f_bucket[$__rate_interval])))`:         {"f_bucket"},
		`rate(g[1m]) * on (job, instance) group_left () h - time() > 0 < 600`:                        {"g", "h"},
	} {
		if diff := cmp.Diff(want, metricsOf(query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

func TestDashboardIsWhole(t *testing.T) {
	d, err := readDashboard(root)
	if err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion < 36 || d.UID == "" {
		t.Errorf("schema version %d, uid %q", d.SchemaVersion, d.UID)
	}
	kinds := map[string]string{}
	for _, v := range d.Templating.List {
		kinds[v.Name] = v.Type
	}
	if diff := cmp.Diff(map[string]string{"datasource": "datasource", "namespace": "query", "name": "query"}, kinds); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s has an id that another panel has", p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies over %q, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("%s has no description, or no query", p.Title)
		}
		for _, q := range p.Targets {
			if p.Datasource.UID != "${datasource}" || q.Datasource.UID != "${datasource}" {
				t.Errorf("%s has a data source of its own", p.Title)
			}
		}
	}
}
