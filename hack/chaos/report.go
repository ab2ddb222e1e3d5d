package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// report is the outcome of a run.
type report struct {
	Seed     uint64        `json:"seed"`
	Seconds  float64       `json:"seconds"`
	Tokens   int           `json:"tokens"`
	Accounts int           `json:"accounts"`
	Events   map[kind]int  `json:"events"`
	Managers int           `json:"managerProcesses"`
	Leaders  int           `json:"leaders"`
	Consumer consumerTally `json:"consumers"`
	Calls    callTally     `json:"calls"`
	Forced   forcedTally   `json:"forced"`
	Spread   spreadTally   `json:"spread"`

	NotWell []string `json:"notWell,omitempty"` // objects that are not as they should be in the end
	Leaks   []string `json:"leaks,omitempty"`   // secrets in logs
	Wrong   []string `json:"wrong,omitempty"`   // anything else

	// Failures are all that makes the run fail, each with its time line.
	Failures []string `json:"failures,omitempty"`
}

// consumerTally is what the consumers saw.
type consumerTally struct {
	Calls     int            `json:"calls"`
	Faulty    int            `json:"faulty"` // that a fault of WeChat took
	Dead      int            `json:"dead"`
	Excused   map[string]int `json:"excused"` // of the dead ones, by excuse
	Unexcused int            `json:"unexcused"`
	Deaths    []*death       `json:"deaths,omitempty"`
}

// death is a row of dead calls of one consumer with one token. Times are seconds
// since the begin.
type death struct {
	Target  string  `json:"target"`
	Account string  `json:"account"`
	Token   string  `json:"token"`
	Since   float64 `json:"since,omitempty"` // when the operator could know that the token had to be replaced
	First   float64 `json:"first"`
	Last    float64 `json:"last"`
	Calls   int     `json:"calls"`
	Excuse  string  `json:"excuse,omitempty"` // of the first
}

// count adds a dead call to the row of its token.
func (c *consumerTally) count(l *ledger, j judged) {
	at := j.at.Sub(l.begun).Seconds()
	for _, d := range c.Deaths {
		if d.Target == j.target.key() && d.Token == j.token {
			d.Last, d.Calls = at, d.Calls+1
			return
		}
	}
	d := &death{Target: j.target.key(), Account: j.target.account.String(), Token: j.token, First: at, Last: at, Calls: 1, Excuse: j.excuse}
	if !j.since.IsZero() {
		d.Since = j.since.Sub(l.begun).Seconds()
	}
	c.Deaths = append(c.Deaths, d)
}

// callTally is how often WeChat was asked for a token, and why.
type callTally struct {
	Total     int            `json:"total"`
	Rotations int            `json:"rotations"`
	Reasons   map[string]int `json:"reasons"`
	AtOnce    int            `json:"atOnce"` // two for one account at one time, with two leaders
	Checks    int            `json:"checks"` // questions whether a token is valid
}

// forcedTally is how often WeChat was asked by force, and heard it.
type forcedTally struct {
	Total   int     `json:"total"`
	Most    int     `json:"most"`    // for one account
	Closest float64 `json:"closest"` // seconds between two for one account, of one process
	Refused int     `json:"refused"`
}

// spreadTally is how long it took from WeChat's answer with a new token until all
// Secrets of the account held it, in milliseconds.
type spreadTally struct {
	Tokens  int `json:"tokens"`
	Calm    int `json:"calm"` // of these with nothing in the way
	CalmP50 int `json:"calmP50"`
	CalmP99 int `json:"calmP99"`
	Worst   int `json:"calmWorst"`
	P99     int `json:"p99"`
	Longest int `json:"worst"`
}

// judgement makes a report of what was noted. It is made once the run is over.
func (r *run) judgement(seed uint64, length time.Duration) *report {
	l := r.ledger
	l.close()
	out := &report{
		Seed: seed, Seconds: length.Seconds(), Tokens: len(r.targets), Accounts: len(l.calls), Events: r.happened,
		Managers: len(l.processes), Leaders: len(l.leading()),
	}
	out.consumers(l)
	out.calls(l)
	out.forced(r)
	out.spread(r)
	for _, err := range r.wrong {
		out.Wrong = append(out.Wrong, err.Error())
	}
	return out
}

// failf notes what makes the run fail, with what happened to the account around
// that time.
func (out *report) failf(l *ledger, appID string, from, to time.Time, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if appID != "" {
		text += "\n    " + strings.Join(l.timeline(appID, from, to), "\n    ")
	}
	out.Failures = append(out.Failures, text)
}

