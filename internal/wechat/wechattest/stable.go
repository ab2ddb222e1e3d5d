package wechattest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// readStable reads a JSON body. A body without Content-Length is refused by
// the web server before WeChat (observed: 412), and what is no JSON object at
// all, a form, has no appid in it (observed: 41002).
func readStable(r *http.Request, req *request) {
	if r.Method != http.MethodPost {
		req.refuse(43002)
		return
	}
	if r.ContentLength < 0 {
		req.refused = &reply{status: http.StatusPreconditionFailed}
		return
	}
	req.readBody(r)

	var body struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}
	err := json.Unmarshal(req.body, &body)
	req.grantType, req.appID, req.secret, req.force = body.GrantType, body.AppID, body.Secret, body.ForceRefresh
	if err != nil && bytes.HasPrefix(bytes.TrimSpace(req.body), []byte("{")) {
		req.refuse(47001)
	}
}

func (s *Server) stable(req *request) reply { return s.admit(req, s.issueStable) }

func (s *Server) issueStable(a *account, req *request) reply {
	now := req.at
	switch {
	case a.stableDay.spent(day(now), s.cfg.StablePerDay):
		return refuse(45009, req)
	case a.stableMinute.spent(minute(now), s.cfg.StablePerMinute):
		return refuse(45011, req)
	}
	a.stableDay.take(day(now))
	a.stableMinute.take(minute(now))

	forceRefused := req.force && !s.mayForce(a, now)
	if forceRefused && s.cfg.ForceRefusedCode != 0 {
		rep := refuse(s.cfg.ForceRefusedCode, req)
		rep.forceRefused = true
		return rep
	}
	if req.force && !forceRefused {
		a.forced.take(day(now))
		a.lastForced = now
		return grant(s.force(a, now), now, true)
	}

	rep := s.present(a, now)
	rep.forceRefused = forceRefused
	return rep
}

func (s *Server) mayForce(a *account, now time.Time) bool {
	soon := !a.lastForced.IsZero() && now.Before(a.lastForced.Add(s.cfg.ForceSpacing))
	return !soon && !a.forced.spent(day(now), s.cfg.ForcedPerDay)
}

// force replaces the present token and ends all before it at once: two forced
// calls are how a leaked token is revoked (getStableAccessToken).
func (s *Server) force(a *account, now time.Time) *token {
	for _, t := range a.stable.past {
		t.ends = earlier(t.ends, now)
	}
	return s.succeed(a, &a.stable, now, now.Add(s.cfg.Overlap))
}

// present returns the present token until its window begins, even one that was
// revoked, and then the next, beside which the old one stays valid
// (getStableAccessToken).
func (s *Server) present(a *account, now time.Time) reply {
	t := a.stable.present
	if t != nil && t.expires.Sub(now) > s.cfg.Window && t.remaining(now) > 0 {
		return grant(t, now, false)
	}
	return grant(s.succeed(a, &a.stable, now, now.Add(s.cfg.Life)), now, true)
}
