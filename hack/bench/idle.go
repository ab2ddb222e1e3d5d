package main

import "time"

// idleFor is how long nothing happens.
const idleFor = time.Minute

// idle: a minute of nothing, with the leader election that a manager has by
// default.
func (w *world) idle(r *result) {
	w.start(electing...)
	w.awaitLeader()
	w.quiet()
	t := w.begin()
	p := begin("idle", 0)
	w.sleep(idleFor)
	p.end()
	u := t.end("idle")
	r.judge("writes", float64(u.requests.writes().sum()), 0, "")
	r.used(u, 0)
}
