//go:build integration

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

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
	t.Parallel()
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
	t.Parallel()
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
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			promtool(t, dir, "test", "rules", name)
		})
	}
	for _, rule := range r.all() {
		if rule.Alert != "" && (!fires[rule.Alert+rule.Labels["budget"]] || !silent[rule.Alert]) {
			t.Errorf("testdata has no case in which %s %v fires, or none in which it does not", rule.Alert, rule.Labels)
		}
	}
}
