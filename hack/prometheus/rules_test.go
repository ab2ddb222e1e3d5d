package prometheus

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// root is that of the repository.
const root = "../.."

// read reads a YAML or JSON file of config/prometheus. A field that T does not know
// is an error.
func read[T any](t *testing.T, name string) (o T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "config/prometheus", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &o); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return o
}

// rules are the spec of the PrometheusRule, which is a rule file of Prometheus too.
func rules(t *testing.T) *monitoringv1.PrometheusRuleSpec {
	t.Helper()
	r := read[monitoringv1.PrometheusRule](t, "rules.yaml")
	return &r.Spec
}

// each visits every rule of all groups.
func each(r *monitoringv1.PrometheusRuleSpec, visit func(*monitoringv1.Rule)) {
	for _, g := range r.Groups {
		for i := range g.Rules {
			visit(&g.Rules[i])
		}
	}
}

var (
	notMetrics = regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring|group_left|group_right) *\([^)]*\)`)
	identifier = regexp.MustCompile(`[a-zA-Z_:][\w:]*( *\()?`)
	keywords   = []string{"and", "or", "unless", "bool", "offset", "by", "on", "without", "ignoring", "group_left", "group_right"}
)

// metricsOf are the names of the metrics in a query: what is neither function nor
// keyword nor label.
func metricsOf(query string) []string {
	names := identifier.FindAllString(notMetrics.ReplaceAllString(query, " "), -1)
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasSuffix(name, "(") || slices.Contains(keywords, name)
	})
	slices.Sort(names)
	return slices.Compact(names)
}

func TestAlertsSayWhatToDo(t *testing.T) {
	each(rules(t), func(rule *monitoringv1.Rule) {
		if rule.Alert == "" {
			return
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
	})
}

// The command of the pages puts a runbook_url beside each runbook.
// An errcode that means that WeChat refuses the IP raises the alert of that name, and no other does.
func TestTheAlertHasAllErrcodesOfItsReason(t *testing.T) {
	t.Parallel()
	var has []string
	each(rules(t), func(rule *monitoringv1.Rule) {
		if rule.Alert == "WeChatTokenIPNotAllowed" {
			_, codes, _ := strings.Cut(rule.Expr.StrVal, `errcode=~"`)
			codes, _, _ = strings.Cut(codes, `"`)
			has = strings.Split(codes, "|")
		}
	})
	var want []string
	for _, code := range wechat.Codes() {
		if (&wechat.Error{Code: code}).Meaning().Reason == v1alpha1.ReasonIPNotAllowed {
			want = append(want, strconv.FormatInt(code, 10))
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, has); diff != "" {
		t.Errorf("errcodes (-package wechat +alert):\n%s", diff)
	}
}

func TestPagesSayHowToLinkRunbooks(t *testing.T) {
	command := regexp.MustCompile("(?s)```sh\n(awk .*?)```")
	for _, page := range []string{"docs/monitoring.md", "docs/zh/monitoring.md"} {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		found := command.FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s has no such command", page)
		}
		folder := t.TempDir()
		config, err := filepath.Abs(filepath.Join(root, "config"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(config, filepath.Join(folder, "config")); err != nil {
			t.Fatal(err)
		}
		shell := exec.Command("sh", "-ec", string(found[1]))
		shell.Dir = folder
		if out, err := shell.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", page, err, out)
		}
		written, err := os.ReadFile(filepath.Join(folder, "rules.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var got monitoringv1.PrometheusRule
		if err := yaml.UnmarshalStrict(written, &got); err != nil {
			t.Fatal(err)
		}
		want := rules(t)
		each(want, func(rule *monitoringv1.Rule) {
			if rule.Alert != "" {
				rule.Annotations["runbook_url"] = "https://git.example.com/ops/wechat-token-operator/blob/main/" + rule.Annotations["runbook"]
			}
		})
		if diff := cmp.Diff(*want, got.Spec); diff != "" {
			t.Errorf("%s (-want +got):\n%s", page, diff)
		}
	}
}

// Each page that lists the alerts lists all of them, and no others.
func TestPagesListTheAlerts(t *testing.T) {
	var alerts []string
	each(rules(t), func(rule *monitoringv1.Rule) {
		if rule.Alert != "" {
			alerts = append(alerts, rule.Alert)
		}
	})
	slices.Sort(alerts)
	alerts = slices.Compact(alerts)
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
