// Command metricsdoc writes the tables of docs/metrics.md and docs/zh/metrics.md
// from the definitions of the metrics. It runs in the folder hack.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"wechattoken.io/operator/controllers/metrics"
)

// The table is between these lines of a page. The rest of it is written by hand.
const (
	begin = "<!-- written by hack/metricsdoc: make generate -->\n"
	end   = "<!-- until here -->\n"
)

// page is docs/metrics.md in a language.
type page struct {
	file    string
	header  []string
	buckets string
	texts   func(metrics.Definition) (help, series string, err error)
}

var pages = []page{
	{
		file:    "docs/metrics.md",
		header:  []string{"metric", "type", "labels", "meaning", "series"},
		buckets: " Buckets: %s s.",
		texts:   func(d metrics.Definition) (help, series string, err error) { return d.Help, d.Series, nil },
	},
	{
		file:    "docs/zh/metrics.md",
		header:  []string{"指标", "类型", "标签", "含义", "序列数"},
		buckets: "分桶：%s 秒。",
		texts: func(d metrics.Definition) (help, series string, err error) {
			c, ok := chinese[d.Name]
			if !ok {
				return "", "", fmt.Errorf("hack/metricsdoc/chinese.go does not have %s: add what it means, in Chinese", d.Name)
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
	file := filepath.Join("..", p.file)
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	written, err := p.write(string(old), metrics.Definitions())
	if err != nil {
		return fmt.Errorf("%s: %w", p.file, err)
	}
	return os.WriteFile(file, []byte(written), 0o644)
}

// write puts the table of these metrics into a page.
func (p page) write(text string, all []metrics.Definition) (string, error) {
	before, rest, found := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("there is no place for the table: it is between the lines %q and %q", begin, end)
	}
	table, err := p.table(all)
	return before + begin + "\n" + table + "\n" + end + after, err
}

func (p page) table(all []metrics.Definition) (string, error) {
	var b strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(p.header...)
	b.WriteString(strings.Repeat("|---", len(p.header)) + "|\n")
	for _, d := range all {
		help, series, err := p.texts(d)
		if err != nil {
			return "", err
		}
		if len(d.Buckets) > 0 {
			help += fmt.Sprintf(p.buckets, bounds(d.Buckets))
		}
		row(code(d.Name), d.Type, strings.Join(each(d.Labels), ", "), help, series)
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
