package wechattest

import (
	"fmt"
	"math"
	"net/netip"
	"time"
)

// Config holds every duration and limit of a [Server]. A zero field takes the
// value that WeChat uses, see [Defaults]. A negative limit lifts the limit, and
// a negative duration means none at all.
type Config struct {
	// Life of a new token, in whole seconds. WeChat: 7200 s
	// (getAccessToken, getStableAccessToken).
	Life time.Duration
	// Window is the end of a stable token's life in which a call makes the
	// next one; both then work. It must be shorter than Life. WeChat: 300 s
	// (getStableAccessToken).
	Window time.Duration
	// Overlap is how long a token stays valid at most after a classic or a
	// forced call replaced it. WeChat: 300 s (getAccessToken).
	Overlap time.Duration
	// ForceSpacing is the shortest time between two forced calls that
	// refresh. WeChat: 30 s (getStableAccessToken).
	ForceSpacing time.Duration

	// ForcedPerDay is how many forced calls refresh in a day; days begin at
	// midnight UTC+8. WeChat: 20 (getStableAccessToken).
	ForcedPerDay int
	// ForceRefusedCode is the errcode for a forced call that comes too soon
	// or too often, such as 45009 or 45011. Zero answers it like a call that
	// is not forced. WeChat says only that it does not refresh
	// (getStableAccessToken); its answer is undocumented.
	ForceRefusedCode int
	// ClassicPerDay is how many classic calls an account has in a day.
	// WeChat: 2,000 for a new account ("API Call Limits").
	ClassicPerDay int
	// StablePerMinute is how many stable calls an account has in a minute.
	// WeChat: 10,000 (getStableAccessToken).
	StablePerMinute int
	// StablePerDay is how many stable calls an account has in a day.
	// WeChat: 500,000 (getStableAccessToken).
	StablePerDay int

	// BusinessPerDay is how many business calls with a valid token an account has
	// in a day, of each path. WeChat: undocumented; users report 1,000 to 5,000 for
	// get_api_domain_ip, and for getcallbackip that there is a limit.
	BusinessPerDay int

	// TicketLife is how long a ticket is given out, in whole seconds, and its
	// expires_in, whenever it is asked for. New ones come at its multiples since
	// 1970. WeChat: 7200 s; that expires_in never shrinks, and that new ones come
	// on the hour, has been observed.
	TicketLife time.Duration
	// TicketOverlap is how long a ticket works on after the next has replaced it.
	// WeChat: undocumented; an hour has been observed, once.
	TicketOverlap time.Duration
	// TicketsPerDay is how many calls for tickets an account has in a day. WeChat
	// says "very limited" and no number; 1,000 is a guess.
	TicketsPerDay int

	// TokenLength is the length of a token, and of a ticket, in bytes, 32 or more. WeChat asks
	// to keep room for at least 512 (getAccessToken); 136 has been observed.
	TokenLength int

	// AllowIPs are the callers that may ask for tokens; nil allows everybody.
	// [Server.Allow] overrides it for one account.
	AllowIPs []netip.Prefix
	// OpenAccounts accepts every appid of WeChat's form, "wx" and 16 hex
	// digits. The first secret seen for an appid becomes its secret.
	OpenAccounts bool

	// ClockOffset is how far the server's clock is ahead of this machine's, in what
	// it shows of the time: the header Date and the request ids. Tokens expire by
	// this machine's clock. [Server.SetClock] changes it.
	ClockOffset time.Duration

	// Latency is added to each answer, after the call was processed.
	Latency time.Duration

	// Observe gets every call before it is answered, if it is not nil.
	// It must be safe for concurrent use.
	Observe func(Call)
}

// minTokenLength leaves enough random characters for a token to be unique.
const minTokenLength = 32

// Defaults are the values that WeChat uses.
func Defaults() Config {
	return Config{
		Life:            7200 * time.Second,
		Window:          300 * time.Second,
		Overlap:         300 * time.Second,
		ForceSpacing:    30 * time.Second,
		ForcedPerDay:    20,
		ClassicPerDay:   2000,
		StablePerMinute: 10_000,
		StablePerDay:    500_000,
		BusinessPerDay:  1000,
		TicketLife:      7200 * time.Second,
		TicketOverlap:   time.Hour,
		TicketsPerDay:   1000,
		TokenLength:     136,
	}
}

// Check says why no [Server] can be made from c.
func (c Config) Check() error {
	c = c.complete()
	switch {
	case c.Life < time.Second || c.Life%time.Second != 0:
		return fmt.Errorf("life is %v, must be whole seconds and at least one", c.Life)
	case c.Window >= c.Life:
		return fmt.Errorf("window is %v, must be shorter than the life of %v", c.Window, c.Life)
	case c.TicketLife < time.Second || c.TicketLife%time.Second != 0:
		return fmt.Errorf("ticket life is %v, must be whole seconds and at least one", c.TicketLife)
	case c.TokenLength < minTokenLength:
		return fmt.Errorf("token length is %d, must be at least %d", c.TokenLength, minTokenLength)
	}
	return nil
}

// complete fills in what is left to WeChat's values and replaces "none".
func (c Config) complete() Config {
	d := Defaults()
	c.Life = durationOr(c.Life, d.Life)
	c.Window = durationOr(c.Window, d.Window)
	c.Overlap = durationOr(c.Overlap, d.Overlap)
	c.ForceSpacing = durationOr(c.ForceSpacing, d.ForceSpacing)
	c.ForcedPerDay = limitOr(c.ForcedPerDay, d.ForcedPerDay)
	c.ClassicPerDay = limitOr(c.ClassicPerDay, d.ClassicPerDay)
	c.StablePerMinute = limitOr(c.StablePerMinute, d.StablePerMinute)
	c.StablePerDay = limitOr(c.StablePerDay, d.StablePerDay)
	c.BusinessPerDay = limitOr(c.BusinessPerDay, d.BusinessPerDay)
	c.TicketLife = durationOr(c.TicketLife, d.TicketLife)
	c.TicketOverlap = durationOr(c.TicketOverlap, d.TicketOverlap)
	c.TicketsPerDay = limitOr(c.TicketsPerDay, d.TicketsPerDay)
	if c.TokenLength == 0 {
		c.TokenLength = d.TokenLength
	}
	return c
}

func durationOr(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return max(d, 0)
}

func limitOr(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	if n < 0 {
		return math.MaxInt
	}
	return n
}
