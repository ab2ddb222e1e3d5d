// Command metricsdoc writes the tables of docs/metrics.md and docs/zh/metrics.md
// from the metrics' own definitions. It runs in the root of the repository.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"wechattoken.io/operator/controllers"
)

// The table stands between these lines of a page; the rest of it is written by hand.
const (
	begin = "<!-- written by hack/metricsdoc: make generate -->\n"
	end   = "<!-- until here -->\n"
)

// page is docs/metrics.md in a language.
type page struct {
	file    string
	header  []string
	buckets string
	tell    func(controllers.Metric) (help, series string, err error)
}

var pages = []page{
	{
		file:    "docs/metrics.md",
		header:  []string{"metric", "type", "labels", "what it tells", "series"},
		buckets: " Buckets: %s s.",
		tell:    func(m controllers.Metric) (help, series string, err error) { return m.Help, m.Series, nil },
	},
	{
		file:    "docs/zh/metrics.md",
		header:  []string{"指标", "类型", "标签", "含义", "序列数"},
		buckets: "分桶：%s 秒。",
		tell: func(m controllers.Metric) (help, series string, err error) {
			c, ok := chinese[m.Name]
			if !ok {
				return "", "", fmt.Errorf("hack/metricsdoc/chinese.go does not have %s: say there in Chinese what it tells", m.Name)
			}
			return c.help, c.series, nil
		},
	},
}

func main() {
	for _, p := range pages {
		if err := p.rewrite(); err != nil {
			fmt.Fprintln(os.Stderr, "metricsdoc:", err)
			os.Exit(1)
		}
	}
}

func (p page) rewrite() error {
	old, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	written, err := p.write(string(old), controllers.Metrics())
	if err != nil {
		return fmt.Errorf("%s: %w", p.file, err)
	}
	return os.WriteFile(p.file, []byte(written), 0o644)
}

// write puts the table of these metrics into a page.
func (p page) write(text string, metrics []controllers.Metric) (string, error) {
	before, rest, found := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("there is no place for the table: it stands between the lines %q and %q", begin, end)
	}
	table, err := p.table(metrics)
	return before + begin + "\n" + table + "\n" + end + after, err
}

func (p page) table(metrics []controllers.Metric) (string, error) {
	var b strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(p.header...)
	b.WriteString(strings.Repeat("|---", len(p.header)) + "|\n")
	for _, m := range metrics {
		help, series, err := p.tell(m)
		if err != nil {
			return "", err
		}
		if len(m.Buckets) > 0 {
			help += fmt.Sprintf(p.buckets, bounds(m.Buckets))
		}
		row(code(m.Name), m.Type, strings.Join(each(m.Labels), ", "), help, series)
	}
	return b.String(), nil
}

func code(s string) string { return "`" + s + "`" }

func each(labels []string) []string {
	var all []string
	for _, l := range labels {
		all = append(all, code(l))
	}
	return all
}

func bounds(buckets []float64) string {
	var all []string
	for _, b := range buckets {
		all = append(all, strconv.FormatFloat(b, 'g', -1, 64))
	}
	return strings.Join(all, ", ")
}
