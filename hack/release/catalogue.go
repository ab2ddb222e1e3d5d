package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// A change is one line of the list that Artifact Hub shows of a version:
// https://artifacthub.io/docs/topics/annotations/helm/.
type change struct {
	Kind        string `json:"kind"`
	Description string `json:"description"`
}

type link struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// catalogue writes Chart.yaml, read from r, with what only a release has: what changed, and where
// the project is.
func catalogue(w io.Writer, r io.Reader, version, url, changelog string) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var chart map[string]any
	if err := yaml.Unmarshal(text, &chart); err != nil {
		return err
	}
	annotations, ok := chart["annotations"].(map[string]any)
	if !ok {
		return errors.New("the chart has no annotations")
	}
	number := strings.TrimPrefix(version, "v")
	changes := changesOf(changelog, number)
	if len(changes) == 0 {
		return fmt.Errorf("CHANGELOG.md names no change, neither of %s nor below Unreleased: write down what users notice", number)
	}
	if annotations["artifacthub.io/changes"], err = asText(changes); err != nil {
		return err
	}
	home := homeOf(url)
	chart["home"], chart["sources"] = home, []string{home}
	if home != url { // the source is there
		chart["icon"] = home + "/raw/" + version + "/docs/icon.svg"
		docs := home + "/blob/" + version + "/docs/"
		if annotations["artifacthub.io/links"], err = asText([]link{{"Documentation", docs + "README.md"}, {"文档", docs + "zh/README.md"}}); err != nil {
			return err
		}
	}
	if strings.Contains(version, "-") {
		annotations["artifacthub.io/prerelease"] = "true"
	}
	if text, err = yaml.Marshal(chart); err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// homeOf is where the project is: GitHub and Gitea have it at the start of the address of a release.
// Else it is where the files are.
func homeOf(url string) string {
	home, _, _ := strings.Cut(url, "/releases/download/")
	return home
}

// asText is a value as an annotation holds it.
func asText(value any) (string, error) {
	text, err := yaml.Marshal(value)
	return string(text), err
}

// markup is a link, whose address holds in the repository only.
var markup = regexp.MustCompile(`\[([^]]+)\]\([^)]+\)`)

// changesOf reads the section of a version from a changelog in the form of Keep a Changelog. Before it
// has one, the release has what is unreleased.
func changesOf(changelog, number string) []change {
	_, body, ok := strings.Cut(changelog, "\n## ["+number+"]")
	if !ok {
		_, body, _ = strings.Cut(changelog, "\n## [Unreleased]")
	}
	body, _, _ = strings.Cut(body, "\n## ")
	var changes []change
	kind := ""
	open := false // the line before belongs to a change
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "### "):
			kind, open = strings.ToLower(strings.TrimPrefix(line, "### ")), false
		case strings.HasPrefix(line, "- ") && kind != "":
			changes, open = append(changes, change{kind, strings.TrimPrefix(line, "- ")}), true
		case strings.HasPrefix(line, "  ") && open:
			changes[len(changes)-1].Description += " " + strings.TrimSpace(line)
		default:
			open = false
		}
	}
	for i := range changes {
		changes[i].Description = markup.ReplaceAllString(changes[i].Description, "$1")
	}
	return changes
}
