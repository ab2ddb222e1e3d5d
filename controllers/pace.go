package controllers

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A tenant may have a thousand WeChatTokens whose status changes in one moment. All of
// them written at once keep the API server busy for seconds, and the new tokens of
// others wait there. So each namespace has a pace.
const (
	statusesAtOnce    = 200
	statusesPerSecond = 200

	// manyNamespaces is how many are remembered before those are forgotten that have
	// written nothing lately.
	manyNamespaces = 1000
)

// pace is that of the statuses of each namespace.
type pace struct {
	mu sync.Mutex
	of map[string]*rate.Limiter
}

// wait is how long a status of the namespace has to wait. The next one waits longer.
func (p *pace) wait(namespace string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.of) >= manyNamespaces {
		for name, l := range p.of {
			if l.TokensAt(now) >= statusesAtOnce {
				delete(p.of, name)
			}
		}
	}
	l := p.of[namespace]
	if l == nil {
		if p.of == nil {
			p.of = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(statusesPerSecond, statusesAtOnce)
		p.of[namespace] = l
	}
	return l.ReserveN(now, 1).DelayFrom(now)
}
