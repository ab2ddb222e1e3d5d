package wechattest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// answer is what goes onto the wire, or does not.
type answer struct {
	status      int
	contentType string
	body        []byte

	delay time.Duration // before the answer
	half  bool          // the connection closes after half of the body
	reset bool          // the connection is reset instead of an answer
	never bool          // nothing comes until the caller goes away
}

// sentStatus is the HTTP status that the caller sees; zero if none.
func (a answer) sentStatus() int {
	if a.reset || a.never {
		return 0
	}
	return a.status
}

// page is an error page of a web server.
func page(status int) answer {
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	return answer{status: status, contentType: typeHTML, body: fmt.Appendf(nil,
		"<html>\n<head><title>%[1]s</title></head>\n<body>\n<center><h1>%[1]s</h1></center>\n</body>\n</html>\n", title)}
}

func (a answer) write(w http.ResponseWriter, r *http.Request) {
	if a.never {
		// Only behind the whole body does the server notice that a caller goes.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	// A handler that returns without a word would send an empty 200.
	if !wait(r.Context(), a.delay) || a.reset {
		reset(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	body := a.body
	if a.half {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body) // the caller is gone: nobody would read an error
}

// wait reports whether d passed before the caller went away.
func wait(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reset breaks the connection with a TCP RST where it is one, and otherwise as
// abruptly as its server can.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	under := conn
	if secure, ok := conn.(*tls.Conn); ok {
		under = secure.NetConn()
	}
	if tcp, ok := under.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = under.Close()
}
