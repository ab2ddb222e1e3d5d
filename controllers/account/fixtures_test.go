package account

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// early is a UID with an offset of almost nothing, so that the times in a table
// are those of the policy.
const early types.UID = "early-17426778"

var shop = wechat.Credentials{AppID: "wx0123456789abcdef", AppSecret: "0123456789abcdef0123456789abcdef"}

// situation is all that Next depends on, and Done.
type situation struct {
	State
	Wants Wants

	behind bool // the Secret does not hold the newest token
}

// a mod makes one thing different. Times are at noon, or so long before.
type mod func(*situation)

// at is an account in mode Stable at noon: its token is on the Secret, was
// obtained an hour ago, and ends in an hour. The mods change that.
func at(mods ...mod) *situation {
	s := &situation{
		State: State{
			Mode: v1alpha1.ModeStable, Window: 5 * time.Minute, Since: noon.Add(-time.Hour),
			Known: record.Record{
				Verified: true,
				Token: record.Token{
					Value: "98_present", AppID: shop.AppID, Mode: v1alpha1.ModeStable,
					ObtainedAt: noon.Add(-time.Hour), ExpiresAt: noon.Add(time.Hour),
				},
			},
		},
		Wants: Wants{UID: early, Generation: 1},
	}
	s.Spread = early
	s.last[Refresh] = attempt{at: noon.Add(-time.Hour), succeededAt: noon.Add(-time.Hour)}
	for _, mod := range mods {
		mod(s)
	}
	if !s.behind && s.Known.Token.Value != "" {
		secret := s.Known
		secret.HandledRefresh, secret.HandledReport = s.Wants.handled, s.Known.HandledReport
		s.Wants.Secret = &secret
	}
	return s
}

func classic(s *situation) {
	s.Mode, s.Known.Token.Mode = v1alpha1.ModeClassic, v1alpha1.ModeClassic
	s.Wants.RefreshBefore = 10 * time.Minute
}

func noToken(s *situation) { s.Known.Token, s.last[Refresh] = record.Token{}, attempt{} }

func taker(s *situation) { s.Wants.AppSecretIn, s.Wants.NeverForce = "platform", true }

func suspended(s *situation) { s.Wants.Suspended = true }

func secretBehind(s *situation) { s.behind = true }

// ends is when the token ends, from noon.
func ends(in time.Duration) mod {
	return func(s *situation) { s.Known.Token.ExpiresAt = noon.Add(in) }
}

// obtained is when the last Refresh brought the token, be it the same one.
func obtained(ago time.Duration) mod {
	return func(s *situation) { s.last[Refresh].at, s.last[Refresh].succeededAt = noon.Add(-ago), noon.Add(-ago) }
}

// started is when this process first heard of the account.
func started(ago time.Duration) mod {
	return func(s *situation) { s.Since = noon.Add(-ago) }
}

// failed says that the last call of a kind failed, count times in a row. A code of
// sameTokenCode is no error of WeChat's.
func failed(kind Kind, code int64, ago time.Duration, count int) mod {
	return func(s *situation) {
		f := &Failure{At: noon.Add(-ago), Count: count}
		if code != sameTokenCode {
			f.Err = &wechat.Error{Code: code}
		}
		last := &s.last[kind]
		last.at, last.token, last.failure = noon.Add(-ago), s.Known.Token.Fingerprint(), f
	}
}

const sameTokenCode = -999

func specChanged(ago time.Duration) mod {
	return func(s *situation) { s.Wants.specSince = noon.Add(-ago) }
}

func requested(ago time.Duration) mod {
	return func(s *situation) { s.Wants.Request, s.Wants.requestSince = "now", noon.Add(-ago) }
}

func handled(s *situation) { s.Wants.handled = s.Wants.Request }

// forced are the forced calls that count.
func forced(ago ...time.Duration) mod {
	return func(s *situation) {
		for _, d := range ago {
			s.Known.Spent.Forced = append(s.Known.Spent.Forced, noon.Add(-d))
		}
	}
}

// forcedBudgetSpent: the first call was made 23 hours ago, so that the next place
// is free in one.
func forcedBudgetSpent(s *situation) {
	for i := range budget.ForcedPerDay {
		forced(23*time.Hour - time.Duration(i)*time.Minute)(s)
	}
}

// calledToday are the calls of mode Classic; WeChat's day ends in 4 hours.
func calledToday(n int) mod {
	return func(s *situation) { s.Known.Spent.Classic = budget.Calls{Day: "2026-01-02", Calls: n} }
}

func forcedUncounted(s *situation) { s.forcedUncounted = true }

func answerLost(s *situation) { s.answerLost = true }

func sameTokenReturned(s *situation) { s.sameTokenReturned = true }

func found(invalid bool) func(time.Duration) mod {
	return func(ago time.Duration) mod {
		return func(s *situation) {
			s.foundInvalid = invalid
			s.last[Verify] = attempt{at: noon.Add(-ago), token: s.Known.Token.Fingerprint(), succeededAt: noon.Add(-ago)}
		}
	}
}

// What the last Verify has found.
var foundInvalid, foundValid = found(true), found(false)

func reported(ago time.Duration) mod {
	return func(s *situation) {
		s.Wants.Report, s.Wants.Reported, s.Wants.reportSince = "report", s.Known.Token.Fingerprint(), noon.Add(-ago)
	}
}

func reportedAnother(s *situation) {
	reported(0)(s)
	s.Wants.Reported = record.Fingerprint("98_before")
}

func reportHandled(s *situation) { s.Known.HandledReport = s.Wants.Report }

// suspected says that a call for a ticket found the token invalid.
func suspected(ago time.Duration) mod {
	return func(s *situation) { s.suspect, s.suspectAt = s.Known.Token.Fingerprint(), noon.Add(-ago) }
}

func interval(d time.Duration) mod {
	return func(s *situation) { s.Wants.CheckInterval = d }
}

func neverForce(s *situation) { s.Wants.NeverForce = true }

// checked says that a Check has brought the same token.
func checked(ago time.Duration) mod {
	return func(s *situation) {
		s.last[Check] = attempt{at: noon.Add(-ago), token: s.Known.Token.Fingerprint(), succeededAt: noon.Add(-ago)}
	}
}

// verifiedToday are the calls that asked whether a token is valid.
func verifiedToday(n int) mod {
	return func(s *situation) { s.Known.Spent.Verify = budget.Calls{Day: "2026-01-02", Calls: n} }
}

// The places of the types of tickets.
const (
	jsapi = iota
	wxCard
)

func wanting(places ...int) mod {
	return func(s *situation) { s.Wants.Tickets = places }
}

// ticket was seen first, and polled last, so long ago; it is trusted for so long.
func ticket(place int, ago, trusted time.Duration) mod {
	return func(s *situation) {
		s.Known.Tickets[place] = record.Ticket{Value: fmt.Sprint("ticket", place), FirstSeen: noon.Add(-ago), Life: 2 * time.Hour, ExpiresAt: noon.Add(trusted)}
		s.last[int(Ticket)+place].succeededAt = noon.Add(-ago)
	}
}

// withAnotherToken says that the last call of a kind had another token.
func withAnotherToken(kind Kind) mod {
	return func(s *situation) { s.last[kind].token = record.Fingerprint("98_before") }
}
