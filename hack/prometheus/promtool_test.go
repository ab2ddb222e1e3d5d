//go:build integration

package prometheus

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// tool is the path of promtool or prometheus: where hack/prometheus/get.sh has
// found or put it.
func tool(t *testing.T, name string) string {
	t.Helper()
	if dir := os.Getenv("PROMETHEUS_DIR"); dir != "" {
		return filepath.Join(dir, name)
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := filepath.Abs(filepath.Join(root, "bin/prometheus", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("there is no %s in PATH and none in bin/prometheus: run `make prometheus`", name)
	}
	return path
}

// write writes a configuration as JSON, which is YAML.
func write(t *testing.T, file string, config any) {
	t.Helper()
	text, err := json.Marshal(config)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// promtool runs it in dir.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(tool(t, "promtool"), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolTakesTheRules(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "rules.yaml"), rules(t))
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
	r := rules(t)
	each(r, func(rule *monitoringv1.Rule) {
		// promtool compares whole texts. One that uses the labels is enough.
		if rule.Alert != "" {
			rule.Annotations = map[string]string{"summary": rule.Annotations["summary"]}
		}
	})
	write(t, filepath.Join(dir, "rules.yaml"), r)
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
	each(r, func(rule *monitoringv1.Rule) {
		if rule.Alert != "" && (!fires[rule.Alert+rule.Labels["budget"]] || !silent[rule.Alert]) {
			t.Errorf("testdata has no case in which %s %v fires, or none in which it does not", rule.Alert, rule.Labels)
		}
	})
}
