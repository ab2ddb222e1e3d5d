// Command chartdoc writes the README of the chart, which its archive has, from its values.yaml:
// each value, what holds where nothing is set, and the comment above it. Its argument is the folder of
// the chart.
package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed README.md.tmpl
var page string // without the table

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "chartdoc: say where the chart is: chartdoc FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "chartdoc:", err)
		os.Exit(1)
	}
}

func run(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, "values.yaml"))
	if err != nil {
		return err
	}
	var values yaml.Node
	if err := yaml.Unmarshal(text, &values); err != nil {
		return err
	}
	rows, err := table(values.Content[0], "")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "README.md"), []byte(page+rows), 0o644)
}

// table has a row for each value below a path. Where the keys of a map have comments of their
// own, they are values, and else the map is.
func table(tree *yaml.Node, under string) (rows string, err error) {
	for i := 0; i < len(tree.Content); i += 2 {
		key, value := tree.Content[i], tree.Content[i+1]
		path, text := under+key.Value, what(key)
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && (value.Content[0].HeadComment != "" || text == "") {
			if text != "" {
				rows += fmt.Sprintf("| `%s` | | %s |\n", path, text)
			}
			below, err := table(value, path+".")
			if err != nil {
				return "", err
			}
			rows += below
			continue
		}
		var set any
		if err := value.Decode(&set); err != nil {
			return "", err
		}
		holds, err := json.Marshal(set)
		if err != nil {
			return "", err
		}
		rows += fmt.Sprintf("| `%s` | `%s` | %s |\n", path, holds, text)
	}
	return rows, nil
}

// what is the comment above a key, in one line.
func what(key *yaml.Node) string {
	lines := strings.Split(key.HeadComment, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ")
	}
	return strings.ReplaceAll(strings.Join(lines, " "), "|", `\|`)
}
