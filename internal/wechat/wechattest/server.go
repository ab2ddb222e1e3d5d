package wechattest

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Endpoint is a part of the WeChat API.
type Endpoint string

const (
	// Stable is POST /cgi-bin/stable_token (getStableAccessToken).
	Stable Endpoint = "stable"
	// Classic is GET /cgi-bin/token (getAccessToken).
	Classic Endpoint = "classic"
	// Business is every other call that needs a token: GET
	// /cgi-bin/get_api_domain_ip (getApiDomainIp) and GET /cgi-bin/getcallbackip
	// (getCallbackIp).
	Business Endpoint = "business"
	// Ticket is GET /cgi-bin/ticket/getticket.
	Ticket Endpoint = "ticket"
)

// Server is a fake WeChat API. Make one with [New]. All methods are safe for
// concurrent use. SetSecret, Freeze, Allow and Rotate panic if the account does
// not exist.
type Server struct {
	cfg Config
	mux *http.ServeMux

	mu       sync.RWMutex
	accounts map[string]*account

	tokens  sync.Map // string to *token: all that are valid, or were until lately
	tickets sync.Map // string to *ticket: likewise
	faults  faults
	journal journal
	answers atomic.Uint64
	offset  atomic.Int64 // of the clock
}

// New makes a Server without accounts. It panics if cfg does not pass
// [Config.Check].
func New(cfg Config) *Server {
	if err := cfg.Check(); err != nil {
		panic("wechattest: " + err.Error())
	}
	s := &Server{
		cfg:      cfg.complete(),
		mux:      http.NewServeMux(),
		accounts: map[string]*account{},
		journal:  newJournal(),
	}
	s.SetClock(cfg.ClockOffset)
	s.mux.HandleFunc("/cgi-bin/stable_token", s.serve(Stable, readStable, s.stable))
	s.mux.HandleFunc("/cgi-bin/token", s.serve(Classic, readClassic, s.classic))
	for path, ips := range ipLists {
		s.mux.HandleFunc(path, s.serve(Business, readBusiness, s.business(path, ips)))
	}
	s.mux.HandleFunc("/cgi-bin/ticket/getticket", s.serve(Ticket, readTicket, s.ticket))
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		page(http.StatusNotFound).write(w, r)
	})
	s.routeAdmin()
	return s
}

// ServeHTTP answers as WeChat does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// serve is the way of every call: read it, let a fault take it or process it,
// note it down, answer.
func (s *Server) serve(e Endpoint, read func(*http.Request, *request), process func(*request) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req := &request{endpoint: e, from: caller(r), uri: r.URL.RequestURI()}
		read(r, req)
		req.at = time.Now()
		if e == Business || e == Ticket {
			s.resolve(req)
		}

		fault, faulty := s.faults.take(req.appID, e, req.at)
		var rep reply
		var ans answer
		switch {
		case !faulty:
			rep = process(req)
			ans = s.render(rep, req.at)
		case fault.processed():
			rep = process(req)
			ans = fault.spoil(rep, func(r reply) answer { return s.render(r, req.at) })
		default:
			ans = s.fail(fault, req)
		}
		ans.delay += s.cfg.Latency

		s.note(req, rep, fault, ans)
		w.Header().Set("Date", s.clock(req.at).UTC().Format(http.TimeFormat))
		ans.write(w, r)
	}
}

// note records the call. Nobody holds a lock here.
func (s *Server) note(req *request, rep reply, fault Fault, ans answer) {
	call := Call{
		At:           req.at,
		Endpoint:     req.endpoint,
		From:         req.from,
		Forced:       req.force,
		Rotated:      rep.rotated,
		Errcode:      rep.errcode,
		Status:       ans.sentStatus(),
		Fault:        fault.Kind,
		InvalidToken: rep.invalidToken,
		Ticket:       req.ticket,
		ForceRefused: rep.forceRefused,
	}
	if req.known != nil {
		call.Token = fingerprint(req.token)
	} else if given, ok := rep.body.(tokenBody); ok {
		call.Token = fingerprint(given.AccessToken)
	}
	switch fault.Kind {
	case FaultErrcode:
		call.Errcode = fault.Code
	case FaultNull:
		call.Errcode = systemErrorNull
	}
	// Anything else may be a secret in the wrong place.
	if call.Ticket != JSAPI && call.Ticket != WxCard {
		call.Ticket = ""
	}
	_, known := s.lookup(req.appID)
	if known || wellFormed.MatchString(req.appID) {
		call.AppID = req.appID
	}
	s.journal.add(call, known || s.cfg.OpenAccounts && call.AppID != "")
	if s.cfg.Observe != nil {
		s.cfg.Observe(call)
	}
}

