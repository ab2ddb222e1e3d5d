package wechattest

import "net/http"

func readClassic(r *http.Request, req *request) {
	if r.Method != http.MethodGet {
		req.refuse(43001)
		return
	}
	query := r.URL.Query()
	req.grantType, req.appID, req.secret = query.Get("grant_type"), query.Get("appid"), query.Get("secret")
}

func (s *Server) classic(req *request) reply { return s.admit(req, s.issueClassic) }

// issueClassic makes a new token at every call; the one before it stays valid for
// the overlap (getAccessToken). The tokens before that keep the ends they have.
func (s *Server) issueClassic(a *account, req *request) reply {
	now := req.at
	if a.classicDay.spent(day(now), s.cfg.ClassicPerDay) {
		return refuse(45009, req)
	}
	a.classicDay.take(day(now))
	return grant(s.succeed(a, &a.classic, now, now.Add(s.cfg.Overlap)), now, true)
}
