package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The judge knows no policy. It reads what WeChat was asked, what became of each
// token, and what each Secret held, and wants these promises kept:
//
//   - valid: no Secret holds an invalid token. Who mounts a Secret keeps what it held
//     when it was deleted.
//   - in time: a token has a successor before its end.
//   - follows: a token that WeChat has given reaches all Secrets of its account.
//   - needless: a token that a Secret holds is not fetched again in the first two
//     fifths of its life, nor ever by force, more often than somebody has asked. A plain
//     call that makes sure of it comes in its rhythm, and not when an operator starts.
//   - at once: an account has one call at a time, in each cluster.
//   - refused: WeChat refuses no call, and no force for its quota.
//
// They hold in both clusters, whatever the other one does. They do not hold while the run
// stands in the operator's way, nor until the operator has had the time to catch up: see
// obstacle. That time is
//
//   - prompt after a time without a leader that runs; and, for an appid, after the report
//     of a token that somebody outside had ended;
//   - patience after a time without an API server; and, for an appid, after the cluster
//     had an old AppSecret, after a Secret was damaged, and after a call of which the
//     next one must keep its distance;
//   - retry, for an appid, after a call that WeChat spoiled.
const (
	// prompt is more than the operator needs: a write that failed is tried again within
	// 10 s, and a new leader has looked at 1,000 WeChatTokens within 10 s.
	prompt = 15 * time.Second
	// patience holds 30 s until a watch is open again after the API server was away, 30 s
	// between two questions about a token, and 32 s between two forced calls.
	patience = 35*time.Second + prompt
	// retry holds the manager's --request-timeout and the longest wait after a failure,
	// which is a minute and a tenth.
	retry = 76*time.Second + prompt
)

// judge finds the promises that were not kept.
func (j *journal) judge() {
	for _, c := range j.calls {
		switch {
		case c.Fault != "":
			j.obstacles = append(j.obstacles, obstacle{c.At, c.At.Add(retry), 0, c.AppID, false})
		case c.Forced, c.Endpoint == wechattest.Business && !c.InvalidToken:
			j.obstacles = append(j.obstacles, obstacle{c.At, c.At.Add(patience), 0, c.AppID, true})
		}
	}
	slices.SortFunc(j.obstacles, func(a, b obstacle) int { return a.from.Compare(b.from) })
	for _, h := range j.histories() {
		h.secrets()
		h.inTime()
		h.needless()
		h.atOnce()
		h.refused()
	}
	slices.SortStableFunc(j.found, func(a, b note) int { return a.at.Compare(b.at) })
}

// history is what became of one account.
type history struct {
	*journal
	account

	clusters []int // that have a target of the account
	calls    []wechattest.Call
	tokens   []wechattest.Token // oldest first
	holdings []holding
}

// holding is a time in which who mounts a Secret finds a token there.
type holding struct {
	cluster  int
	secret   string
	from, to time.Time
	token    wechattest.Token // one that was never made is as old as can be
}

func (j *journal) histories() map[account]*history {
	all, known := map[account]*history{}, map[string]wechattest.Token{}
	for _, t := range j.targets {
		if all[t.account] == nil {
			all[t.account] = &history{journal: j, account: t.account}
		}
		if h := all[t.account]; !slices.Contains(h.clusters, t.cluster) {
			h.clusters = append(h.clusters, t.cluster)
		}
	}
	for _, c := range j.calls {
		if h := all[account{c.AppID, c.Endpoint}]; h != nil {
			h.calls = append(h.calls, c)
		}
	}
	for _, t := range j.tokens {
		if h := all[account{t.AppID, t.Endpoint}]; h != nil {
			h.tokens = append(h.tokens, t)
			known[t.Fingerprint] = t
		}
	}
	for i, t := range j.targets {
		h, to := all[t.account], j.ended
		for _, v := range slices.Backward(j.versions[i]) {
			token := known[v.token()]
			if token.AppID != t.account.appID || token.Endpoint != t.account.endpoint {
				token = wechattest.Token{Fingerprint: v.token()}
			}
			if v.value != "" {
				h.holdings, to = append(h.holdings, holding{t.cluster, t.key(), v.at, to, token}), v.at
			}
		}
	}
	return all
}

