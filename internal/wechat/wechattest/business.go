package wechattest

import "net/http"

// ipLists are the business calls by their path, with what each lists: the examples of
// getApiDomainIp and getCallbackIp. The table of getCallbackIp calls the list a string, its
// example is an array.
var ipLists = map[string][]string{
	"/cgi-bin/get_api_domain_ip": {"101.226.62.77", "101.226.62.78", "101.226.62.79", "101.226.62.80"},
	"/cgi-bin/getcallbackip":     {"106.55.206.146", "106.55.206.211"},
}

// ipBody is the success of a business call. It has no errcode.
type ipBody struct {
	IPList []string `json:"ip_list"`
}

func readBusiness(r *http.Request, req *request) {
	req.token = r.URL.Query().Get("access_token")
	req.readBody(r)
}

// resolve finds the account of a call by its token.
func (s *Server) resolve(req *request) {
	if t, ok := s.find(req.token); ok {
		req.known, req.appID = t, t.account.appID
	}
}

// business answers a call of path, which needs a token and lists ips. A call with an invalid
// token costs no quota; what it costs at WeChat is undocumented.
func (s *Server) business(path string, ips []string) func(*request) reply {
	return func(req *request) reply {
		if rep, ok := refuseToken(req); !ok {
			return rep
		}
		a := req.known.account
		a.mu.Lock()
		defer a.mu.Unlock()
		q := a.businessDay[path]
		if q.spent(day(req.at), s.cfg.BusinessPerDay) {
			return refuse(45009, req)
		}
		q.take(day(req.at))
		a.businessDay[path] = q
		return reply{body: ipBody{ips}}
	}
}

// refuseToken is the answer to a call whose token is not valid; otherwise it
// reports true. The list of allowed callers does not count here, as for mini
// programs; for official accounts WeChat looks at it too ("IP whitelist").
func refuseToken(req *request) (rep reply, valid bool) {
	if req.token == "" {
		return refuse(41001, req), false
	}
	if req.known == nil {
		return invalid(40001, req), false
	}

	req.known.account.mu.Lock()
	t := *req.known
	req.known.account.mu.Unlock()
	switch {
	case t.valid(req.at):
		return reply{}, true
	case t.ends.Equal(t.expires):
		return invalid(42001, req), false
	default:
		return invalid(40001, req), false
	}
}

func invalid(code int, req *request) reply {
	rep := refuse(code, req)
	rep.invalidToken = true
	return rep
}
