package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// New tokens come about as fast as the API server takes them in, and cost four
// requests each. The machine may have other things to do, so that a test can hold
// no more than twice what `make bench` asks for with 1,000, and says so when that
// was missed three times in a row.
func TestApplyKeepsUpWithTheCeiling(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	const (
		mostTimes    = 3.0 // of the ceiling
		mostRequests = 4.0
		tries        = 3
	)
	// The bench is a process of its own: with -race, the ceiling would be one that
	// it sets itself.
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+"/", "wechattoken.io/operator/cmd/manager", "wechattoken.io/operator/hack/bench")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for try := 1; ; try++ {
		r := applied(t, bin, "200")
		t.Logf("%.2f s, %.2f times the ceiling, %.3f requests for each token: %s", r.Seconds, r.Ratio, r.perToken(), r.Manager.Requests)
		if r.Ratio <= mostTimes && r.perToken() <= mostRequests {
			return
		}
		if try == tries {
			t.Fatalf("want at most %.0f times the ceiling and %.0f requests; missed %d times in a row", mostTimes, mostRequests, tries)
		}
	}
}

// applied is the result of the scenario apply.
func applied(t *testing.T, bin, n string) *result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	bench := exec.Command(filepath.Join(bin, "bench"), "-bin", bin, "-n", n, "-only", "apply", "-json", file)
	bench.Dir = filepath.Join("..", "..")
	if out, err := bench.CombinedOutput(); err != nil {
		t.Fatalf("bench: %v\n%s", err, out)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all report
	if err := json.Unmarshal(content, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Results) != 1 || all.Results[0].Manager == nil {
		t.Fatalf("want one result:\n%s", content)
	}
	return all.Results[0]
}
