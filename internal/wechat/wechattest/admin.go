package wechattest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// adminHelp is what GET /fake/ says.
const adminHelp = `This is a fake of the WeChat API. It answers

  POST /cgi-bin/stable_token                  endpoint "stable"
  GET  /cgi-bin/token                         endpoint "classic"
       /cgi-bin/get_api_domain_ip             endpoint "business"
       /cgi-bin/getcallbackip                 likewise
  GET  /cgi-bin/ticket/getticket              endpoint "ticket"

and is governed by

  GET    /fake/stats[?appid=A]                counts over all calls, and per account
  GET    /fake/accounts                       the accounts; never a secret or a token
  PUT    /fake/accounts/A                     {"secret":"S","frozen":false,"allowIPs":["10.0.0.0/8"]}
                                              adds an account, which needs a secret, or changes
                                              what is given; "allowIPs":[] follows the server's list
  POST   /fake/accounts/A/rotate              as if somebody outside called /cgi-bin/token
  POST   /fake/kill                           {"token":"T"} revokes a token before its time
  POST   /fake/ticket                         {"ticket":"T"} answers {"valid":true} if what is
                                              signed with it now is taken
  PUT    /fake/clock                          {"ahead":"-90s"} sets the clock that the answers show,
                                              in the header Date and the rid, ahead or behind
  GET    /fake/faults                         the faults that can still take a call
  POST   /fake/faults                         sets a fault, answers {"id":N}
  DELETE /fake/faults[?id=N]                  clears one fault, or all

A fault is {"kind":K} and optionally
  "appid":"A", "endpoint":"stable"            whose calls fail; all if left out. A business or ticket
                                              call is of the account of its token
  "count":3, "for":"30s"                      for how many calls, for how long; no end if left out
Kinds. Before the call is processed:
  errcode    "code":45009, "message":"..."    that errcode, with the usual or this message
  status     "status":502                     that HTTP status and an HTML page
  hang       "delay":"10s"                    silence, until the caller goes away or that long
  reset                                       the TCP connection is reset
  garbage                                     something that is not JSON
  null                                        errcode -1000 beside a null token
  empty                                       a success whose token or ticket is empty; of a business call, its list
  huge       "bytes":4194304                  a success with a token of that length; the same
  echo                                        an HTML page that quotes the request, AppSecret included
After the call is processed, new token and all:
  truncated                                   half of the answer
  badttl     "expiresIn":0                    that expires_in
  lost                                        the TCP connection is reset instead of an answer
  slow       "delay":"2s"                     the answer, that much later
  textplain                                   the answer as text/plain
`

func (s *Server) routeAdmin() {
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /fake/stats":                    s.getStats,
		"GET /fake/accounts":                 s.getAccounts,
		"PUT /fake/accounts/{appid}":         s.putAccount,
		"POST /fake/accounts/{appid}/rotate": s.postRotate,
		"POST /fake/kill":                    s.postRevoke,
		"POST /fake/ticket":                  s.postTicket,
		"PUT /fake/clock":                    s.putClock,
		"GET /fake/faults":                   s.getFaults,
		"POST /fake/faults":                  s.postFault,
		"DELETE /fake/faults":                s.deleteFaults,
	} {
		s.mux.HandleFunc(pattern, admin(handle))
	}
	s.mux.HandleFunc("GET /fake/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, adminHelp)
	})
	s.mux.HandleFunc("/fake/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "nothing here, see GET /fake/", http.StatusNotFound)
	})
}

var errNotFound = errors.New("not found")

// admin answers with JSON, or with 204 if there is nothing to say.
func admin(handle func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := handle(r)
		switch {
		case errors.Is(err, errNotFound):
			http.Error(w, err.Error(), http.StatusNotFound)
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case v == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(append(marshal(v), '\n'))
		}
	}
}

// decode refuses what it does not know, so that a misspelt field is noticed.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func (s *Server) getStats(r *http.Request) (any, error) {
	if appID := r.URL.Query().Get("appid"); appID != "" {
		return s.Counts(appID), nil
	}
	return struct {
		Total    Counts            `json:"total"`
		Accounts map[string]Counts `json:"accounts"`
	}{s.Counts(""), s.journal.all()}, nil
}

// accountState is what may be known of an account: no secret and no token.
type accountState struct {
	AppID    string         `json:"appid"`
	Frozen   bool           `json:"frozen"`
	AllowIPs []netip.Prefix `json:"allowIPs,omitempty"`
	Stable   *tokenState    `json:"stable,omitempty"`
	Classic  *tokenState    `json:"classic,omitempty"`
}

// tokenState is the present token of an endpoint.
type tokenState struct {
	Fingerprint string    `json:"fingerprint"` // as Token's
	ExpiresAt   time.Time `json:"expiresAt"`
	Valid       bool      `json:"valid"`
}

func (s *Server) getAccounts(*http.Request) (any, error) {
	s.mu.RLock()
	all := make([]*account, 0, len(s.accounts))
	for _, a := range s.accounts {
		all = append(all, a)
	}
	s.mu.RUnlock()

	now := time.Now()
	states := make([]accountState, len(all))
	for i, a := range all {
		states[i] = a.state(now)
	}
	slices.SortFunc(states, func(a, b accountState) int { return strings.Compare(a.AppID, b.AppID) })
	return states, nil
}

func (a *account) state(now time.Time) accountState {
	a.mu.Lock()
	defer a.mu.Unlock()
	return accountState{
		AppID:    a.appID,
		Frozen:   a.frozen,
		AllowIPs: a.allow,
		Stable:   a.stable.present.state(now),
		Classic:  a.classic.present.state(now),
	}
}

func (t *token) state(now time.Time) *tokenState {
	if t == nil {
		return nil
	}
	return &tokenState{Fingerprint: fingerprint(t.value), ExpiresAt: t.expires.UTC(), Valid: t.valid(now)}
}

func (s *Server) putAccount(r *http.Request) (any, error) {
	var in struct {
		Secret   string         `json:"secret"`
		Frozen   *bool          `json:"frozen"`
		AllowIPs []netip.Prefix `json:"allowIPs"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	appID := r.PathValue("appid")
	if _, known := s.lookup(appID); !known && in.Secret == "" {
		return nil, errors.New("a new account needs a secret")
	}
	if in.Secret != "" {
		s.AddAccount(appID, in.Secret)
	}
	if in.Frozen != nil {
		s.Freeze(appID, *in.Frozen)
	}
	if in.AllowIPs != nil {
		s.Allow(appID, in.AllowIPs...)
	}
	return nil, nil
}

func (s *Server) postRotate(r *http.Request) (any, error) {
	appID := r.PathValue("appid")
	if _, known := s.lookup(appID); !known {
		return nil, fmt.Errorf("account %q: %w", appID, errNotFound)
	}
	s.Rotate(appID)
	return nil, nil
}

func (s *Server) postRevoke(r *http.Request) (any, error) {
	var in struct {
		Token string `json:"token"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if !s.Revoke(in.Token) {
		return nil, fmt.Errorf("valid token: %w", errNotFound)
	}
	return nil, nil
}

func (s *Server) postTicket(r *http.Request) (any, error) {
	var in struct {
		Ticket string `json:"ticket"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return struct {
		Valid bool `json:"valid"`
	}{s.TicketValid(in.Ticket)}, nil
}

func (s *Server) putClock(r *http.Request) (any, error) {
	var in struct {
		Ahead *duration `json:"ahead"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	if in.Ahead == nil {
		return nil, errors.New(`"ahead" must be given, such as "90s" or "0s"`)
	}
	s.SetClock(time.Duration(*in.Ahead))
	return nil, nil
}
