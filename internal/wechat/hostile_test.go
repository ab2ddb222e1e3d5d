package wechat

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wechattoken.io/operator/internal/wechat/wire"
)

var someone = Credentials{AppID: "wx0123456789abcdef", AppSecret: fuzzSecret}

// calls are what a Client can be asked for.
func calls(ctx context.Context) map[string]func(*Client) error {
	return map[string]func(*Client) error{
		"Stable":  func(c *Client) error { _, err := c.StableToken(ctx, someone, true); return err },
		"Classic": func(c *Client) error { _, err := c.ClassicToken(ctx, someone); return err },
		"Valid":   func(c *Client) error { _, err := c.Valid(ctx, fuzzToken); return err },
		"Ticket":  func(c *Client) error { _, err := c.Ticket(ctx, fuzzToken, "jsapi"); return err },
	}
}

// hostile is a server that answers each connection with what talk writes, for
// as long as somebody takes it.
type hostile struct {
	addr string
	sent atomic.Int64  // bytes that the caller, or a kernel between, took
	gone chan struct{} // closed once the caller has closed its connection
	stop func()
}

func serveHostile(t *testing.T, talk func(io.Writer)) *hostile {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{addr: listener.Addr().String(), gone: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		// What comes before the question is no answer.
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return
		}
		talked := make(chan struct{})
		go func() {
			defer close(talked)
			talk(taken{conn, &h.sent})
		}()
		// The end of the stream, or a reset: the caller is gone.
		_, _ = io.Copy(io.Discard, conn)
		close(h.gone)
		conn.Close()
		<-talked
	}()
	h.stop = func() {
		listener.Close()
		<-done
	}
	return h
}

// taken counts what was taken from a writer.
type taken struct {
	io.Writer
	bytes *atomic.Int64
}

func (w taken) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.bytes.Add(int64(n))
	return n, err
}

// drip says something and then a bit more, again and again.
func drip(first, more string) func(io.Writer) {
	return func(w io.Writer) {
		_, err := io.WriteString(w, first)
		for err == nil {
			time.Sleep(10 * time.Millisecond)
			_, err = io.WriteString(w, more)
		}
	}
}

