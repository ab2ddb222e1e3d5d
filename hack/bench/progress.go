package main

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// saysEvery is how long a reader waits for a sign of life.
const saysEvery = 3 * time.Second

// progress tells now and then how far something is.
type progress struct {
	atomic.Int64 // done

	what  string
	of    int // 0 if that is not counted
	begun time.Time
	end   func()
}

// begin begins to tell of something, until it is ended.
func begin(what string, of int) *progress {
	p := &progress{what: what, of: of, begun: time.Now()}
	tick := time.NewTicker(saysEvery)
	over := make(chan struct{})
	p.end = sync.OnceFunc(func() {
		tick.Stop()
		close(over)
		p.say()
	})
	go func() {
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				p.say()
			}
		}
	}()
	return p
}

func (p *progress) say() {
	done := ""
	if p.of > 0 {
		done = fmt.Sprintf("%d of %d, ", p.Load(), p.of)
	}
	fmt.Fprintf(os.Stderr, "%s: %s%.1f s\n", p.what, done, time.Since(p.begun).Seconds())
}