func (out *report) consumers(l *ledger) {
	out.Consumer = consumerTally{Calls: l.uses, Faulty: l.failed, Dead: len(l.dead), Excused: map[string]int{}}
	failed := map[string]bool{} // by target and token: the calls after the first tell the same
	for _, d := range l.dead {
		j := l.judge(d)
		out.Consumer.count(l, j)
		if j.excuse != "" {
			out.Consumer.Excused[j.excuse]++
			continue
		}
		out.Consumer.Unexcused++
		if !failed[d.target.key()+d.token] {
			since := cmp.Or(j.since, d.at)
			out.failf(l, d.target.account.appID, since.Add(-15*time.Second), d.at.Add(time.Second),
				"invalid token %s in %s (%s), read at %s, errcode %d at %s; it had to be replaced since %s, and nothing was in the way from %s to %s:",
				d.token, d.target.key(), d.target.account, l.stamp(d.read), d.errcode, l.stamp(d.at), l.stamp(since), l.stamp(j.clear.from), l.stamp(j.clear.to))
		}
		failed[d.target.key()+d.token] = true
	}
}

// noticing is how long the fake may take to see that a caller has left.
const noticing = time.Second

func (out *report) calls(l *ledger) {
	out.Calls.Reasons = map[string]int{}
	for _, c := range l.checks {
		if c.Endpoint == wechattest.Business {
			out.Calls.Checks++
		}
	}
	for a := range l.calls {
		all := l.explain(a)
		for i, e := range all {
			out.Calls.Total++
			if e.Rotated {
				out.Calls.Rotations++
			}
			out.Calls.Reasons[e.why]++
			if e.why == whySurplus {
				out.failf(l, a.appID, e.At.Add(-l.pace.life), e.At.Add(2*time.Second), "a surplus call for %s at %s:", a, l.stamp(e.At))
			}
			if e.Errcode != 0 && e.Fault == "" && !l.wrongSecret(a, e.At) {
				out.failf(l, a.appID, e.At.Add(-15*time.Second), e.At.Add(2*time.Second), "WeChat answered %d for %s at %s:", e.Errcode, a, l.stamp(e.At))
			}
			if i == 0 || !overlap(all[i-1].call, e.call) {
				continue
			}
			if e.process != all[i-1].process || e.why == whySecret || all[i-1].why == whySecret {
				out.Calls.AtOnce++
			} else {
				out.failf(l, a.appID, e.At.Add(-15*time.Second), e.At.Add(2*time.Second), "two calls at one time for %s at %s:", a, l.stamp(e.At))
			}
		}
	}
}

// forcedPerDay and forceSpacing are WeChat's limits.
const (
	forcedPerDay = 20
	forceSpacing = 30 * time.Second
)

func (out *report) forced(r *run) {
	l := r.ledger
	out.Forced.Refused = r.weChat.Counts("").ForceRefused
	for a, calls := range l.calls {
		var last *call
		n := 0
		for _, c := range calls {
			if !c.Forced || !c.carriedOut() {
				continue
			}
			n++
			if last != nil && last.process == c.process {
				if gap := c.At.Sub(last.At).Seconds(); out.Forced.Closest == 0 || gap < out.Forced.Closest {
					out.Forced.Closest = gap
				}
			}
			if last != nil && c.At.Sub(last.At) < forceSpacing && (c.process == last.process || l.foundBy(a, c, last)) && !l.deposed(c.process, c.At) {
				out.failf(l, a.appID, last.At.Add(-5*time.Second), c.At.Add(2*time.Second), "two forced calls within 30 s for %s at %s:", a, l.stamp(c.At))
			}
			last = c
		}
		out.Forced.Total += n
		out.Forced.Most = max(out.Forced.Most, n)
		if n > forcedPerDay {
			out.failf(l, "", time.Time{}, time.Time{}, "%d forced calls for %s, want %d at most", n, a, forcedPerDay)
		}
	}
}

