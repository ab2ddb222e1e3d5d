package main

// restart: the manager is killed and started again, and at once there is
// something to do.
func (w *world) restart(r *result) {
	w.quiet()
	a := w.unforced(1)[0]
	w.manager.Kill()
	called := w.weChat.Counts(a.appID).Stable.Calls
	t := w.begin()
	p := begin("restart", 1)
	defer p.end()
	w.manager = w.launch()
	seen, took := w.collect(1, p, func() error { return w.force(a) })
	if _, ok := seen[a.key()]; !ok {
		w.Fatalf("the token of another WeChatToken than %s was replaced after the restart", a.key())
	}
	if w.profile != "" { // of a manager that is yet to be started it cannot begin earlier
		w.manager.AwaitReady()
		w.beginProfile()
	}
	u := t.end("restart")
	called = w.weChat.Counts(a.appID).Stable.Calls - called
	r.judge("until a forced refresh is done", took.Seconds(), 3, "s")
	r.judge("WeChat calls for other tokens", float64(u.calls-called), 0, "")
	r.judge("writes beside those of the forced one", float64(strayWrites(u.requests)), 0, "")
	r.used(u, 0)
}

// strayWrites are those that do not belong to one forced refresh: that is a
// Secret, a status, and the event that tells of it.
func strayWrites(made counts) int {
	stray := 0
	for _, n := range made.writes().less(counts{"APPLY secrets": 1, "PATCH wechattokens/status": 1, "POST events": 1}) {
		stray += max(n, -n)
	}
	return stray
}
