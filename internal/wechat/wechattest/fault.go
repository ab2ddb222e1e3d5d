package wechattest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// FaultKind is a way to fail.
type FaultKind string

// These take a call before it is processed: it makes no token and costs no
// quota.
const (
	// FaultErrcode answers errcode Code with Message.
	FaultErrcode FaultKind = "errcode"
	// FaultStatus answers HTTP status Status (502 if zero) with an HTML page.
	FaultStatus FaultKind = "status"
	// FaultHang says nothing until the caller goes away, or for Delay if that
	// is set, and then resets the connection.
	FaultHang FaultKind = "hang"
	// FaultReset resets the TCP connection.
	FaultReset FaultKind = "reset"
	// FaultGarbage answers 200 with something that is not JSON.
	FaultGarbage FaultKind = "garbage"
	// FaultNull answers errcode -1000 beside a null token, as observed.
	FaultNull FaultKind = "null"
	// FaultEmpty answers a success whose token or ticket is empty; to a business
	// call, one whose list is.
	FaultEmpty FaultKind = "empty"
	// FaultHuge answers a success whose token or ticket, or the one address in its list,
	// is Bytes long (4 MiB if zero).
	FaultHuge FaultKind = "huge"
	// FaultEcho answers 502 with an HTML page that quotes the request's URL
	// and body, AppSecret and token included: a talkative box on the way.
	FaultEcho FaultKind = "echo"
)

// These let a call be processed, new token and all, and spoil its answer.
const (
	// FaultTruncated closes the connection after half of the body.
	FaultTruncated FaultKind = "truncated"
	// FaultBadTTL answers ExpiresIn instead of the life of the token or ticket.
	FaultBadTTL FaultKind = "badttl"
	// FaultLost resets the TCP connection instead of an answer.
	FaultLost FaultKind = "lost"
	// FaultSlow answers after Delay.
	FaultSlow FaultKind = "slow"
	// FaultTextPlain answers with Content-Type text/plain.
	FaultTextPlain FaultKind = "textplain"
)

// kinds says of every FaultKind whether the call is processed.
var kinds = map[FaultKind]bool{
	FaultErrcode: false, FaultStatus: false, FaultHang: false, FaultReset: false, FaultGarbage: false,
	FaultNull: false, FaultEmpty: false, FaultHuge: false, FaultEcho: false,
	FaultTruncated: true, FaultBadTTL: true, FaultLost: true, FaultSlow: true, FaultTextPlain: true,
}

// Fault makes calls fail. Of several that match a call, the one that was set
// first takes it.
type Fault struct {
	// ID is given by [Server.SetFault].
	ID int

	// AppID whose calls fail; empty: all. A call with a token belongs to the
	// account of its token.
	AppID string
	// Endpoint whose calls fail; empty: all.
	Endpoint Endpoint
	// Kind of the failure.
	Kind FaultKind

	// Count is how many calls fail; zero: all. [Server.Faults] returns how
	// many are left.
	Count int
	// For is how long calls fail from now on; zero: until the fault is cleared.
	For time.Duration

	// Code is the errcode of FaultErrcode.
	Code int
	// Message is the errmsg of FaultErrcode; empty: the usual one. The
	// trailer is added unless it has one.
	Message string
	// Status is the HTTP status of FaultStatus; zero: 502.
	Status int
	// ExpiresIn is the expires_in of FaultBadTTL, in seconds.
	ExpiresIn int64
	// Bytes is the length of the token of FaultHuge; zero: 4 MiB.
	Bytes int
	// Delay of FaultSlow and FaultHang.
	Delay time.Duration
}

// Check says why f can not be set.
func (f Fault) Check() error {
	all := slices.Sorted(maps.Keys(kinds))
	switch {
	case !slices.Contains(all, f.Kind):
		return fmt.Errorf("kind is %q, must be one of %q", f.Kind, all)
	case !slices.Contains([]Endpoint{"", Stable, Classic, Business, Ticket}, f.Endpoint):
		return fmt.Errorf("endpoint is %q, must be %q, %q, %q, %q or empty for all", f.Endpoint, Stable, Classic, Business, Ticket)
	case f.Kind == FaultErrcode && f.Code == 0:
		return fmt.Errorf("an errcode fault needs a code")
	case f.Kind == FaultSlow && f.Delay <= 0:
		return fmt.Errorf("a slow fault needs a delay")
	case f.Status != 0 && !isFaultStatus(f.Status):
		return fmt.Errorf("status is %d, must be 200 or from 300 to 599 and have a body", f.Status)
	case min(f.Count, f.Bytes) < 0 || min(f.For, f.Delay) < 0 || f.Bytes > maxHuge:
		return fmt.Errorf("count, duration, delay and bytes must not be negative, bytes not above %d", maxHuge)
	}
	return nil
}

// isFaultStatus reports whether FaultStatus can answer its page with this status:
// 304 has no body.
func isFaultStatus(status int) bool {
	return status == http.StatusOK || status >= 300 && status <= 599 && status != http.StatusNotModified
}

func (f Fault) processed() bool { return kinds[f.Kind] }

const (
	hugeBytes = 4 << 20
	maxHuge   = 256 << 20
)

// SetFault makes calls fail from now on and returns the number that
// [Server.ClearFaults] takes. It panics if f does not pass [Fault.Check].
func (s *Server) SetFault(f Fault) (id int) {
	if err := f.Check(); err != nil {
		panic("wechattest: " + err.Error())
	}
	return s.faults.add(f, time.Now())
}

// ClearFaults ends the faults with these numbers, or all if none is given.
// Calls that hang already go on hanging.
func (s *Server) ClearFaults(ids ...int) { s.faults.clear(ids) }

// Faults are those that can still take a call, in the order of their setting.
func (s *Server) Faults() []Fault { return s.faults.left(time.Now()) }

// faults hands out what shall go wrong.
type faults struct {
	mu   sync.Mutex
	last int
	list []setFault
}

type setFault struct {
	Fault
	until time.Time // zero: for ever
}

func (f *faults) add(fault Fault, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	fault.ID = f.last
	set := setFault{Fault: fault}
	if fault.For > 0 {
		set.until = now.Add(fault.For)
	}
	f.list = append(f.list, set)
	return fault.ID
}

func (f *faults) clear(ids []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = slices.DeleteFunc(f.list, func(s setFault) bool {
		return len(ids) == 0 || slices.Contains(ids, s.ID)
	})
}

func (f *faults) left(now time.Time) []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(now)
	all := make([]Fault, len(f.list))
	for i, s := range f.list {
		all[i] = s.Fault
	}
	return all
}

func (f *faults) take(appID string, e Endpoint, now time.Time) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(now)
	i := slices.IndexFunc(f.list, func(s setFault) bool {
		return (s.AppID == "" || s.AppID == appID) && (s.Endpoint == "" || s.Endpoint == e)
	})
	if i < 0 {
		return Fault{}, false
	}
	taken := f.list[i].Fault
	switch taken.Count {
	case 0:
	case 1:
		f.list = slices.Delete(f.list, i, i+1)
	default:
		f.list[i].Count--
	}
	return taken, true
}

func (f *faults) expire(now time.Time) {
	f.list = slices.DeleteFunc(f.list, func(s setFault) bool {
		return !s.until.IsZero() && !now.Before(s.until)
	})
}
