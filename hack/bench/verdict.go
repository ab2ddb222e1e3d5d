package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// verdict is a figure beside what it is to reach.
type verdict struct {
	What     string `json:"what"`
	Target   string `json:"target"`
	Measured string `json:"measured"`
	Met      bool   `json:"met"`
	Doubt    string `json:"doubt,omitempty"` // why to measure again
}

// verdicts are those on what was measured.
func verdicts(r *report) []verdict {
	var all []verdict
	most := func(what string, measured, target float64, unit string) {
		all = append(all, verdict{What: what, Target: fmt.Sprintf("<= %g%s", target, unit), Measured: fmt.Sprintf("%.4g%s", measured, unit), Met: measured <= target})
	}
	resident := map[int]float64{}
	for _, s := range r.Results {
		if s.Error != "" {
			continue
		}
		for _, n := range s.Numbers {
			if n.AtMost != nil {
				target := number{Value: *n.AtMost, Unit: n.Unit}
				all = append(all, verdict{What: n.What, Target: "<= " + target.String(), Measured: n.String(), Met: n.Value <= *n.AtMost && !n.Ended})
			}
		}
		if s.Manager == nil {
			continue
		}
		of := fmt.Sprintf(", %d tokens", s.N)
		if s.Scenario != "unrelated" {
			resident[s.N] = max(resident[s.N], s.Manager.ResidentMB)
		}
		switch s.Scenario {
		case "apply":
			if s.N >= 1000 {
				most("applied until all Secrets are there, beside the ceiling"+of, s.Ratio, 1.5, " x")
				all[len(all)-1].Doubt = doubt(s.Ceilings)
			}
			most("API requests for a token that is applied"+of, s.perToken(), 4, "")
		case "unrelated":
			most(fmt.Sprintf("resident memory more with %.0f unrelated Secrets", s.Numbers[0].Value), s.number(moreResident), 25, " MB")
		case "due":
			most("API requests for a token that is due"+of, s.perToken(), 4, "")
		case "forced":
			most("forced refresh, p50"+of, s.Latency[0].Ours.P50, 15, " ms")
			most("forced refresh, p99"+of, s.Latency[0].Ours.P99, 50, " ms")
			most(s.Latency[1].What+of, s.Seconds, 3, " s")
		case "restart":
			most("restart, WeChat calls for tokens that were not forced"+of, s.number(strayCalls), 0, "")
			most("restart, writes beside those of the forced one"+of, float64(strayWrites(s.Manager.Requests)), 0, "")
			most("restart, acting again"+of, s.Seconds, 5, " s")
		}
	}
	for _, row := range []struct {
		n     int
		limit float64
	}{{1000, 60}, {10_000, 150}} {
		if mb, ok := resident[row.n]; ok {
			most(fmt.Sprintf("resident memory at the end of any scenario, %d tokens", row.n), mb, row.limit, " MB")
		}
	}
	return all
}

// doubt says when something else has used the machine: the ceiling before and that
// after lie apart by more than a third.
func doubt(ceilings []float64) string {
	if len(ceilings) < 2 || slices.Max(ceilings) < slices.Min(ceilings)*4/3 {
		return ""
	}
	return "the ceilings lie apart, so the machine was busy: measure again"
}

// strayCalls is a number of the scenario restart.
const strayCalls = "WeChat calls for tokens that were not forced"

// strayWrites are those that do not belong to one forced refresh: that is a
// Secret, a status, and the event that tells of it.
func strayWrites(made counts) int {
	stray := 0
	for _, n := range made.writes().less(counts{"APPLY secrets": 1, "PATCH wechattokens/status": 1, "POST events": 1}) {
		stray += max(n, -n)
	}
	return stray
}

func (r *report) printVerdicts(screen io.Writer) error {
	fmt.Fprintln(screen)
	table := tabwriter.NewWriter(screen, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what it is to reach\ttarget\tmeasured\t")
	for _, v := range r.Verdicts {
		met := "met"
		if !v.Met {
			met = "NOT MET"
		}
		if v.Doubt != "" {
			met += "; " + v.Doubt
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.What, v.Target, v.Measured, met)
	}
	return table.Flush()
}
