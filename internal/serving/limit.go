package serving

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Limits are how many connections a port takes at once. Each may cost some 100 KiB.
type Limits struct{ OfOne, OfAll int }

// orDefault is enough for a kubelet or a Prometheus, which need one or two.
func (l Limits) orDefault() Limits {
	if l == (Limits{}) {
		return Limits{OfOne: 8, OfAll: 128}
	}
	return l
}

// limitedListener keeps the connections within the limits. One too many closes an
// older one, and is not refused itself: who holds connections and says nothing keeps
// neither the kubelet out nor who scrapes, not even from the address of a node that
// many share.
type limitedListener struct {
	net.Listener

	limits Limits

	mu   sync.Mutex
	open []*limitedConn // oldest first
}

type limitedConn struct {
	net.Conn

	from  netip.Addr
	among *limitedListener
}

func (l *limitedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &limitedConn{Conn: conn, among: l}
	if from, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		c.from = from.Addr().Unmap()
	}
	if old := l.add(c); old != nil {
		_ = old.Close() // nobody waits for what it says
	}
	return c, nil
}

// add returns the connection that has to go: the oldest of the same address, or of
// the one that has most.
func (l *limitedListener) add(c *limitedConn) (old *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := map[netip.Addr]int{}
	most := c.from
	for _, o := range l.open {
		count[o.from]++
		if count[o.from] > count[most] {
			most = o.from
		}
	}
	switch {
	case count[c.from] >= l.limits.OfOne:
		old = l.remove(func(o *limitedConn) bool { return o.from == c.from })
	case len(l.open) >= l.limits.OfAll:
		old = l.remove(func(o *limitedConn) bool { return o.from == most })
	}
	l.open = append(l.open, c)
	return old
}

// remove takes away the oldest that is meant. The lock is held.
func (l *limitedListener) remove(meant func(*limitedConn) bool) *limitedConn {
	i := slices.IndexFunc(l.open, meant)
	if i < 0 {
		return nil
	}
	c := l.open[i]
	l.open = slices.Delete(l.open, i, i+1)
	return c
}

func (c *limitedConn) Close() error {
	c.among.mu.Lock()
	c.among.remove(func(o *limitedConn) bool { return o == c })
	c.among.mu.Unlock()
	return c.Conn.Close()
}
