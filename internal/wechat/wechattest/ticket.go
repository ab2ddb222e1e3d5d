package wechattest

import (
	"net/http"
	"time"
)

// TicketKind is a type of ticket, as a call names it.
type TicketKind string

// The types.
const (
	JSAPI  TicketKind = "jsapi"
	WxCard TicketKind = "wx_card"
)

// ticket is a ticket of one account. It never changes.
type ticket struct {
	value  string
	period int64     // see Server.period
	ends   time.Time // when it expires
}

// ticketBody is the success of getticket.
type ticketBody struct {
	Errcode   int    `json:"errcode"`
	Errmsg    string `json:"errmsg"`
	Ticket    string `json:"ticket"`
	ExpiresIn int64  `json:"expires_in"`
}

func (s *Server) ticketBody(value string) ticketBody {
	return ticketBody{Errmsg: "ok", Ticket: value, ExpiresIn: int64(s.cfg.TicketLife / time.Second)}
}

func readTicket(r *http.Request, req *request) {
	readBusiness(r, req)
	req.ticket = TicketKind(r.URL.Query().Get("type"))
}

// ticket answers getticket. That a wrong type is 40097 (invalid args) is a
// guess: it is the errcode for arguments that are wrong.
func (s *Server) ticket(req *request) reply {
	if rep, ok := refuseToken(req); !ok {
		return rep
	}
	if req.ticket != JSAPI && req.ticket != WxCard {
		return refuse(40097, req)
	}
	a := req.known.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ticketDay.spent(day(req.at), s.cfg.TicketsPerDay) {
		return refuse(45009, req)
	}
	a.ticketDay.take(day(req.at))

	t, isNew := s.presentTicket(a, req.ticket, req.at)
	return reply{body: s.ticketBody(t.value), rotated: isNew}
}

// period numbers the tickets of a type: each begins at a multiple of the life
// since 1970, with WeChat's two hours so on the hour (observed: "on the hour,
// every two hours").
func (s *Server) period(now time.Time) int64 { return now.UnixNano() / int64(s.cfg.TicketLife) }

// presentTicket is the ticket of the present period, the same for everybody. The
// one before stays valid for the overlap. The account is locked.
func (s *Server) presentTicket(a *account, kind TicketKind, now time.Time) (t *ticket, isNew bool) {
	if a.tickets == nil {
		a.tickets = map[TicketKind][]*ticket{}
	}
	all := a.tickets[kind]
	period := s.period(now)
	if n := len(all); n > 0 && all[n-1].period >= period { // a clock may be set back
		return all[n-1], false
	}
	for len(all) > 0 && !now.Before(all[0].ends) {
		s.tickets.Delete(all[0].value)
		all = all[1:]
	}
	t = &ticket{
		value:  mint(s.cfg.TokenLength),
		period: period,
		ends:   time.Unix(0, (period+1)*int64(s.cfg.TicketLife)).Add(s.cfg.TicketOverlap),
	}
	a.tickets[kind] = append(all, t)
	s.tickets.Store(t.value, t)
	return t, true
}

// TicketValid reports whether a page that is signed with this ticket now is
// taken: the ticket is the present one, or the one before within the overlap.
func (s *Server) TicketValid(value string) bool { return time.Now().Before(s.TicketEnd(value)) }

// TicketEnd is when a ticket expires; zero for one that nobody made.
func (s *Server) TicketEnd(value string) time.Time {
	found, ok := s.tickets.Load(value)
	if !ok {
		return time.Time{}
	}
	return found.(*ticket).ends
}