// secrets judges what the Secrets held.
func (h *history) secrets() {
	for _, s := range h.holdings {
		if at, ok := h.free(s.cluster, latest(s.from, s.token.Ends), s.to); ok {
			h.missf(at, "valid: %s holds %s, which is invalid", s.secret, s.token.Fingerprint)
		}
		i := slices.IndexFunc(h.calls, func(c wechattest.Call) bool {
			return good(c) && c.Rotated && c.At.After(s.token.Issued)
		})
		if i < 0 {
			continue
		}
		if at, ok := h.free(s.cluster, latest(s.from, h.calls[i].At.Add(prompt)), s.to); ok {
			h.missf(at, "follows: %s holds %s, and WeChat has given %s", s.secret, s.token.Fingerprint, h.calls[i].Token)
		}
	}
}

// due is when a token must have a successor: with a quarter of the window left, so that
// an operator that is late is seen before the token is invalid.
func (h *history) due(t wechattest.Token) time.Time { return t.Expires.Add(-window(h.life) / 4) }

func (h *history) inTime() {
	for i, t := range h.tokens {
		due := h.due(t)
		succeeded := i+1 < len(h.tokens) && h.tokens[i+1].Issued.Before(due)
		if !succeeded && due.Before(h.ended) && h.calmAt(due) {
			h.missf(due, "in time: %s has no successor", t.Fingerprint)
		}
	}
}

// needless leaves out accounts that the run has given a reason to call, but not what it
// does to leaders and the API server: that is none. A new leader may ask for the present
// token before it forces one, for a request that came too late for that.
func (h *history) needless() {
	made := 0
	for _, c := range h.calls {
		var newest wechattest.Token
		for _, t := range h.tokens {
			if t.Issued.Before(c.At) {
				newest = t
			}
		}
		if !h.repeats(c, newest) || h.inTheWay(c.At, 0, h.appID) || h.deposed(c) || h.inRhythm(c) {
			continue
		}
		asked, pending := 0, false
		for _, r := range h.requests {
			if r.account == h.account && r.at.Before(c.At) {
				asked, pending = asked+1, pending || r.at.After(newest.Issued.Add(-patience))
			}
		}
		if c.Rotated {
			made++
		}
		pending = pending || slices.ContainsFunc(h.reports, func(r request) bool {
			return r.account == h.account && r.at.Before(c.At) && r.at.After(c.At.Add(-patience))
		})
		if made > asked || !c.Rotated && !pending {
			h.missf(c.At, "needless: a call beside a valid token, new %t; %d were made, and %d asked for", c.Rotated, made, asked)
		}
	}
}

// repeats reports whether a call came by force, or early, while a Secret held the newest
// token, which was valid, and had done so for long enough to be noticed.
func (h *history) repeats(c wechattest.Call, newest wechattest.Token) bool {
	early := c.At.Before(newest.Issued.Add(h.life * 2 / 5))
	return good(c) && (c.Forced || early) && !newest.Ends.Before(c.At) && slices.ContainsFunc(h.holdings, func(s holding) bool {
		return s.token == newest && s.from.Before(c.At.Add(-time.Second)) && s.to.After(c.At)
	})
}

// inRhythm reports whether a call is one of the plain ones by which an operator makes
// sure of a token: half an interval or more after its last call, and not as soon as it
// leads.
func (h *history) inRhythm(c wechattest.Call) bool {
	interval := window(h.life) / 5
	from := h.tookOver(c.From).Add(interval * 9 / 10)
	for _, last := range h.calls {
		if last.From == c.From && last.At.Before(c.At) {
			from = latest(from, last.At.Add(interval*2/5))
		}
	}
	return h.endpoint == wechattest.Stable && !c.Forced && !c.Rotated && !c.At.Before(from)
}

