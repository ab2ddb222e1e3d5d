package v1alpha1_test

import (
	"os"
	"regexp"
	"testing"
)

// Each reason has its remedy in both READMEs.
func TestEveryReasonHasARemedy(t *testing.T) {
	source, err := os.ReadFile("reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	reasons := regexp.MustCompile(`(?m)^\tReason\w+ += "(\w+)"`).FindAllSubmatch(source, -1)
	if len(reasons) < 20 {
		t.Fatalf("found %d reasons in reasons.go", len(reasons))
	}
	for _, name := range []string{"../../README.md", "../../README.zh-CN.md"} {
		readme, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, reason := range reasons {
			row := regexp.MustCompile("(?m)^\\| `" + string(reason[1]) + "` \\| .+ \\| .+ \\|$")
			if !row.Match(readme) {
				t.Errorf("%s has no row for %s", name, reason[1])
			}
		}
	}
}
