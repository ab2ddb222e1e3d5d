package serving

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"
	"time"

	"wechattoken.io/operator/internal/testcluster"
)

var few = Limits{}.orDefault()

// limitedServer serves behind the limits, and says nothing.
func limitedServer(t *testing.T) (address string, l *limitedListener) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	l = &limitedListener{Listener: server.Listener, limits: few}
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), l
}

// isClosed waits for the end of a connection, or tells that it goes on.
func isClosed(t *testing.T, conn net.Conn) bool {
	t.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return true
	}
	if err := conn.SetReadDeadline(time.Now().Add(testcluster.Patience)); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("neither an answer nor the end")
	}
	return err != nil
}

func TestOldestConnectionMakesRoom(t *testing.T) {
	t.Parallel()
	from := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 2, byte(i >> 8), byte(i)}) }
	cases := map[string]struct {
		reason string
		from   []int // the address of each connection
		closed int   // which of them
	}{
		"OfTheSameAddress": {"one address has as many as it may", append([]int{1, 0}, repeat(0, few.OfOne)...), 1},
		"OfWhoHasMost":     {"all have as many as they may", append(append([]int{0}, repeat(1, 2)...), count(2, few.OfAll-2)...), 1},
		"OfAll":            {"each has one", count(0, few.OfAll+1), 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, l := limitedServer(t)
			var open []net.Conn
			for _, i := range tc.from {
				conn := testcluster.Connect(t, from(i), address)
				defer conn.Close()
				open = append(open, conn)
			}
			// The last is accepted only when this one is closed.
			if err := open[tc.closed].SetReadDeadline(time.Now().Add(testcluster.Patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := open[tc.closed].Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s: connection %d is not closed", tc.reason, tc.closed)
			}
			for i, conn := range open {
				if got, want := isClosed(t, conn), i == tc.closed; got != want {
					t.Errorf("%s: connection %d is closed: %t, want %t", tc.reason, i, got, want)
				}
			}
			if got, want := l.count(), len(tc.from)-1; got != want {
				t.Errorf("%s: %d connections are counted, want %d", tc.reason, got, want)
			}
		})
	}
}

func (l *limitedListener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

func repeat(i, times int) []int {
	all := make([]int, times)
	for n := range all {
		all[n] = i
	}
	return all
}

func count(first, times int) []int {
	all := make([]int, times)
	for n := range all {
		all[n] = first + n
	}
	return all
}

// A connection that has ended makes room by itself.
func TestClosedConnectionsAreNotCounted(t *testing.T) {
	t.Parallel()
	address, l := limitedServer(t)
	kept := testcluster.Connect(t, netip.MustParseAddr("127.0.0.1"), address)
	defer kept.Close()
	await := func(want int) {
		t.Helper()
		testcluster.Eventually(t, "the connections are counted", func() error {
			if n := l.count(); n != want {
				return fmt.Errorf("%d are open, want %d", n, want)
			}
			return nil
		})
	}
	await(1)
	for range 3 * few.OfOne {
		conn := testcluster.Connect(t, netip.MustParseAddr("127.0.0.1"), address)
		await(2) // else several may be accepted at once, before the server sees their end
		conn.Close()
		await(1)
	}
	if isClosed(t, kept) {
		t.Error("connections that had ended pushed out one that had not")
	}
}
