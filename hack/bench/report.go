package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
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
	Results  []*result `json:"results"`
	Verdicts []verdict `json:"verdicts"`
}

// result is what a scenario has measured.
type result struct {
	Scenario string    `json:"scenario"`
	N        int       `json:"n"`
	Took     float64   `json:"tookSeconds"` // with all that had to be prepared
	Seconds  float64   `json:"seconds,omitempty"`
	Ceilings []float64 `json:"ceilingSeconds,omitempty"`
	Ratio    float64   `json:"ratio,omitempty"` // to the mean of the ceilings
	Tokens   int       `json:"tokens,omitempty"`
	Manager  *figures  `json:"manager,omitempty"`
	Latency  []latency `json:"latency,omitempty"`
	Numbers  []number  `json:"numbers,omitempty"`
	Error    string    `json:"error,omitempty"` // why it could not be done
}

// latency is what some delays were.
type latency struct {
	What    string       `json:"what"`
	Ours    percentiles  `json:"ours"`
	Ceiling *percentiles `json:"ceiling,omitempty"`
}

// number is something else worth a line.
type number struct {
	What   string   `json:"what"`
	Value  float64  `json:"value"`
	Unit   string   `json:"unit,omitempty"`
	AtMost *float64 `json:"atMost,omitempty"` // what it is to reach, if anything
	Ended  bool     `json:"ended,omitempty"`  // nobody waited any longer: it is this or more
}

func (n number) String() string {
	s := strings.TrimSpace(thousands(n.Value) + " " + n.Unit)
	if n.Ended {
		return ">= " + s
	}
	return s
}

