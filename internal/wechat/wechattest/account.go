package wechattest

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// account is a WeChat account. Its two endpoints share nothing but the secret:
// their tokens do not disturb each other (getStableAccessToken).
type account struct {
	appID string

	mu     sync.Mutex // guards all below, and the tokens of the account
	secret string
	frozen bool
	allow  []netip.Prefix // empty: Config.AllowIPs

	stable, classic                             lineage
	stableMinute, stableDay, classicDay, forced quota
	lastForced                                  time.Time

	tickets   map[TicketKind][]*ticket // the present one last
	ticketDay quota

	businessDay map[string]quota // by path
}

// lineage is the tokens of one endpoint, past ones oldest first.
type lineage struct {
	present *token
	past    []*token
}

// quota counts calls in the present period, a day or a minute.
type quota struct {
	period int64
	used   int
}

func (q *quota) spent(period int64, limit int) bool {
	return q.period == period && q.used >= limit
}

func (q *quota) take(period int64) {
	if q.period != period {
		*q = quota{period: period}
	}
	q.used++
}

// china is the clock by which WeChat's days begin; it knows no summer time.
const china = 8 * 60 * 60

// day numbers the days that begin at midnight UTC+8. That the limits reset
// then is undocumented.
func day(t time.Time) int64 { return (t.Unix() + china) / (24 * 60 * 60) }

func minute(t time.Time) int64 { return t.Unix() / 60 }

// admit answers a call for a token: issue gets an account that is locked and
// whose caller may have a token. A call that is refused before that costs no
// quota; what it costs at WeChat is undocumented.
func (s *Server) admit(req *request, issue func(*account, *request) reply) reply {
	switch {
	case req.refused != nil:
		return *req.refused
	case req.appID == "":
		return refuse(41002, req)
	case req.secret == "":
		return refuse(41004, req)
	case req.grantType != "client_credential":
		return refuse(40002, req)
	}
	a, ok := s.lookup(req.appID)
	if !ok && s.cfg.OpenAccounts && wellFormed.MatchString(req.appID) {
		a, ok = s.add(req.appID, req.secret), true
	}
	if !ok {
		return refuse(40013, req)
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case req.secret != a.secret:
		return refuse(40125, req)
	case a.frozen:
		return refuse(40243, req)
	case !s.allowed(a, req.from):
		return refuse(40164, req)
	}
	return issue(a, req)
}

func (s *Server) allowed(a *account, from netip.Addr) bool {
	list := a.allow
	if len(list) == 0 {
		list = s.cfg.AllowIPs
	}
	return list == nil || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(from) })
}
