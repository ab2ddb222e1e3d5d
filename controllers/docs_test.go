package controllers

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	testLink = regexp.MustCompile("\\[`((?:Test|Fuzz)\\w+)`\\]\\(([^)]+)\\)")
	testName = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\([tf] \*testing\.[TF]\)`)
)

// testsNamed returns the tests that stand in a piece of a page, each of which
// must be a link to the file that has it.
func testsNamed(t *testing.T, page, text string) []string {
	t.Helper()
	var names []string
	for _, m := range testLink.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
		file, err := os.ReadFile(filepath.Join(filepath.Dir(page), m[2]))
		if err != nil || !slices.Contains(testsIn(string(file)), m[1]) {
			t.Errorf("%s: there is no %s in %s (%v)", page, m[1], m[2], err)
		}
	}
	if all := testName.FindAllString(text, -1); len(all) != len(names) {
		t.Errorf("%s: not each of %s is a link to its file", page, all)
	}
	return names
}

func testsIn(source string) []string {
	var names []string
	for _, m := range testFunc.FindAllStringSubmatch(source, -1) {
		names = append(names, m[1])
	}
	return names
}

// rows returns the rows of the table whose first cells are prefix1, prefix2 and
// so on, up to last, which must all be there, in this order.
func rows(t *testing.T, page, prefix string, last int) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| (` + prefix + `\d+) \|.*\|$`)
	var found, first, want []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		found, first = append(found, m[0]), append(first, m[1])
	}
	for i := range last {
		want = append(want, fmt.Sprint(prefix, i+1))
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Fatalf("%s: rows (-want +got):\n%s", page, diff)
	}
	return found
}

// Each story has its row, each row its test, and each test that is named is
// there.
func TestEveryStoryIsTold(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range testsIn(string(source)) {
			if strings.HasPrefix(name, "TestStory") {
				told = append(told, name)
			}
		}
	}
	slices.Sort(told)

	const untold = 18 // third-party platforms
	pages := []string{"../docs/failures.md", "../docs/zh/failures.md"}
	all := make([][][]string, len(pages)) // tests by page and row
	for p, page := range pages {
		var named []string
		for i, row := range rows(t, page, "", 25) {
			tests := testsNamed(t, page, row)
			all[p] = append(all[p], tests)
			own := slices.DeleteFunc(slices.Clone(tests), func(name string) bool {
				return !strings.HasPrefix(name, fmt.Sprintf("TestStory%02d", i+1))
			})
			if i+1 == untold {
				if len(tests) > 0 || !strings.HasSuffix(row, "| — |") {
					t.Errorf("%s: row %d has tests %s, want none and a dash", page, i+1, tests)
				}
				continue
			}
			if len(tests) == 0 || len(own) > 1 {
				t.Errorf("%s: row %d has the tests %s, want some, and one story of its number at most", page, i+1, tests)
			}
			named = append(named, own...)
		}
		if diff := cmp.Diff(named, told); diff != "" {
			t.Errorf("%s: stories (-in the table +in the code):\n%s", page, diff)
		}
	}
	if diff := cmp.Diff(all[0], all[1]); diff != "" {
		t.Errorf("tests (-%s +%s):\n%s", pages[0], pages[1], diff)
	}
}

// Each promise has its tests, the same in both languages.
func TestEveryPromiseIsTested(t *testing.T) {
	promises := func(page string) [][]string {
		var tests [][]string
		for _, row := range rows(t, page, "P", 14) {
			named := testsNamed(t, page, row)
			if len(named) == 0 {
				t.Errorf("%s: no test in %s", page, row)
			}
			tests = append(tests, named)
		}
		return tests
	}
	if diff := cmp.Diff(promises("../docs/promises.md"), promises("../docs/zh/promises.md")); diff != "" {
		t.Errorf("tests (-English +Chinese):\n%s", diff)
	}
}

// Each line of the threat model has its test, the same in both languages, and each
// attack its line.
func TestEveryLineOfTheThreatModelIsTested(t *testing.T) {
	var tried []string
	files, err := filepath.Glob("../hack/attack/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tried = append(tried, testsIn(string(source))...)
	}
	slices.Sort(tried)
	lines := func(page, from, to string) (tests [][]string) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, model, _ := strings.Cut(string(text), from)
		model, _, _ = strings.Cut(model, to)
		for line := range strings.Lines(model) {
			if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "| test |\n") || strings.HasSuffix(line, "| 测试 |\n") {
				continue
			}
			named := testsNamed(t, page, line)
			if len(named) == 0 {
				t.Errorf("%s: no test in %s", page, line)
			}
			tests = append(tests, named)
		}
		if diff := cmp.Diff(tried, slices.Sorted(slices.Values(slices.Concat(tests...)))); diff != "" {
			t.Errorf("%s: attacks (-tried +named):\n%s", page, diff)
		}
		return tests
	}
	english, chinese := lines("../docs/security.md", "## Who can do what", "\n## "), lines("../docs/zh/security.md", "## 谁能做什么", "\n## ")
	if diff := cmp.Diff(english, chinese); diff != "" {
		t.Errorf("tests (-English +Chinese):\n%s", diff)
	}
}