// percentiles are those of some delays, in milliseconds.
type percentiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// percentilesOf are the nearest ranks.
func percentilesOf(delays []time.Duration) percentiles {
	if len(delays) == 0 {
		return percentiles{}
	}
	sorted := slices.Sorted(slices.Values(delays))
	at := func(share float64) float64 {
		rank := int(math.Ceil(share * float64(len(sorted))))
		return float64(sorted[max(rank, 1)-1]) / float64(time.Millisecond)
	}
	return percentiles{Count: len(sorted), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

// took notes how long it took us, and what the ceilings took.
func (r *result) took(ours time.Duration, ceilings ...time.Duration) {
	r.Seconds = ours.Seconds()
	var sum float64
	for _, c := range ceilings {
		r.Ceilings = append(r.Ceilings, c.Seconds())
		sum += c.Seconds()
	}
	r.Ratio = r.Seconds * float64(len(ceilings)) / sum
}

func (r *result) latency(what string, ours, ceiling []time.Duration) {
	l := latency{What: what, Ours: percentilesOf(ours)}
	if len(ceiling) > 0 {
		l.Ceiling = new(percentilesOf(ceiling))
	}
	r.Latency = append(r.Latency, l)
}

func (r *result) add(what string, value float64, unit string) {
	r.Numbers = append(r.Numbers, number{What: what, Value: value, Unit: unit})
}

// judge adds a number that is to be at most so much.
func (r *result) judge(what string, value, atMost float64, unit string) {
	r.Numbers = append(r.Numbers, number{What: what, Value: value, Unit: unit, AtMost: &atMost})
}

// number is one that was added; NaN if it was not.
func (r *result) number(what string) float64 {
	for _, n := range r.Numbers {
		if n.What == what {
			return n.Value
		}
	}
	return math.NaN()
}

// perToken is how many API requests one new token cost; 0 if that is unknown.
func (r *result) perToken() float64 {
	if r.Manager == nil || r.Tokens == 0 {
		return 0
	}
	return float64(r.Manager.Requests.sum()) / float64(r.Tokens)
}

// find is a result that is good; nil if there is none.
func (r *report) find(scenario string, n int) *result {
	for _, s := range r.Results {
		if s.Scenario == scenario && s.N == n && s.Error == "" {
			return s
		}
	}
	return nil
}

func newReport() *report {
	return &report{Revision: revision(), Go: runtime.Version(), Machine: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Date: time.Now().UTC().Truncate(time.Second)}
}

// revision is that of the working directory.
func revision() string {
	out, err := exec.Command("git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
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

// print writes the tables for people.
func (r *report) print(screen io.Writer) error {
	fmt.Fprintf(screen, "\nrevision %s, %s, %s with %d CPUs, %s\n\n", cmp.Or(r.Revision, "unknown"), r.Go, r.Machine, r.CPUs, r.Date.Format(time.RFC3339))
	table := tabwriter.NewWriter(screen, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "scenario\tn\twall s\tceilings s\tratio\tCPU s\tresident MB\tpeak MB\theap MB\trequests\tper token\tWeChat\tetcd puts\t")
	for _, s := range r.Results {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t", s.Scenario, s.N, figure(s.Seconds), figuresOf(s.Ceilings), figure(s.Ratio))
		if m := s.Manager; m != nil {
			fmt.Fprintf(table, "%.2f\t%.0f\t%.0f\t%.0f\t%d\t%s\t%d\t%d\t", m.CPUSeconds, m.ResidentMB, m.PeakMB, m.HeapMB, m.Requests.sum(), figure(s.perToken()), m.WeChatCalls, m.EtcdPuts)
		} else {
			fmt.Fprint(table, "\t\t\t\t\t\t\t\t")
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, table := range []func(io.Writer) error{r.printLatency, r.printRequests, r.printNumbers, r.printErrors, r.printVerdicts} {
		if err := table(screen); err != nil {
			return err
		}
	}
	return nil
}

func (r *report) printLatency(screen io.Writer) error {
	table := tabwriter.NewWriter(screen, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\nmilliseconds\tn\tcount\tp50\tp90\tp99\tmax\tceiling p50\tp90\tp99\tmax\t")
	rows := 0
	for _, s := range r.Results {
		for _, l := range s.Latency {
			rows++
			fmt.Fprintf(table, "%s\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t", l.What, s.N, l.Ours.Count, l.Ours.P50, l.Ours.P90, l.Ours.P99, l.Ours.Max)
			if c := l.Ceiling; c != nil {
				fmt.Fprintf(table, "%.1f\t%.1f\t%.1f\t%.1f\t", c.P50, c.P90, c.P99, c.Max)
			} else {
				fmt.Fprint(table, "\t\t\t\t")
			}
			fmt.Fprintln(table)
		}
	}
	if rows == 0 {
		return nil
	}
	return table.Flush()
}

func (r *report) printRequests(screen io.Writer) error {
	fmt.Fprintln(screen, "\nAPI requests of the manager (leases: with those of the API server itself)")
	table := tabwriter.NewWriter(screen, 0, 0, 2, ' ', 0)
	for _, s := range r.Results {
		if s.Manager != nil {
			fmt.Fprintf(table, "  %s\t%d\t%s\n", s.Scenario, s.N, s.Manager.Requests)
		}
	}
	return table.Flush()
}

func (r *report) printNumbers(screen io.Writer) error {
	fmt.Fprintln(screen, "\nand")
	table := tabwriter.NewWriter(screen, 0, 0, 2, ' ', 0)
	for _, s := range r.Results {
		for _, n := range s.Numbers {
			fmt.Fprintf(table, "  %s\t%d\t%s\t%s\n", s.Scenario, s.N, n.What, n)
		}
		fmt.Fprintf(table, "  %s\t%d\tthe scenario as a whole\t%.0f s\n", s.Scenario, s.N, s.Took)
	}
	return table.Flush()
}

func (r *report) printErrors(screen io.Writer) error {
	for _, s := range r.Results {
		if s.Error != "" {
			fmt.Fprintf(screen, "\n%s with %d could not be done: %s\n", s.Scenario, s.N, s.Error)
		}
	}
	return nil
}

// figure is a number, or nothing if there is none.
func figure(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return fmt.Sprintf("%.2f", v)
}

func figuresOf(values []float64) string {
	var parts []string
	for _, v := range values {
		parts = append(parts, figure(v))
	}
	return strings.Join(parts, " ")
}