// tookOver is when a process got the lease.
func (h *history) tookOver(process netip.Addr) (at time.Time) {
	for _, t := range h.takeovers {
		if addressOf(t.process) == process {
			at = t.at
		}
	}
	return at
}

// deposed reports whether no process leads that makes a call, which may not know yet.
func (h *history) deposed(c wechattest.Call) bool {
	leaders := map[int]int{} // by cluster
	for _, t := range h.takeovers {
		if t.at.Before(c.At) {
			leaders[t.cluster] = t.process
		}
	}
	return !slices.ContainsFunc(h.clusters, func(cluster int) bool { return addressOf(leaders[cluster]) == c.From })
}

// clusterOf is the cluster of a process.
func (h *history) clusterOf(process netip.Addr) int {
	i := slices.IndexFunc(h.takeovers, func(t takeover) bool { return addressOf(t.process) == process })
	if i < 0 {
		return -1
	}
	return h.takeovers[i].cluster
}

// atOnce leaves out an AppSecret that is being replaced: then there are two accounts. No
// answer is out before latency has passed.
func (h *history) atOnce() {
	var last wechattest.Call
	for _, c := range h.calls {
		if c.At.Before(last.At.Add(latency)) && last.From == c.From && !h.inTheWay(c.At, 0, h.appID) {
			h.missf(c.At, "at once: the call before began only %s earlier", c.At.Sub(last.At))
		}
		if h.clusterOf(last.From) == h.clusterOf(c.From) || c.At.After(last.At.Add(latency)) {
			last = c
		}
	}
}

// refused leaves out a leader that may have ended before it could note down that it has
// forced, and what another cluster has forced: nobody tells an operator of it in time.
func (h *history) refused() {
	var forced wechattest.Call
	for _, c := range h.calls {
		switch {
		case c.Errcode != 0 && c.Fault == "" && !h.inTheWay(c.At, 0, h.appID):
			h.missf(c.At, "refused: WeChat answers %d", c.Errcode)
		case c.ForceRefused && len(h.clusters) > 1:
		case c.ForceRefused && (c.From == forced.From || h.calmAt(c.At) && h.calmAt(forced.At)):
			h.missf(c.At, "refused: a forced call comes %s after the last", c.At.Sub(forced.At))
		case c.Forced && c.Rotated:
			forced = c
		}
	}
}

// free is the first moment between two in which nothing was in the way in a cluster.
func (h *history) free(cluster int, from, to time.Time) (at time.Time, ok bool) {
	at = from
	for _, o := range h.obstacles {
		if (o.appID == "" && o.cluster == cluster || o.appID == h.appID) && !o.from.After(at) && o.to.After(at) {
			at = o.to
		}
	}
	return at, at.Before(to)
}

// calmAt reports whether nothing was in the way in a moment, in one cluster of the
// account at least, that keeps a token from its successor.
func (h *history) calmAt(at time.Time) bool {
	calm := func(cluster int) bool { return !h.inTheWay(at, cluster, "") }
	return slices.ContainsFunc(h.clusters, calm) && !h.inTheWay(at, 0, h.appID)
}

// inTheWay reports whether the run stood in the way of an appid, or, if that is empty, of
// a cluster.
func (h *history) inTheWay(at time.Time, cluster int, appID string) bool {
	return slices.ContainsFunc(h.obstacles, func(o obstacle) bool {
		return o.appID == appID && (appID != "" || o.cluster == cluster) && !o.spacing && !o.from.After(at) && o.to.After(at)
	})
}

func (h *history) missf(at time.Time, format string, args ...any) {
	h.found = append(h.found, note{at, h.appID, fmt.Sprintf(format, args...) + fmt.Sprintf(" (%s %s)", h.appID, h.endpoint)})
}

// good reports whether a call has brought a token.
func good(c wechattest.Call) bool { return c.Token != "" && c.Fault == "" }

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
