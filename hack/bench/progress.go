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
	of    int
	begun time.Time
	end   func()
}

// progress begins to tell of something, until it is done. of is how many there
// are to do; 0 if that is not counted.
func (b *bench) progress(what string, of int) *progress {
	p := &progress{what: what, of: of, begun: time.Now()}
	over := make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() {
		tick := time.NewTicker(saysEvery)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				p.say()
			}
		}
	})
	p.end = sync.OnceFunc(func() {
		close(over)
		told.Wait()
		p.say()
	})
	return p
}

func (p *progress) say() {
	seconds := time.Since(p.begun).Seconds()
	if p.of == 0 {
		fmt.Fprintf(os.Stderr, "%s: %.1f s\n", p.what, seconds)
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %d of %d, %.1f s\n", p.what, p.Load(), p.of, seconds)
}