func (out *report) spread(r *run) {
	l := r.ledger
	var all, calm []int
	disturbed := slices.Concat(l.leaderless(l.begun, time.Now()), l.outages, l.slow)
	for _, d := range l.damages {
		disturbed = append(disturbed, d.span)
	}
	for a, calls := range l.calls {
		for _, c := range calls {
			if !c.Rotated || !c.good() {
				continue
			}
			end, ok := r.everywhere(a, c)
			if !ok {
				continue
			}
			took := int(max(0, end.Sub(c.ended)).Milliseconds())
			all = append(all, took)
			if !slices.ContainsFunc(disturbed, func(s span) bool {
				return s.from.Before(end) && (s.to.IsZero() || s.to.Add(10*time.Second).After(c.At))
			}) {
				calm = append(calm, took)
			}
		}
	}
	slices.Sort(all)
	slices.Sort(calm)
	out.Spread = spreadTally{
		Tokens: len(all), Calm: len(calm),
		CalmP50: percentile(calm, 50), CalmP99: percentile(calm, 99), Worst: percentile(calm, 100),
		P99: percentile(all, 99), Longest: percentile(all, 100),
	}
}

// everywhere is when the last Secret of an account held the token of c or a newer
// one; false if one never did.
func (r *run) everywhere(a account, c *call) (time.Time, bool) {
	var end time.Time
	for _, t := range r.sharing(a) {
		i := slices.IndexFunc(r.ledger.secrets[t.index], func(s sighting) bool {
			m, known := r.ledger.tokens[s.token]
			return known && !m.seen.Before(c.At)
		})
		if i < 0 {
			return end, false
		}
		if at := r.ledger.secrets[t.index][i].at; at.After(end) {
			end = at
		}
	}
	return end, true
}

// percentile is of sorted values the one that so many percent do not exceed.
func percentile(sorted []int, percent int) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*percent/100]
}

// failed are all the ways in which the run was not as it should be.
func (out *report) failed() []string {
	all := slices.Clone(out.Failures)
	for what, lines := range map[string][]string{
		"not well in the end: ":     out.NotWell,
		"in the log of a manager: ": out.Leaks,
		"":                          out.Wrong,
	} {
		for _, line := range lines {
			all = append(all, what+line)
		}
	}
	return all
}

// print writes the report for people.
func (out *report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(n any, what string) { fmt.Fprintf(t, "%v\t  %s\n", n, what) }
	sum := 0
	for _, n := range out.Events {
		sum += n
	}
	row(sum, "events")
	for _, k := range slices.Sorted(maps.Keys(out.Events)) {
		row(out.Events[k], "  "+string(k))
	}
	row(out.Managers, fmt.Sprintf("processes of managers, %d of them led", out.Leaders))
	row(out.Consumer.Calls, fmt.Sprintf("calls of the consumers of %d Secrets", out.Tokens))
	row(out.Consumer.Faulty, "  that a fault of WeChat took")
	row(out.Consumer.Dead, "  with an invalid token")
	for _, why := range slices.Sorted(maps.Keys(out.Consumer.Excused)) {
		row(out.Consumer.Excused[why], "    excused: "+why)
	}
	row(out.Consumer.Unexcused, "    NOT excused")
	row(out.Calls.Total, fmt.Sprintf("calls to WeChat for a token, for %d accounts; %d made one", out.Accounts, out.Calls.Rotations))
	for _, why := range reasons {
		row(out.Calls.Reasons[why], "  "+why)
	}
	row(out.Calls.AtOnce, "  beside another one for the account, explained by two leaders or two AppSecrets")
	row(out.Calls.Checks, "questions to WeChat whether a token is valid")
	row(out.Forced.Total, fmt.Sprintf("forced calls; at most %d for one account, %.1f s apart or more, %d refused", out.Forced.Most, out.Forced.Closest, out.Forced.Refused))
	row(out.Spread.Tokens, fmt.Sprintf("new tokens that reached all Secrets of their account: p99 %d ms, worst %d ms", out.Spread.P99, out.Spread.Longest))
	row(out.Spread.Calm, fmt.Sprintf("  with nothing in the way: p50 %d ms, p99 %d ms, worst %d ms", out.Spread.CalmP50, out.Spread.CalmP99, out.Spread.Worst))
	row(len(out.NotWell), "objects not well in the end")
	row(len(out.Leaks), "secrets in the logs of the managers")
	_ = t.Flush() // a terminal that went away is a signal, see main
}

// save writes the report as JSON.
func (out *report) save(path string) error {
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

// overlap reports whether two calls were under way at one time.
func overlap(first, second *call) bool {
	ended := first.ended
	if first.left {
		ended = ended.Add(-noticing)
	}
	return ended.After(second.begun)
}
