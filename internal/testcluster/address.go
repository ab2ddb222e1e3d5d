package testcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// Ports below those that a kernel hands out by itself: what listens later on the port
// of [FreeAddress] loses it to no connection and to no other server meanwhile.
const (
	firstPort = 10_000
	ports     = 20_000
)

// lastPort begins anywhere, for other test binaries run beside this one.
var lastPort = func() *atomic.Uint32 {
	var p atomic.Uint32
	p.Store(rand.Uint32N(ports))
	return &p
}()

// FreeAddress is an address on loopback that nobody listens on. It is given once.
func FreeAddress() (string, error) {
	for range ports {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+lastPort.Add(1)%ports)
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

// Connect opens a connection from an address of loopback.
func Connect(tb testing.TB, from netip.Addr, to string) net.Conn {
	tb.Helper()
	dialer := net.Dialer{Timeout: Patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	conn, err := dialer.DialContext(tb.Context(), "tcp", to)
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}
