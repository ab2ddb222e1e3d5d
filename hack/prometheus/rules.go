package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// The files of config/prometheus, from the root of the repository.
const (
	rulesFile     = "config/prometheus/rules.yaml"
	monitorFile   = "config/prometheus/service-monitor.yaml"
	dashboardFile = "config/prometheus/dashboard.json"
)

// rules are what a PrometheusRule has under spec, and a rule file of Prometheus
// at its top.
type rules struct {
	Groups []*group `json:"groups"`
}

type group struct {
	Name     string  `json:"name"`
	Interval string  `json:"interval,omitempty"`
	Rules    []*rule `json:"rules"`
}

type rule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// read reads a YAML or JSON file of the repository, of which o must know every
// field.
func read(root, file string, o any) error {
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, o); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// manifest is a custom resource of the Prometheus Operator.
type manifest[T any] struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Spec T `json:"spec"`
}

func readRules(root string) (rules, error) {
	var m manifest[rules]
	return m.Spec, read(root, rulesFile, &m)
}

// all are the rules of all groups.
func (r rules) all() []*rule {
	var all []*rule
	for _, g := range r.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// alerts are the names of the alerts, sorted.
func (r rules) alerts() []string {
	var names []string
	for _, rule := range r.all() {
		if rule.Alert != "" {
			names = append(names, rule.Alert)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// write writes a rule file.
func (r rules) write(file string) error {
	text, err := json.Marshal(r) // JSON is YAML
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

var (
	notMetrics = regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring|group_left|group_right) *\([^)]*\)`)
	identifier = regexp.MustCompile(`[a-zA-Z_:][\w:]*( *\()?`)
	keywords   = []string{"and", "or", "unless", "bool", "offset", "by", "on", "without", "ignoring", "group_left", "group_right"}
)

// metricsOf are the names of the metrics in a query: what is neither function nor
// keyword nor label.
func metricsOf(query string) []string {
	var names []string
	for _, name := range identifier.FindAllString(notMetrics.ReplaceAllString(query, " "), -1) {
		if !strings.HasSuffix(name, "(") && !slices.Contains(keywords, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// compressed is how many times faster things go here than the rules are made for:
// 10 s from due to dead instead of 300.
const compressed = 30

// compress makes all times of the rules shorter.
func (r rules) compress() error {
	times := strings.NewReplacer("> 0 < 600", "> 0 < 20", "time() - 60", "time() - 2")
	for _, g := range r.Groups {
		g.Interval = scrape.String()
		for _, rule := range g.Rules {
			expr := times.Replace(rule.Expr)
			if rule.Alert == "WeChatTokenExpiring" && (!strings.Contains(expr, "< 20") || !strings.Contains(expr, "- 2")) {
				return fmt.Errorf("%s: the times of %s have changed; compress them here, too", rulesFile, rule.Alert)
			}
			rule.Expr = expr
			if rule.For == "" {
				continue
			}
			wait, err := time.ParseDuration(rule.For)
			if err != nil {
				return err
			}
			rule.For = (wait / compressed).String()
		}
	}
	return nil
}

// tool is the path of promtool or prometheus: where hack/prometheus/get.sh has
// found or put it.
func tool(root, name string) (string, error) {
	if dir := os.Getenv("PROMETHEUS_DIR"); dir != "" {
		return filepath.Join(dir, name), nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path := filepath.Join(root, "bin", "prometheus", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("there is no %s in PATH and none in bin/prometheus: run `make prometheus`", name)
	}
	return path, nil
}