// flood is 64 MiB of what drip says.
func flood(first, more string) func(io.Writer) {
	return func(w io.Writer) {
		chunk := []byte(strings.Repeat(more, 1<<16/len(more)))
		_, err := io.WriteString(w, first)
		for sent := 0; err == nil && sent < 64<<20; sent += len(chunk) {
			_, err = w.Write(chunk)
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// bomb is 64 MiB of blanks, in gzip.
func bomb(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	blanks := bytes.Repeat([]byte(" "), 1<<20)
	for range 64 {
		if _, err := w.Write(blanks); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whatever a server does, a call ends soon, takes a little, and leaves nothing
// behind: no connection, no goroutine.
func TestHostileServerIsLeft(t *testing.T) {
	const (
		late  = "no whole answer within 100ms"
		large = "the answer is larger than 64 KiB"
		odd   = "the request failed on its way"
	)
	cases := map[string]struct {
		reason string
		talk   func(io.Writer)
		want   string
	}{
		"Silence":       {"Nothing comes.", func(io.Writer) {}, late},
		"Handshake":     {"TLS is not answered.", func(io.Writer) {}, late},
		"StatusDrips":   {"The status line never ends.", drip("HTTP/1.1 200 ", "O"), late},
		"HeadersDrip":   {"The headers never end.", drip(ok, "X-A: b\r\n"), late},
		"HintsDrip":     {"Interim answers never end.", drip("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), late},
		"BodyDrips":     {"The body comes byte by byte.", drip(ok+"Content-Length: 65536\r\n\r\n{", " "), late},
		"ChunksDrip":    {"Chunks never end.", drip(ok+"Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"), late},
		"BodyStops":     {"The body stops.", drip(ok+"\r\n{", ""), late},
		"GzipOfNothing": {"Compressed members that hold nothing never end.", drip(ok+"Content-Encoding: gzip\r\n\r\n", emptyGzip), late},
		"OtherProtocol": {"What comes behind a 101 is not waited for.", drip("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", " "), "the answer (HTTP status 101) is not JSON as WeChat writes it"},

		"Body":     {"64 MiB of body.", flood(ok+"Content-Length: 67108864\r\n\r\n", " "), large},
		"Endless":  {"A body without an end.", flood(ok+"\r\n", " "), large},
		"Chunks":   {"Chunks without an end.", flood(ok+"Transfer-Encoding: chunked\r\n\r\n", "400\r\n"+strings.Repeat(" ", 1024)+"\r\n"), large},
		"GzipBomb": {"64 MiB in 64 KiB.", drip(ok+"Content-Encoding: gzip\r\n\r\n"+bomb(t), ""), large},
		"Headers":  {"64 MiB of headers.", flood(ok, "X-A: "+strings.Repeat("b", 1017)+"\r\n"), odd},
		"Header":   {"A header of 64 MiB.", flood(ok+"X-A: ", "b"), odd},
		"Hints":    {"64 MiB of interim answers.", flood("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), odd},
		"Continue": {"64 MiB of interim answers.", flood("", "HTTP/1.1 100 Continue\r\n\r\n"), odd},
		"Trailers": {"64 MiB of trailers.", flood(ok+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", "X-A: b\r\n"), odd},
		"ChunkExt": {"A chunk without an end to its extension.", flood(ok+"Transfer-Encoding: chunked\r\n\r\n2;", "a"), odd},
		"NoHTTP":   {"64 MiB of something else.", flood("", "SSH-2.0-x"), odd},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for call, ask := range calls(t.Context()) {
				timeout := 10 * time.Second // for what is decided before
				if tc.want == late {
					timeout = 100 * time.Millisecond
				}
				scheme := "http"
				if name == "Handshake" {
					scheme = "https"
				}
				leaves(t, call+": "+tc.reason, tc.want, tc.talk, scheme, timeout, ask)
			}
		})
	}
}

// emptyGzip is a gzip member that holds nothing.
var emptyGzip = func() string {
	var b bytes.Buffer
	_ = gzip.NewWriter(&b).Close() // a buffer takes everything
	return b.String()
}()

func leaves(t *testing.T, reason, want string, talk func(io.Writer), scheme string, timeout time.Duration, ask func(*Client) error) {
	t.Helper()
	const little = 16 << 20 // bytes; the kernel takes what its buffers hold, which grow to 4 MiB to send and 6 to receive
	before := runtime.NumGoroutine()
	h := serveHostile(t, talk)
	c := NewClient(scheme+"://"+h.addr, timeout)
	read := countReads(c)

	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	ended := make(chan error, 1)
	go func() { ended <- ask(c) }()
	var err error
	select {
	case err = <-ended:
	case <-time.After(enough):
		t.Fatalf("%s\nthe call has not ended", reason)
	}
	runtime.ReadMemStats(&is)

	if failed, ok := errors.AsType[*Error](err); !ok || failed.Message != want || !failed.Lost {
		t.Errorf("%s\ngot %#v, want %q, perhaps carried out", reason, err, want)
	}
	const drained = 256 << 10 // what net/http reads after the end, for 50 ms, to use a connection again
	if got := read.Load(); got > wire.MaxBody+maxHeader+drained+16<<10 {
		t.Errorf("%s\n%d bytes were read of the connection", reason, got)
	}
	if got := h.sent.Load(); got > little {
		t.Errorf("%s\nthe server could send %d bytes", reason, got)
	}
	if got := is.TotalAlloc - was.TotalAlloc; got > little {
		t.Errorf("%s\nthe call allocated %d bytes", reason, got)
	}
	select {
	case <-h.gone:
	case <-time.After(enough):
		t.Errorf("%s\nthe connection stays", reason)
		return
	}
	h.stop()
	settle(t, reason, before)
}

// enough is longer than anything here takes, on a machine that is busy.
const enough = 20 * time.Second

// settle waits until there are no more goroutines than before.
func settle(t *testing.T, reason string, before int) {
	t.Helper()
	for deadline := time.Now().Add(enough); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%s\n%d goroutines stay:\n%s", reason, runtime.NumGoroutine()-before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// countReads counts what a Client reads of its connections.
func countReads(c *Client) *atomic.Int64 {
	var read atomic.Int64
	for _, via := range []*http.Client{c.stable, c.classic} {
		transport, _ := via.Transport.(*http.Transport)
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return counted{conn, &read}, err
		}
	}
	return &read
}

type counted struct {
	net.Conn
	read *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// A host that does not take the connection is left, too.
func TestDialIsGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	fill(t, listener)
	for call, ask := range calls(t.Context()) {
		before := runtime.NumGoroutine()
		failed, ok := errors.AsType[*Error](ask(NewClient("http://"+listener.Addr().String(), 100*time.Millisecond)))
		if !ok || failed.Message != "no whole answer within 100ms" {
			t.Errorf("%s: got %v", call, failed)
		}
		settle(t, call, before)
	}
}

// fill makes a listener's queue short, and full.
func fill(t *testing.T, listener net.Listener) {
	t.Helper()
	tcp, _ := listener.(*net.TCPListener)
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 1) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", listener.Addr().String(), 200*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue does not fill")
}

// The same holds for HTTP/2, where net/http reads ahead of its caller.
func TestHostileHTTP2ServerIsLeft(t *testing.T) {
	for call, ask := range calls(t.Context()) {
		var sent atomic.Int64
		gone := make(chan struct{})
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			if r.ProtoMajor != 2 {
				t.Errorf("%s: got %s, want HTTP/2", call, r.Proto)
			}
			flood("", " ")(taken{flushed{w}, &sent})
		}))
		srv.EnableHTTP2 = true
		srv.StartTLS()
		t.Cleanup(srv.Close)
		c := NewClient(srv.URL, 10*time.Second)
		trust(c, srv.Certificate())
		failed, ok := errors.AsType[*Error](ask(c))
		if !ok || failed.Message != "the answer is larger than 64 KiB" {
			t.Errorf("%s: got %v", call, failed)
		}
		<-gone
		// What the kernel takes, and the server's own buffer, come on top.
		if got := sent.Load(); got > 1<<20 {
			t.Errorf("%s: the server could send %d bytes", call, got)
		}
	}
}

// flushed sends what is written at once.
type flushed struct{ http.ResponseWriter }

func (w flushed) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	if err == nil {
		err = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return n, err
}

// trust makes a Client accept a certificate.
func trust(c *Client, cert *x509.Certificate) {
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	for _, via := range []*http.Client{c.stable, c.classic} {
		transport, _ := via.Transport.(*http.Transport)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
}

// No redirect is followed, whatever its kind: the AppSecret and the token stay
// with the host that was asked.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for call, ask := range calls(t.Context()) {
			var reached atomic.Bool
			other := httptest.NewUnstartedServer(http.NotFoundHandler())
			other.Config.ConnState = func(net.Conn, http.ConnState) { reached.Store(true) }
			other.Start()
			here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", other.URL+r.URL.RequestURI())
				w.WriteHeader(status)
			}))
			err := ask(NewClient(here.URL, 10*time.Second))
			here.Close()
			other.Close()
			failed, ok := errors.AsType[*Error](err)
			if want := fmt.Sprintf("the answer (HTTP status %d) is not JSON as WeChat writes it", status); !ok || failed.Message != want {
				t.Errorf("%s: %d: got %v, want %q", call, status, err, want)
			}
			if reached.Load() {
				t.Errorf("%s: %d: the other host was reached", call, status)
			}
		}
	}
}

