package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	certutil "k8s.io/client-go/util/cert"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// What a connection may cost. The servers of controller-runtime allow 32 s and
// 1 MiB for the headers, and any number of connections.
const (
	headerWithin   = 5 * time.Second             // with the TLS handshake
	requestWithin  = answerWithin + headerWithin // its end cancels the request
	answeredWithin = 30 * time.Second
	idleWithin     = 30 * time.Second // twice the interval of most Prometheuses
	maxHeader      = 8 << 10          // a bearer token has 1 to 4 KiB

	// stopWithin is how long the end of the process waits for answers: the lease is
	// given back only then. net/http alone waits 5 s for who has said nothing.
	stopWithin = time.Second
)

func isNone(address string) bool { return address == "" || address == "0" }

// addServer makes the manager serve, whether it leads or not. HTTP/2 stays off: it
// brings hundreds of requests at once over one connection.
func addServer(ctx context.Context, mgr ctrl.Manager, purpose, flag, address string, tlsConfig *tls.Config, handler http.Handler) error {
	if isNone(address) {
		return nil
	}
	bound, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve the %s: give --%s a free address: %w", purpose, flag, err)
	}
	var listener net.Listener = &limitedListener{Listener: bound}
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return mgr.Add(&ctrlmanager.Server{
		Name:            purpose,
		Listener:        listener,
		ShutdownTimeout: new(stopWithin),
		Server: &http.Server{
			Handler:           handler,
			Protocols:         protocols,
			ReadHeaderTimeout: headerWithin,
			ReadTimeout:       requestWithin,
			WriteTimeout:      answeredWithin,
			IdleTimeout:       idleWithin,
			MaxHeaderBytes:    maxHeader,
		},
	})
}

// serveMetrics serves /metrics to those whom the API server lets. Nobody signs the
// certificate: it is there to encrypt.
func serveMetrics(ctx context.Context, mgr ctrl.Manager, address string) error {
	if isNone(address) { // a key takes its time
		return nil
	}
	filter, err := askAPIServer(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	handler, err := filter(mgr.GetLogger().WithName("metrics"), promhttp.HandlerFor(ctrlmetrics.Registry, promhttp.HandlerOpts{}))
	if err != nil {
		return err
	}
	certificate, key, err := certutil.GenerateSelfSignedCertKey("localhost", []net.IP{{127, 0, 0, 1}}, nil)
	if err != nil {
		return fmt.Errorf("make a certificate for the metrics: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("make a certificate for the metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", handler)
	return addServer(ctx, mgr, "metrics", "metrics-bind-address", address, &tls.Config{Certificates: []tls.Certificate{pair}}, mux)
}

// serveHealth serves /healthz and /readyz, and each check below its path.
func serveHealth(ctx context.Context, mgr ctrl.Manager, address string, ready map[string]healthz.Checker) error {
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{
		"/healthz": {"ping": healthz.Ping},
		"/readyz":  ready,
	} {
		h := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, h)
		mux.Handle(path+"/", h)
	}
	return addServer(ctx, mgr, "health probes", "health-probe-bind-address", address, nil, mux)
}