// wellFormed is the form of the appids that WeChat gives out (observed).
var wellFormed = regexp.MustCompile(`^wx[0-9a-f]{16}$`)

// AddAccount adds an account, or gives an account that exists another secret.
func (s *Server) AddAccount(appID, secret string) {
	a := s.add(appID, secret)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secret = secret
}

// SetSecret resets the AppSecret of an account. Its tokens stay valid; whether
// they do at WeChat is undocumented.
func (s *Server) SetSecret(appID, secret string) {
	a := s.must(appID)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secret = secret
}

// Freeze freezes or unfreezes the AppSecret of an account, at once: calls for
// a token then answer 40243 (getAccessToken). Its tokens stay valid; whether
// they do at WeChat is undocumented. The ten minutes that WeChat takes for it are
// left out.
func (s *Server) Freeze(appID string, frozen bool) {
	a := s.must(appID)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frozen = frozen
}

// Allow lets only callers in prefixes ask for this account's tokens, whatever
// [Config.AllowIPs] says. Without prefixes AllowIPs counts again.
func (s *Server) Allow(appID string, prefixes ...netip.Prefix) {
	a := s.must(appID)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.allow = slices.Clone(prefixes)
}

// SetClock sets how far the server's clock is ahead, as [Config.ClockOffset] does.
func (s *Server) SetClock(ahead time.Duration) { s.offset.Store(int64(ahead)) }

// clock is what the server's clock shows at now.
func (s *Server) clock(now time.Time) time.Time { return now.Add(time.Duration(s.offset.Load())) }

// Rotate makes a new classic token for an account, as if somebody outside had
// called /cgi-bin/token. It counts towards the day's limit and is never refused.
func (s *Server) Rotate(appID string) {
	a := s.must(appID)
	now := time.Now()
	a.mu.Lock()
	a.classicDay.take(day(now))
	s.succeed(a, &a.classic, now, now.Add(s.cfg.Overlap))
	a.mu.Unlock()
	s.journal.rotatedOutside(appID)
}

// Revoke makes a token invalid before its time, as users of WeChat have seen
// happen. The token stays the present one: a stable call that is not forced still
// returns it. Revoke reports whether the token was valid.
func (s *Server) Revoke(value string) bool {
	return s.withToken(value, func(t *token, now time.Time) bool {
		valid := t.valid(now)
		t.ends = earlier(t.ends, now)
		return valid
	})
}

// Valid reports whether a token is valid now. It is no call and costs no quota.
func (s *Server) Valid(value string) bool {
	return s.withToken(value, (*token).valid)
}

func (s *Server) withToken(value string, f func(*token, time.Time) bool) bool {
	t, ok := s.find(value)
	if !ok {
		return false
	}
	t.account.mu.Lock()
	defer t.account.mu.Unlock()
	return f(t, time.Now())
}

func (s *Server) lookup(appID string) (*account, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, ok := s.accounts[appID]
	return a, ok
}

func (s *Server) must(appID string) *account {
	a, ok := s.lookup(appID)
	if !ok {
		panic(fmt.Sprintf("wechattest: no account %q", appID))
	}
	return a
}

// add returns the account; secret counts only if it did not exist.
func (s *Server) add(appID, secret string) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[appID]
	if !ok {
		a = &account{appID: appID, secret: secret, businessDay: map[string]quota{}}
		s.accounts[appID] = a
	}
	return a
}