// A server that cannot show that it is WeChat learns no AppSecret and no token.
func TestBadCertificateIsNotTrusted(t *testing.T) {
	cases := map[string]struct {
		reason  string
		cert    x509.Certificate
		trusted bool
		want    string
	}{
		"Good":      {"", x509.Certificate{NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{{127, 0, 0, 1}}}, true, "the answer (HTTP status 404) is not JSON as WeChat writes it"},
		"Authority": {"Nobody vouches for it.", x509.Certificate{NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{{127, 0, 0, 1}}}, false, "the server's TLS certificate is not accepted: its authority is unknown"},
		"Expired":   {"It was good once.", x509.Certificate{NotAfter: time.Now().Add(-time.Hour), IPAddresses: []net.IP{{127, 0, 0, 1}}}, true, "the server's TLS certificate is not accepted: it has expired, or is not valid yet; look at the clock of this machine too"},
		"OtherHost": {"It is somebody else's.", x509.Certificate{NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"wechat.example"}}, true, "the server's TLS certificate is not accepted: it is for another host"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for call, ask := range calls(t.Context()) {
				var asked atomic.Bool
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					asked.Store(true)
					w.WriteHeader(http.StatusNotFound)
				}))
				srv.TLS = &tls.Config{Certificates: []tls.Certificate{signed(t, tc.cert)}, MinVersion: tls.VersionTLS12}
				srv.Config.ErrorLog = log.New(io.Discard, "", 0)
				srv.StartTLS()
				t.Cleanup(srv.Close)
				c := NewClient(srv.URL, 10*time.Second)
				if tc.trusted {
					trust(c, srv.Certificate())
				}
				failed, ok := errors.AsType[*Error](ask(c))
				if !ok || failed.Message != tc.want {
					t.Errorf("%s: %s\ngot %v, want %q", call, tc.reason, failed, tc.want)
				}
				if asked.Load() != (name == "Good") {
					t.Errorf("%s: %s\nthe server was asked: %t", call, tc.reason, asked.Load())
				}
			}
		})
	}
}

// signed is a certificate by its own hand.
func signed(t *testing.T, cert x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber = big.NewInt(1)
	cert.NotBefore = cert.NotAfter.Add(-24 * time.Hour)
	cert.IsCA, cert.BasicConstraintsValid = true, true
	der, err := x509.CreateCertificate(rand.Reader, &cert, &cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A plain server behind an https URL says what it is.
func TestPlainServerIsNamed(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	for call, ask := range calls(t.Context()) {
		failed, ok := errors.AsType[*Error](ask(NewClient(strings.Replace(srv.URL, "http:", "https:", 1), 10*time.Second)))
		if !ok || failed.Message != "the server does not speak TLS" || failed.Lost {
			t.Errorf("%s: got %#v", call, failed)
		}
	}
}
