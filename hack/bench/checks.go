package main

import "time"

const (
	// checkInterval is the default of a manager.
	checkInterval = time.Minute

	// checksOfCore is how much of a core the checks of 10,000 accounts may take, in percent.
	checksOfCore = 8
)

// checks: nothing happens but that each account is asked whether its token is still the
// one in use. The first of a process comes in its second interval at the latest, and is
// not measured: it makes connections.
func (w *world) checks(r *result) {
	w.start(append([]string{"--check-interval=" + checkInterval.String()}, electing...)...)
	before, p := w.calls(), begin("checks, the first of each account", len(w.apps))
	for first := time.Now(); w.calls()-before < len(w.apps); w.sleep(time.Second / 4) {
		p.Store(int64(w.calls() - before))
		if time.Since(first) > 3*checkInterval {
			w.Fatalf("%d of %d accounts were checked within 3 intervals", w.calls()-before, len(w.apps))
		}
	}
	p.end()
	t, begun := w.begin(), time.Now()
	p = begin("checks", 0)
	w.sleep(checkInterval)
	p.end()
	u := t.end("checks")
	r.judge("writes", float64(u.requests.writes().sum()), 0, "")
	r.judge("of a core", 100*u.cpuSeconds/time.Since(begun).Seconds(), checksOfCore, "%")
	r.add("CPU for each check", u.cpuSeconds*1000/float64(max(u.calls, 1)), "ms")
	r.used(u, 0)
}
