// Package serving is how the programs listen: over TLS, within limits of connections,
// headers and time, and, for metrics, to those whom the API server lets.
package serving

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// What a connection may cost. The servers of controller-runtime allow 32 s and
// 1 MiB for the headers, and any number of connections.
const (
	// MaxHeader bounds the headers of a request, in bytes. A bearer token has 1 to 4 KiB.
	MaxHeader = 8 << 10

	headerWithin  = 5 * time.Second             // with the TLS handshake
	requestWithin = answerWithin + headerWithin // its end cancels the request
	idleWithin    = 30 * time.Second            // twice the interval of most Prometheuses

	// stopWithin is how long the end of the process waits for answers: the lease is
	// given back only then. net/http alone waits 5 s for who has said nothing.
	stopWithin = time.Second
)

// Endpoint is something to serve.
type Endpoint struct {
	Purpose string // for the log and for errors
	Flag    string // names the address
	Address string // empty or 0 serves nothing
	TLS     *tls.Config
	Handler http.Handler

	Limits Limits // the zero value is for probes and metrics
	// AnswerWithin is how long an answer may take; 30 s if zero.
	AnswerWithin time.Duration
}

// IsOff reports whether the endpoint is not to be served.
func (e *Endpoint) IsOff() bool { return e.Address == "" || e.Address == "0" }

// Server serves an endpoint.
type Server struct {
	listener net.Listener
	server   *http.Server
}

// Listen takes the address. HTTP/2 stays off: it brings hundreds of requests at once over
// one connection.
func (e *Endpoint) Listen(ctx context.Context) (*Server, error) {
	bound, err := new(net.ListenConfig).Listen(ctx, "tcp", e.Address)
	if err != nil {
		return nil, fmt.Errorf("serve the %s: give --%s a free address: %w", e.Purpose, e.Flag, err)
	}
	var listener net.Listener = &limitedListener{Listener: bound, limits: e.Limits.orDefault()}
	if e.TLS != nil {
		listener = tls.NewListener(listener, e.TLS)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &Server{listener, &http.Server{
		Handler:           e.Handler,
		Protocols:         protocols,
		ReadHeaderTimeout: headerWithin,
		ReadTimeout:       requestWithin,
		WriteTimeout:      cmp.Or(e.AnswerWithin, 30*time.Second),
		IdleTimeout:       idleWithin,
		MaxHeaderBytes:    MaxHeader,
	}}, nil
}

// Start serves until ctx ends.
func (s *Server) Start(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		_ = s.server.Shutdown(late) // who has not got an answer by now asks another replica
	}()
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}

// NeedLeaderElection says that a manager serves whether it leads or not.
func (*Server) NeedLeaderElection() bool { return false }

// SelfSigned is a certificate that nobody signs: it is there to encrypt.
func SelfSigned() (*tls.Config, error) {
	certificate, key, err := certutil.GenerateSelfSignedCertKey("localhost", []net.IP{{127, 0, 0, 1}}, nil)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// Health answers /healthz and /readyz, and each check below its path.
func Health(ready map[string]healthz.Checker) http.Handler {
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{
		"/healthz": {"ping": healthz.Ping},
		"/readyz":  ready,
	} {
		h := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, h)
		mux.Handle(path+"/", h)
	}
	return mux
}
