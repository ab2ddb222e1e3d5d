package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// Nothing here can run Renovate. But it can be seen that it looks after every go.mod,
// the Dockerfile and the workflows, and that each of its rules is about files that are there.
func TestRenovateLooksAfterEveryFile(t *testing.T) {
	root := os.DirFS(filepath.Join("..", ".."))
	text, err := fs.ReadFile(root, "renovate.json")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		EnabledManagers []string `json:"enabledManagers"`
		PackageRules    []struct {
			MatchFileNames []string `json:"matchFileNames"`
		} `json:"packageRules"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	slices.Sort(config.EnabledManagers)
	if want := []string{"dockerfile", "github-actions", "gomod"}; !slices.Equal(config.EnabledManagers, want) {
		t.Errorf("the managers are %v, want %v", config.EnabledManagers, want)
	}
	for _, rule := range config.PackageRules {
		for _, pattern := range rule.MatchFileNames {
			if files, err := fs.Glob(root, pattern); err != nil || len(files) == 0 {
				t.Errorf("a rule is for %s, and there is no such file: %v", pattern, err)
			}
		}
	}
	// What config:recommended leaves out.
	ignored := regexp.MustCompile(`(^|/)(node_modules|bower_components|vendor|examples|__tests__|tests?|__fixtures__)/`)
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if name == "bin" || name == ".git" {
			return fs.SkipDir
		}
		if entry != nil && entry.Name() == "go.mod" && ignored.MatchString(name) {
			t.Errorf("Renovate does not look into the folder of %s", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
