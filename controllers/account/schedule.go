package account

import (
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// Every time here follows from the life that WeChat gave a token, never from
// 7200 s, so that a life of 40 s works as one of 2 hours does.

// intoWindow is how far into its window a stable token is replaced: its end is known
// to the second, and asked too early WeChat returns the same token. A fifth of a
// window that is shorter than 10 s.
const intoWindow = 2 * time.Second

// Due is when t should be replaced, of the WeChatToken uid. window is that of
// State.
//
// Stable: WeChat gives the next token only in the last window of this one (300
// s), so due is intoWindow and a bit after the start of that window.
//
// Classic: refreshBefore before the end, at most half of the life, and a bit
// earlier. The bit is the same after each restart, and spreads tokens that were
// obtained together.
func Due(uid types.UID, refreshBefore, window time.Duration, t *record.Token) time.Time {
	if t.Mode == v1alpha1.ModeStable {
		return t.ExpiresAt.Add(-window + min(intoWindow, window/5) + offset(uid, window/30))
	}
	before := min(refreshBefore, t.ExpiresAt.Sub(t.ObtainedAt)/2)
	return t.ExpiresAt.Add(-before - offset(uid, before/20))
}

func (s *State) due(w *Wants, t *record.Token) time.Time {
	return Due(w.UID, w.RefreshBefore, s.Window, t)
}

// askAgain is how long to wait when WeChat returned the same token though it was
// due: 10 to 15 s of a 300 s window, and more often when the end is near.
func (s *State) askAgain(w *Wants, t *record.Token, now time.Time) time.Duration {
	pause := s.Window/30 + offset(w.UID, s.Window/60)
	return min(pause, max(t.ExpiresAt.Sub(now)/4, time.Second))
}

// Waits after a transient failure.
const (
	shortestWait = time.Second // after the first
	longestWait  = time.Minute // after many
)

// afterTokenFailure is at, or the end of the wait after the last failed call for a
// token if that is later. A new refresh request shortens that wait.
func (s *State) afterTokenFailure(at time.Time, w *Wants, t *record.Token) time.Time {
	f, forced := s.tokenFailure()
	kind := Refresh
	if forced {
		kind = Force
	}
	return s.afterFailure(at, w, kind, f, t, w.requestSince)
}

// afterFailure is at, or the end of the wait after f if that is later. A change of
// the spec since the call ends the wait; what was asked for since, at askedSince,
// shortens it to what must be between two calls.
func (s *State) afterFailure(at time.Time, w *Wants, kind Kind, f *Failure, t *record.Token, askedSince time.Time) time.Time {
	began := s.last[kind].at
	if w.specSince.After(began) {
		return at
	}
	wait := s.waitAfter(f, t)
	again := f.At.Add(wait + offset(w.UID, min(wait/10, time.Minute)))
	if soon := f.At.Add(budget.ForcedSpacing); askedSince.After(began) && soon.Before(again) {
		again = soon
	}
	return later(at, again)
}

// waitAfter is how long to wait after f. The token in use is t, nil if there is
// none.
func (s *State) waitAfter(f *Failure, t *record.Token) time.Duration {
	if f.Err == nil { // the same token came back
		return double(budget.ForcedSpacing, f.Count, time.Hour)
	}
	switch f.Err.Class() {
	case wechat.MinuteQuota:
		return f.At.Truncate(time.Minute).Add(time.Minute).Sub(f.At)
	case wechat.Transient:
		longest := longestWait
		switch {
		case s.Valid(t, f.At): // so that several tries fit into what is left
			longest = min(longest, max(s.End(t).Sub(f.At)/4, shortestWait))
		case t != nil: // however many failures there were while it was valid
			longest = min(longest, max(f.At.Sub(s.End(t)), shortestWait))
		}
		return double(shortestWait, f.Count, longest)
	default:
		m := f.Err.Meaning()
		return double(m.Wait, f.Count, max(m.Wait, m.Longest))
	}
}

// double is first, doubled for each further failure in a row, at most longest.
func double(first time.Duration, count int, longest time.Duration) time.Duration {
	for range count - 1 {
		if first >= longest {
			break
		}
		first *= 2
	}
	return min(first, longest)
}

// offset is a time below spread that is always the same for uid. It keeps
// WeChatTokens from doing the same thing in the same moment.
func offset(uid types.UID, spread time.Duration) time.Duration {
	if spread <= 0 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(uid))
	return time.Duration(float64(h.Sum32()) / (1 << 32) * float64(spread))
}
