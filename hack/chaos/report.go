package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// stamp is a time as the run writes it: seconds since its begin.
func (j *journal) stamp(t time.Time) string { return fmt.Sprintf("%.3f s", t.Sub(j.begun).Seconds()) }

// shown is how many findings are printed with what happened before.
const shown = 5

// report writes what happened, and what was found.
func (j *journal) report(screen io.Writer, events []event) {
	kinds, causes, judged := map[kind]int{}, map[string]int{}, 0
	for _, e := range events {
		kinds[e.Kind]++
	}
	for _, c := range j.calls {
		causes[strings.TrimSpace(fmt.Sprintf("%s %s", c.Endpoint, c.Fault))]++
	}
	for _, h := range j.histories() {
		for _, t := range h.tokens {
			if due := h.due(t); due.Before(j.ended) && h.calmAt(due) {
				judged++
			}
		}
	}
	fmt.Fprintf(screen, "%6d events: %v; %d times a process took the lead\n", len(events), kinds, len(j.takeovers))
	fmt.Fprintf(screen, "%6d calls to WeChat: %v\n", len(j.calls), causes)
	fmt.Fprintf(screen, "%6d requests for a new token\n", len(j.requests))
	fmt.Fprintf(screen, "%6d tokens, %d of which had to have a successor with nothing in the way\n", len(j.tokens), judged)
	fmt.Fprintf(screen, "%6d findings\n", len(j.found))
	for i, f := range j.found {
		fmt.Fprintf(screen, "FOUND  %s  %s\n", j.stamp(f.at), f.text)
		if i < shown {
			j.timeline(screen, f)
		}
	}
}

// timeline writes what happened to the appid of a finding, and to all, before it.
func (j *journal) timeline(screen io.Writer, f note) {
	all := slices.Clone(j.notes)
	for _, c := range j.calls {
		all = append(all, note{c.At, c.AppID, fmt.Sprintf("call from %s: %s, token %q, new %t, forced %t, errcode %d, fault %q",
			c.From, c.Endpoint, c.Token, c.Rotated, c.Forced, c.Errcode, c.Fault)})
	}
	for i, t := range j.targets {
		for _, v := range j.versions[i] {
			all = append(all, note{v.at, t.account.appID, fmt.Sprintf("Secret %s holds %q", t.key(), v.token())})
		}
	}
	slices.SortStableFunc(all, func(a, b note) int { return a.at.Compare(b.at) })
	for _, n := range all {
		if (n.appID == "" || n.appID == f.appID) && n.at.After(f.at.Add(-j.life)) && n.at.Before(f.at.Add(time.Second)) {
			fmt.Fprintf(screen, "    %s  %s\n", j.stamp(n.at), n.text)
		}
	}
}
