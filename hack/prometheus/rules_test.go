package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestAlertsSayWhatToDo(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
