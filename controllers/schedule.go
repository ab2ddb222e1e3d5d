package controllers

import (
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// Every time here follows from the life that WeChat gave a token, never from
// 7200 s, so that a life of 40 s works as one of 2 hours does.

// due is when t should be replaced.
//
// Stable: WeChat gives the next token only in the last window of this one (300
// s), so due lies 2 s and a bit behind the start of that window: the end is
// known to the second, and asked too early WeChat gives the same token back.
//
// Classic: refreshBefore before the end, at most half of the life, and a bit
// earlier. The bit is the same after each restart, and spreads tokens that were
// obtained together.
func due(wt *v1alpha1.WeChatToken, t *issued, window time.Duration) time.Time {
	if wt.Spec.ModeOrDefault() == v1alpha1.ModeStable {
		return t.expires.Add(-window + min(2*time.Second, window/5) + offset(wt.UID, window/30))
	}
	before := min(wt.Spec.RefreshBeforeOrDefault(), t.expires.Sub(t.obtained)/2)
	return t.expires.Add(-before - offset(wt.UID, before/20))
}

// askAgain is how long to wait when WeChat gave the same token back though it
// was due: 10 to 15 s of a 300 s window, and more often when the end is near.
func askAgain(wt *v1alpha1.WeChatToken, t *issued, window time.Duration, now time.Time) time.Duration {
	pause := window/30 + offset(wt.UID, window/60)
	return min(pause, max(t.expires.Sub(now)/4, time.Second))
}

// Waits after a failure. None outlives the token by more than its own end: the
// object is looked at again when the token dies.
const (
	shortestWait = time.Second // after the first transient failure
	longestWait  = time.Minute // after many
	returnedWait = time.Hour   // after many forced calls that gave the old token back
)

// retryAt is when to call WeChat again after f. The token in use is t, dead or
// alive; nil when there is none.
func retryAt(uid types.UID, f *failure, t *issued) time.Time {
	wait := waitAfter(f, t)
	return f.at.Add(wait + offset(uid, min(wait/10, time.Minute)))
}

func waitAfter(f *failure, t *issued) time.Duration {
	if f.err == nil { // the old token came back
		return double(forcedSpacing, f.count, returnedWait)
	}
	switch m := f.err.Meaning(); m.Class {
	case wechat.MinuteQuota:
		return f.at.Truncate(time.Minute).Add(time.Minute).Sub(f.at)
	case wechat.Transient:
		longest := longestWait
		switch {
		case t.alive(f.at): // so that several tries fit into what is left
			longest = min(longest, max(t.end().Sub(f.at)/4, shortestWait))
		case t != nil: // however many failures there were while it lived
			longest = min(longest, max(f.at.Sub(t.end()), shortestWait))
		}
		return double(shortestWait, f.count, longest)
	default:
		return double(m.Wait, f.count, max(m.Wait, m.Longest))
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
// objects from doing the same thing in the same moment.
func offset(uid types.UID, spread time.Duration) time.Duration {
	if spread <= 0 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(uid))
	return time.Duration(float64(h.Sum32()) / (1 << 32) * float64(spread))
}
