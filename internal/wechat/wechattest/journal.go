package wechattest

import (
	"maps"
	"net/netip"
	"sync"
	"time"
)

// Call is a call that came in.
type Call struct {
	// At is when it was processed.
	At time.Time
	// Endpoint it went to.
	Endpoint Endpoint
	// AppID it names or, on Business and Ticket, whose token it brings. Empty if that is
	// no account and not of WeChat's form.
	AppID string
	// From is the address of the caller.
	From netip.Addr
	// Forced is a stable call with force_refresh.
	Forced bool
	// Rotated is a call that made a new token or ticket.
	Rotated bool
	// Errcode that was answered; zero: none.
	Errcode int
	// Status is the HTTP status that was answered; zero: the connection was
	// broken without an answer.
	Status int
	// Fault that took the call; empty: none.
	Fault FaultKind
	// InvalidToken is a business call, or one for a ticket, with a token that is
	// not valid.
	InvalidToken bool
	// Ticket is the type that a call on Ticket asks for.
	Ticket TicketKind
	// Token is the [Token.Fingerprint] of the token that the call was given, also if a
	// fault spoiled its answer; on Business and Ticket, of the token that it brings, if
	// that was issued.
	Token string
	// ForceRefused is a forced call that came too soon or too often.
	ForceRefused bool
}

// Counts are totals since the server was made. They are exact, except that
// calls for an appid which is no account count only in the sum over all.
type Counts struct {
	Stable   EndpointCounts `json:"stable"`
	Classic  EndpointCounts `json:"classic"`
	Business EndpointCounts `json:"business"`
	Ticket   EndpointCounts `json:"ticket"`

	// Forced are the stable calls with force_refresh.
	Forced int `json:"forced"`
	// ForceRefused are those of them that came too soon or too often.
	ForceRefused int `json:"forceRefused"`
	// InvalidTokens are the business calls, and those for a ticket, with a token
	// that was not valid.
	InvalidTokens int `json:"invalidTokens"`
	// OutsideRotations are the calls of [Server.Rotate].
	OutsideRotations int `json:"outsideRotations"`
}

// EndpointCounts split the calls of one endpoint: each is in exactly one of
// OK, Errcodes, Statuses and Faults.
type EndpointCounts struct {
	Calls int `json:"calls"`
	// Rotations are the calls that made a new token or ticket.
	Rotations int `json:"rotations"`

	OK int `json:"ok"`
	// Errcodes that were answered.
	Errcodes map[int]int `json:"errcodes,omitempty"`
	// Statuses are the HTTP statuses other than 200 that were answered.
	Statuses map[int]int `json:"statuses,omitempty"`
	// Faults that took a call, whatever was answered.
	Faults map[FaultKind]int `json:"faults,omitempty"`
}

// Calls are the last 100,000 calls, oldest first.
func (s *Server) Calls() []Call { return s.journal.last() }

// Counts of one account, or of all calls if appID is empty.
func (s *Server) Counts(appID string) Counts { return s.journal.counts(appID) }

const kept = 100_000 // calls, and tokens

// journal remembers what came in.
type journal struct {
	mu    sync.Mutex
	kept  int
	ring  []Call // once full, oldest is where the next goes
	next  int
	made  []*token // oldest first
	total Counts
	each  map[string]*Counts
}

func newJournal() journal { return journal{kept: kept, each: map[string]*Counts{}} }

func (j *journal) add(c Call, ofAccount bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ring) < j.kept {
		j.ring = append(j.ring, c)
	} else {
		j.ring[j.next] = c
		j.next = (j.next + 1) % j.kept
	}
	j.total.add(c)
	if ofAccount {
		j.of(c.AppID).add(c)
	}
}

// issued notes a new token, whose account is locked.
func (j *journal) issued(t *token) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.made) == j.kept {
		j.made = j.made[1:]
	}
	j.made = append(j.made, t)
}

func (j *journal) rotatedOutside(appID string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.total.OutsideRotations++
	j.of(appID).OutsideRotations++
}

func (j *journal) of(appID string) *Counts {
	c, ok := j.each[appID]
	if !ok {
		c = &Counts{}
		j.each[appID] = c
	}
	return c
}

func (j *journal) last() []Call {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append(append(make([]Call, 0, len(j.ring)), j.ring[j.next:]...), j.ring[:j.next]...)
}

func (j *journal) counts(appID string) Counts {
	j.mu.Lock()
	defer j.mu.Unlock()
	if appID == "" {
		return j.total.clone()
	}
	if c, ok := j.each[appID]; ok {
		return c.clone()
	}
	return Counts{}
}

func (j *journal) all() map[string]Counts {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make(map[string]Counts, len(j.each))
	for appID, c := range j.each {
		all[appID] = c.clone()
	}
	return all
}

func (c *Counts) add(call Call) {
	switch call.Endpoint {
	case Stable:
		c.Stable.add(call)
	case Classic:
		c.Classic.add(call)
	case Business:
		c.Business.add(call)
	case Ticket:
		c.Ticket.add(call)
	}
	count(&c.Forced, call.Forced)
	count(&c.ForceRefused, call.ForceRefused)
	count(&c.InvalidTokens, call.InvalidToken)
}

func (c *Counts) clone() Counts {
	out := *c
	for _, e := range []*EndpointCounts{&out.Stable, &out.Classic, &out.Business, &out.Ticket} {
		e.Errcodes, e.Statuses, e.Faults = maps.Clone(e.Errcodes), maps.Clone(e.Statuses), maps.Clone(e.Faults)
	}
	return out
}

func (e *EndpointCounts) add(call Call) {
	e.Calls++
	count(&e.Rotations, call.Rotated)
	switch {
	case call.Fault != "":
		tally(&e.Faults, call.Fault)
	case call.Errcode != 0:
		tally(&e.Errcodes, call.Errcode)
	case call.Status != 200:
		tally(&e.Statuses, call.Status)
	default:
		e.OK++
	}
}

func count(n *int, is bool) {
	if is {
		*n++
	}
}

func tally[K comparable](m *map[K]int, key K) {
	if *m == nil {
		*m = map[K]int{}
	}
	(*m)[key]++
}
