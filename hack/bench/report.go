package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is all that was measured.
type report struct {
	Revision string    `json:"revision"` // of git; empty if there is none
	Go       string    `json:"go"`
	Machine  string    `json:"machine"`
	CPUs     int       `json:"cpus"`
	Date     time.Time `json:"date"`
	Figures  []figure  `json:"figures"`
	Errors   []string  `json:"errors,omitempty"` // what could not be measured
}

// figure is one that was measured, with n WeChatTokens.
type figure struct {
	Scenario string   `json:"scenario"`
	N        int      `json:"n"`
	What     string   `json:"what"`
	Value    float64  `json:"value"`
	Unit     string   `json:"unit,omitempty"`
	AtMost   *float64 `json:"atMost,omitempty"` // what it is to reach, if anything
}

// missed reports whether it does not reach what it is to.
func (f figure) missed() bool { return f.AtMost != nil && !(f.Value <= *f.AtMost) }

func (f figure) String() string {
	s := short(f.Value) + " " + f.Unit
	if f.missed() {
		s += " !"
	}
	return strings.TrimSpace(s)
}

// short writes a number with three digits or more.
func short(v float64) string {
	if math.Abs(v) >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func newReport() *report {
	revision, _ := exec.Command("git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty").Output() // empty without git
	return &report{
		Revision: strings.TrimSpace(string(revision)), Go: runtime.Version(), Machine: runtime.GOOS + "/" + runtime.GOARCH,
		CPUs: runtime.NumCPU(), Date: time.Now().UTC().Truncate(time.Second),
	}
}

// result takes the figures of a scenario with n WeChatTokens.
type result struct {
	*report

	scenario string
	n        int

	took     time.Duration   // until what has a ceiling was done
	ceilings []time.Duration // measured so far
}

func (r *report) result(scenario string, n int) *result {
	return &result{report: r, scenario: scenario, n: n}
}

func (r *result) add(what string, value float64, unit string) {
	r.Figures = append(r.Figures, figure{Scenario: r.scenario, N: r.n, What: what, Value: value, Unit: unit})
}

// judge adds a figure that is to be at most so much.
func (r *result) judge(what string, value, atMost float64, unit string) {
	r.add(what, value, unit)
	r.Figures[len(r.Figures)-1].AtMost = &atMost
}

// Figures that the plot and tests look for.
const (
	secretsThere   = "until all Secrets hold a token"
	besideCeiling  = "… beside the ceiling"
	ceilingTook    = "… the ceiling"
	cpuUsed        = "CPU"
	residentMemory = "resident memory, when all is quiet"
	peakMemory     = "… its peak"
	cpuOfToken     = "… CPU for each"
	requestsEach   = "API requests for each token"
	forcedMs       = "forced one by one"
	forcedCeiling  = "… a client that only applies the Secret"
)

// used adds what the manager has used for so many new tokens; 0 if that says
// nothing. The limits of memory are those for 1,000 and 10,000 WeChatTokens.
func (r *result) used(u used, tokens int) {
	r.add(cpuUsed, u.cpuSeconds, "s")
	switch r.n {
	case 1000:
		r.judge(residentMemory, u.residentMB, 50, "MB")
	case 10_000:
		r.judge(residentMemory, u.residentMB, 130, "MB")
	default:
		r.add(residentMemory, u.residentMB, "MB")
	}
	r.add(peakMemory, u.peakMB, "MB")
	r.add("… heap in use in the end, garbage and all", u.heapMB, "MB")
	r.add("WeChat calls", float64(u.calls), "")
	if tokens > 0 {
		r.judge(requestsEach, float64(u.requests.sum())/float64(tokens), 4, "")
		r.add(cpuOfToken, 1000*u.cpuSeconds/float64(tokens), "ms")
	}
	for _, what := range slices.Sorted(maps.Keys(u.requests)) {
		r.add("… "+what, float64(u.requests[what]), "")
	}
}

// ceiling adds what is beside what we took, once there is a second one: both are
// measured, before and after. Where they lie apart, the machine was busy.
func (r *result) ceiling(took time.Duration) {
	r.ceilings = append(r.ceilings, took)
	if len(r.ceilings) < 2 || r.took == 0 {
		return
	}
	least, most := slices.Min(r.ceilings).Seconds(), slices.Max(r.ceilings).Seconds()
	mean := (least + most) / 2
	r.add(ceilingTook, mean, "s")
	if ratio := r.took.Seconds() / mean; r.n >= 1000 {
		r.judge(besideCeiling, ratio, 1.1, "x")
	} else {
		r.add(besideCeiling, ratio, "x")
	}
	r.judge("… the longer ceiling beside the shorter: above this, measure again", most/least, 1.33, "x")
}

// percentile is the nearest rank, in milliseconds. gonum has it, too, for floats
// that were sorted before, which is as long.
func percentile(delays []time.Duration, share float64) float64 {
	slices.Sort(delays)
	rank := int(math.Ceil(share * float64(len(delays))))
	return float64(delays[max(rank, 1)-1]) / float64(time.Millisecond)
}

// save writes the report to a file, if one is named.
func (r *report) save(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// print writes a table for each scenario, with a column for each number of
// WeChatTokens, and what was missed.
func (r *report) print(screen io.Writer) error {
	fmt.Fprintf(screen, "\nrevision %s, %s, %s with %d CPUs, %s\n", cmp.Or(r.Revision, "unknown"), r.Go, r.Machine, r.CPUs, r.Date.Format(time.RFC3339))
	for _, s := range scenarios() {
		if err := r.printScenario(screen, s.name); err != nil {
			return err
		}
	}
	fmt.Fprintln(screen)
	for _, f := range r.Figures {
		if f.missed() {
			fmt.Fprintf(screen, "NOT MET: %s with %d: %s: %s %s, want at most %s\n", f.Scenario, f.N, f.What, short(f.Value), f.Unit, short(*f.AtMost))
		}
	}
	for _, err := range r.Errors {
		fmt.Fprintln(screen, "NOT MEASURED:", err)
	}
	return nil
}

func (r *report) printScenario(screen io.Writer, scenario string) error {
	var what []string
	ns, cells, target := map[int]bool{}, map[string]map[int]figure{}, map[string]string{}
	for _, f := range r.Figures {
		if f.Scenario != scenario {
			continue
		}
		if cells[f.What] == nil {
			what, cells[f.What] = append(what, f.What), map[int]figure{}
		}
		cells[f.What][f.N], ns[f.N] = f, true
		if f.AtMost != nil {
			target[f.What] = strings.TrimSpace(strings.TrimPrefix(target[f.What]+" / <= "+short(*f.AtMost), " / "))
		}
	}
	if len(what) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(screen, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\n%s\tto reach", scenario)
	for _, n := range slices.Sorted(maps.Keys(ns)) {
		fmt.Fprintf(table, "\tn = %d", n)
	}
	for _, w := range what {
		fmt.Fprintf(table, "\n%s\t%s", w, target[w])
		for _, n := range slices.Sorted(maps.Keys(ns)) {
			cell := ""
			if f, ok := cells[w][n]; ok {
				cell = f.String()
			}
			fmt.Fprint(table, "\t", cell)
		}
	}
	fmt.Fprintln(table)
	return table.Flush()
}
