package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

const changelog = `# Changes

A text with a list:

- which is no change

## [Unreleased]

### Added

- Not yet.

## [0.2.0] - 2026-12-01

The second release.

### Added

- A thing, as [docs/thing.md](docs/thing.md)
  says.
- Another: ` + "`spec.thing`" + `.

### Fixed

- An error.

## [0.1.0] - 2026-11-30

### Added

- All.
`

func TestTheCatalogueShowsTheChangesOfTheVersion(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reason, number string
		want           []change
	}{
		"its own": {
			reason: "lines of one entry are one text, without addresses that hold in the repository only",
			number: "0.2.0",
			want: []change{
				{"added", "A thing, as docs/thing.md says."},
				{"added", "Another: `spec.thing`."},
				{"fixed", "An error."},
			},
		},
		"the last of the file": {
			reason: "it ends with the file",
			number: "0.1.0",
			want:   []change{{"added", "All."}},
		},
		"not yet in it": {
			reason: "a candidate comes before its section",
			number: "0.3.0-rc.1",
			want:   []change{{"added", "Not yet."}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, changesOf(changelog, tt.number)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestAReleaseSaysWhatChanged(t *testing.T) {
	t.Parallel()
	err := catalogue(&strings.Builder{}, strings.NewReader("annotations: {}"), "v0.1.0", "https://example.com", "# Changes\n\n## [Unreleased]\n")
	if err == nil || !strings.Contains(err.Error(), "write down what users notice") {
		t.Errorf("without a change it should have failed: %v", err)
	}
}

func TestTheCatalogueFindsTheProject(t *testing.T) {
	t.Parallel()
	type chart struct {
		Name, Version, Home, Icon string
		Sources                   []string
		Annotations               map[string]string
	}
	const changes = "- description: All.\n  kind: added\n"
	for name, tt := range map[string]struct {
		reason, version, url string
		want                 chart
	}{
		"on GitHub": {
			reason:  "the pages and the icon are those of the tag",
			version: "v0.1.0",
			url:     "https://github.com/somebody/operator/releases/download/v0.1.0",
			want: chart{
				Name:    "operator",
				Version: "0.1.0",
				Home:    "https://github.com/somebody/operator",
				Sources: []string{"https://github.com/somebody/operator"},
				Icon:    "https://github.com/somebody/operator/raw/v0.1.0/docs/icon.svg",
				Annotations: map[string]string{
					"artifacthub.io/license": "Apache-2.0",
					"artifacthub.io/changes": changes,
					"artifacthub.io/links": "- name: Documentation\n  url: https://github.com/somebody/operator/blob/v0.1.0/docs/README.md\n" +
						"- name: 文档\n  url: https://github.com/somebody/operator/blob/v0.1.0/docs/zh/README.md\n",
				},
			},
		},
		"files only": {
			reason:  "nobody knows where the source is, and a candidate is none of the stable releases",
			version: "v0.1.0-rc.1",
			url:     "https://files.example.com/v0.1.0",
			want: chart{
				Name:    "operator",
				Version: "0.1.0",
				Home:    "https://files.example.com/v0.1.0",
				Sources: []string{"https://files.example.com/v0.1.0"},
				Annotations: map[string]string{
					"artifacthub.io/license":    "Apache-2.0",
					"artifacthub.io/changes":    changes,
					"artifacthub.io/prerelease": "true",
				},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var file strings.Builder
			before := strings.NewReader("name: operator\nannotations: {artifacthub.io/license: Apache-2.0}\nversion: 0.1.0\n")
			if err := catalogue(&file, before, tt.version, tt.url, "# Changes\n\n## [Unreleased]\n\n### Added\n\n- All.\n"); err != nil {
				t.Fatal(err)
			}
			var got chart
			if err := yaml.UnmarshalStrict([]byte(file.String()), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}
