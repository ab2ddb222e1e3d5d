package wechat

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// networkError is the Error for a call without an answer. It names only the
// kind of the failure: a *url.Error prints the whole URL, an *net.OpError a port
// that is new each time, an x509 error the time of day.
func networkError(err error, timeout time.Duration) *Error {
	var (
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		tlsR tls.RecordHeaderError
	)
	if failed := ofProxy(err); failed != nil {
		return failed
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &Error{Message: "the call was given up", Lost: true}
	case errors.As(err, &dns):
		return &Error{Message: "the host name does not resolve"}
	case errors.As(err, &cert):
		return &Error{Message: "the server's TLS certificate is not accepted: " + certificateFault(cert.Err)}
	case errors.As(err, &tlsR), errors.Is(err, http.ErrSchemeMismatch):
		return &Error{Message: "the server does not speak TLS"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Error{Message: "the connection was refused"}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return &Error{Message: "there is no route to the server"}
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return &Error{Message: fmt.Sprintf("no whole answer within %s", timeout), Lost: true}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return &Error{Message: "the connection broke before the whole answer was there", Lost: true}
	default:
		return &Error{Message: "the request failed on its way", Lost: true}
	}
}

// ofProxy is the Error for a call that has not come further than the proxy; nil for any
// other.
func ofProxy(err error) *Error {
	var (
		dns     *net.DNSError
		op      *net.OpError
		refusal *proxyError
	)
	switch {
	case errors.As(err, &refusal):
		return &Error{Message: refusal.Error()}
	case !errors.As(err, &op) || op.Op != "proxyconnect":
		return nil
	case errors.As(err, &dns):
		return &Error{Message: "the host name of the proxy does not resolve"}
	default:
		return &Error{Message: "the proxy cannot be reached"}
	}
}

// proxyError is the answer of a proxy that makes no connection.
type proxyError struct{ status int }

func (r *proxyError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the proxy does not connect to WeChat: it answers %d %s", r.status, http.StatusText(r.status)))
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// certificateFault says what is wrong with a certificate, without the time of
// day that Go's own wording has.
func certificateFault(err error) string {
	var (
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &host):
		return "it is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired, or is not valid yet; look at the clock of this machine too"
	case errors.As(err, &unknown):
		return "its authority is unknown"
	default:
		return "it does not verify"
	}
}
