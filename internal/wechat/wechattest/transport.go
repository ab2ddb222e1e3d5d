package wechattest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Transport reaches the server in memory, whatever host a request names. It
// behaves as the wire does: a request body of unknown length arrives chunked,
// a reset is ECONNRESET, a body that was cut ends in io.ErrUnexpectedEOF, and
// the end of the request's context ends the wait. Calls come from 192.0.2.1.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ server http.Handler }

// memoryCaller is an address for documentation (RFC 5737).
const memoryCaller = "192.0.2.1:1234"

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	ctx := req.Context()
	w := &memoryWriter{header: http.Header{}}
	if ctx.Err() == nil && !finished(t.server, w, arriving(req)) && ctx.Err() == nil {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return w.response(req), nil
}

// finished runs the handler and reports whether it returned without breaking
// the connection.
func finished(h http.Handler, w http.ResponseWriter, r *http.Request) (ok bool) {
	defer func() {
		switch p := recover(); p {
		case nil, http.ErrAbortHandler:
		default:
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return true
}

// arriving is a client's request as a server sees it.
func arriving(req *http.Request) *http.Request {
	in := req.Clone(req.Context())
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.RemoteAddr = memoryCaller
	in.RequestURI = req.URL.RequestURI()
	in.URL = &url.URL{Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery}
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	if in.Method == "" {
		in.Method = http.MethodGet
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	// To a client, zero beside a body means unknown.
	if in.ContentLength == 0 && in.Body != http.NoBody {
		in.ContentLength = -1
	}
	if in.ContentLength < 0 {
		in.TransferEncoding = []string{"chunked"}
	}
	return in
}

// memoryWriter keeps an answer until it is whole.
type memoryWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *memoryWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

func (w *memoryWriter) response(req *http.Request) *http.Response {
	w.WriteHeader(http.StatusOK)
	if w.header.Get("Date") == "" {
		w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	length := w.body.Len()
	var body io.Reader = &w.body
	if declared, err := strconv.Atoi(w.header.Get("Content-Length")); err == nil && declared > length {
		length = declared
		body = io.MultiReader(body, cut{})
	}
	return &http.Response{
		Status:     fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode: w.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        w.header,
		Body:          io.NopCloser(body),
		ContentLength: int64(length),
		Request:       req,
	}
}

// cut is the end of a connection in the middle of a body.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
